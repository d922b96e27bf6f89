"""IPv6 addresses get other networks and keep their structure."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ipamd.journal.scramble6 import Scramble6

addresses = st.lists(st.integers(0x2600 << 112, (0x2601 << 112) - 1), min_size=2, max_size=30, unique=True)


def network(value: IPv6Address, length: int) -> IPv6Network:
    """The network of this size around an address."""
    return IPv6Network((value, length), strict=False)


@settings(max_examples=60, deadline=None)
@given(addresses, st.binary(min_size=1, max_size=32))
def test_what_shares_a_network_still_does_and_order_stays(numbers: list[int], key: bytes) -> None:
    """Of a /56 and of whatever is smaller; the last 72 bits, and the kind of the address, are the same."""
    numbers = sorted(numbers + [number ^ 1 for number in numbers] + [number ^ 1 << 70 for number in numbers])
    olds = [IPv6Address(number) for number in dict.fromkeys(numbers)]
    scramble = Scramble6(key)
    for old in olds:
        scramble.learn(str(old))

    news = [IPv6Address(scramble.of(str(old))) for old in olds]

    assert news == sorted(news) and len(set(news)) == len(olds)
    for (old, new), (old_next, new_next) in pairwise(zip(olds, news, strict=True)):
        for length in (56, 64, 80, 112):
            same = network(old, length) == network(old_next, length)
            assert same == (network(new, length) == network(new_next, length))
    assert all(int(old) & (1 << 72) - 1 == int(new) & (1 << 72) - 1 for old, new in zip(olds, news, strict=True))
    assert all(int(new) >> 112 == 0x2600 for new in news)


def test_cidrs_are_renamed_as_their_addresses_are() -> None:
    """And whatever is nobody's stays: loopback, link-local, multicast, the instance's services."""
    scramble = Scramble6(b"key")
    for text in ("2600:1f13:aa:bb00::/56", "2600:1f13:aa:bb01::/64", "2600:1f13:aa:bb01:5::/80", "fd00:1::7"):
        scramble.learn(text)

    vpc, subnet, prefix = (scramble.of(f"2600:1f13:aa:bb{rest}") for rest in ("00::/56", "01::/64", "01:5::/80"))

    assert IPv6Network(prefix).subnet_of(IPv6Network(subnet)) and IPv6Network(subnet).subnet_of(IPv6Network(vpc))
    assert vpc != "2600:1f13:aa:bb00::/56" and scramble.of("fd00:1::7") not in ("fd00:1::7", "")
    for kept in ("::1", "fe80::1", "ff02::1", "fd00:ec2::254", "no address", "12:34:56"):
        assert scramble.of(kept) == kept
