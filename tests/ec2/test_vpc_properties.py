"""Whatever is asked in whatever order: no address twice, blocks aligned, counts true, limits kept."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    AttachNetworkInterface,
    CreateNetworkInterface,
    DeleteNetworkInterface,
    DetachNetworkInterface,
    Ec2Call,
    Failed,
    Succeeded,
    UnassignPrivateIpAddresses,
)
from ipamd.core.types import SECOND, ip4
from ipamd.ec2.state import Placement, Vpc, VpcSettings
from ipamd.ec2.vpc import add_subnet, launch, make_vpc, perform
from tests.ec2.worlds import metadata

Numbers = tuple[int, int, int]


def check(vpc: Vpc) -> None:
    """Every promise of the model, from the rows alone."""
    held: dict[str, dict[int, str]] = {subnet: {} for subnet in vpc.subnets}
    for eni in vpc.enis.values():
        own = held[eni.subnet]
        for prefix in eni.prefixes:
            first, length = prefix.split("/")
            assert length == "28" and ip4(first) % 16 == 0
            for address in range(ip4(first), ip4(first) + 16):
                assert address not in own
                own[address] = eni.eni
        for text in eni.addresses:
            assert ip4(text) not in own
            own[ip4(text)] = eni.eni
    for subnet, own in held.items():
        space = vpc.spaces[subnet]
        reserved = {space.base, space.base + 1, space.base + 2, space.base + 3, space.base + space.size - 1}
        assert not reserved & own.keys()
        assert all(space.holds(address) for address in own)
        assert space.free == space.size - len(own) - 5
        groups = range(space.base, space.base + space.size, 16)
        taken = reserved | own.keys()
        assert space.free_blocks == sum(not taken & set(range(g, g + 16)) for g in groups)
    for instance, host in vpc.instances.items():
        enis = [vpc.enis[e] for e in vpc.attached[instance]]
        assert [e.eni for e in vpc.enis.values() if e.instance == instance] == sorted(
            (e.eni for e in enis), key=list(vpc.enis).index
        )
        assert len(enis) <= host.limits.enis
        assert len({e.device for e in enis}) == len(enis)
        assert all(e.slots <= host.limits.ips_per_eni for e in enis)
    assert vpc.attachments == {e.attachment: e.eni for e in vpc.enis.values() if e.attachment}
    assert [e.eni for e in metadata(vpc, vpc.at).enis] == [
        e.eni for e in sorted(vpc.enis.values(), key=lambda e: e.device) if e.instance == vpc.first_instance
    ]


def call_of(vpc: Vpc, action: int, numbers: Numbers) -> Ec2Call:
    """A call on something that exists, mostly; the numbers choose what and how much."""
    a, b, c = numbers
    subnet = list(vpc.subnets)[a % len(vpc.subnets)]
    eni = list(vpc.enis.values())[b % len(vpc.enis)]
    kinds: list[Callable[[], Ec2Call]] = [
        lambda: CreateNetworkInterface(subnet, ("sg-1",), "", f"t-{b % 8}" if b % 3 else "", secondary_ips=c % 12),
        lambda: CreateNetworkInterface(subnet, ("sg-1",), "", "", prefixes=c % 4),
        lambda: AttachNetworkInterface(eni.eni, a % 5),
        lambda: AssignPrivateIpAddresses(eni.eni, c % 7),
        lambda: AssignPrivateIpAddresses(eni.eni, 0, c % 4),
        lambda: UnassignPrivateIpAddresses(eni.eni, addresses=eni.addresses[1 + a % 2 :: 1 + c % 3]),
        lambda: UnassignPrivateIpAddresses(eni.eni, prefixes=eni.prefixes[a % 2 :]),
        lambda: DetachNetworkInterface(eni.eni, eni.attachment),
        lambda: DeleteNetworkInterface(eni.eni),
    ]
    return kinds[action % len(kinds)]()


steps = st.lists(
    st.tuples(st.integers(0, 8), st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))),
    max_size=60,
)


@settings(max_examples=120, deadline=None)
@given(steps, st.sampled_from(["packed", "spread"]), st.sampled_from(["10.0.0.0/28", "10.0.0.0/25"]))
def test_promises_hold_under_random_calls(story: list[tuple[int, Numbers]], placement: Placement, subnet: str) -> None:
    """After every call: addresses, alignment, counts, limits; and a refusal or a repeated token changes nothing."""
    vpc = make_vpc(VpcSettings(placement=placement), subnet=subnet, vpc_cidr="10.0.0.0/16")
    add_subnet(vpc, "10.0.1.0/26", now=0)
    launch(vpc, "t3.small", list(vpc.subnets)[1], now=0)
    for second, (action, numbers) in enumerate(story):
        instance = list(vpc.instances)[numbers[2] % 2]
        before, serial = vpc.rows(), vpc.serial
        performed = perform(vpc, call_of(vpc, action, numbers), second * SECOND, instance)
        if not performed.rows:
            assert (vpc.rows(), vpc.serial) == (before, serial)
        else:
            assert isinstance(performed.outcome, Succeeded) and vpc.serial == serial + 1
        check(vpc)


@settings(max_examples=60, deadline=None)
@given(steps, st.sampled_from(["packed", "spread"]))
def test_the_rows_rebuild_the_cloud(story: list[tuple[int, Numbers]], placement: Placement) -> None:
    """Installing the rows of every change, or of one image, gives the same cloud as having lived it."""
    vpc = make_vpc(VpcSettings(placement=placement), subnet="10.0.0.0/25")
    replayed, changes = make_vpc(vpc.settings, subnet="10.0.0.0/25"), []
    for second, (action, numbers) in enumerate(story):
        performed = perform(vpc, call_of(vpc, action, numbers), second * SECOND)
        if performed.rows:
            changes.append((performed.rows, second * SECOND))
    for rows, at in changes:
        replayed.install(rows, at)
    image = Vpc(vpc.settings)
    image.install(vpc.rows(), vpc.at, settled=True)
    for other in (replayed, image):
        assert other.rows() == vpc.rows()
        assert [s.groups for s in other.spaces.values()] == [s.groups for s in vpc.spaces.values()]
        assert metadata(other, vpc.at) == metadata(vpc, vpc.at)
        check(other)
    assert replayed.serial == vpc.serial


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_spread_placement_fragments_but_fills(seed: int, sizes: list[int]) -> None:
    """Spread over the subnet, every address can still be had, and the same seed gives the same addresses."""
    one, two = (make_vpc(VpcSettings(seed, "spread"), subnet="10.0.0.0/26") for _ in range(2))
    for size in sizes:
        call = CreateNetworkInterface(next(iter(one.subnets)), ("sg-1",), "", "", secondary_ips=size)
        assert perform(one, call, 0) == perform(two, call, 0)
    space = next(iter(one.spaces.values()))
    rest = CreateNetworkInterface(next(iter(one.subnets)), ("sg-1",), "", "", secondary_ips=space.free - 1)
    if space.free:
        assert isinstance(perform(one, rest, 0).outcome, Succeeded)
    assert space.free == 0
    assert isinstance(perform(one, rest, 0).outcome, Failed)
    check(one)
