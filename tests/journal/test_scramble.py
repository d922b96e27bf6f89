"""Addresses get other values and keep their structure."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ipamd.core.types import ip4, ip4_text
from ipamd.journal.scramble import Scramble

addresses = st.lists(st.integers(0x0A000000, 0x0AFFFFFF), min_size=1, max_size=30, unique=True)


def shared(one: int, other: int) -> int:
    """How many leading bits two addresses share."""
    return 32 - (one ^ other).bit_length()


@settings(max_examples=60, deadline=None)
@given(addresses, st.binary(min_size=1, max_size=32))
def test_prefixes_and_order_stay(numbers: list[int], key: bytes) -> None:
    """Two addresses share as many leading bits as before, and the lower one is still the lower one."""
    scramble = Scramble(key)
    for number in numbers:
        scramble.learn(ip4_text(number))

    mapped = [ip4(scramble.of(ip4_text(number))) for number in sorted(numbers)]

    assert mapped == sorted(mapped)
    assert [shared(*pair) for pair in pairwise(mapped)] == [shared(*pair) for pair in pairwise(sorted(numbers))]
    assert all(number >> 24 == 10 for number in mapped)


def test_a_subnet_s_addresses_keep_their_place_in_it() -> None:
    """Blocks stay aligned, the reserved ones reserved, and a CIDR is renamed as its addresses are."""
    scramble = Scramble(b"key")
    known = ["10.0.0.0/16", "10.0.7.0/24", "10.0.7.16/28", "10.0.7.18", "10.0.9.0/24", "10.0.9.5"]
    for text in known:
        scramble.learn(text)

    vpc, subnet, block, address, other, far = (scramble.of(text) for text in known)

    assert vpc.endswith(".0.0/16") and subnet.endswith(".0/24") and vpc.split(".")[1] == subnet.split(".")[1]
    assert block == subnet.replace(".0/24", ".16/28") and address == subnet.replace(".0/24", ".18")
    assert far == other.replace(".0/24", ".5") and other != subnet


def test_other_keys_give_other_networks() -> None:
    """What is hidden is which networks they are."""
    found = set()
    for number in range(64):
        scramble = Scramble(number.to_bytes(2, "big"))
        scramble.learn("10.0.7.18")
        found.add(scramble.of("10.0.7.18"))

    assert len(found) > 50


def test_what_is_no_address_stays() -> None:
    """Metadata, loopback, and text that only looks like an address."""
    scramble = Scramble(b"key")
    for text in ("169.254.169.254", "127.0.0.1", "1.2.3.400", "10.0.0.1/40", "nothing", "0.0.0.0/0"):
        scramble.learn(text)

    assert scramble.of("169.254.169.254") == "169.254.169.254" and scramble.of("127.0.0.1") == "127.0.0.1"
    assert [scramble.of(text) for text in ("1.2.3.400", "10.0.0.1/40", "nothing")] == [
        "1.2.3.400",
        "10.0.0.1/40",
        "nothing",
    ]
