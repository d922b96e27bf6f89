"""Upstream's vectors for pool arithmetic and pool actions (TV-30..TV-44, TV-72; those without Kubernetes).

Actions run against the cloud in virtual time: `bare` is a node whose store begins empty, as upstream's tests have it.
"""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core import reasons
from ipamd.core.calls import (
    ADDRESS_LIMIT_EXCEEDED,
    AssignPrivateIpAddresses,
    AttachNetworkInterface,
    CreatedEni,
    CreateNetworkInterface,
    DeleteNetworkInterface,
    DetachNetworkInterface,
    SetUpEni,
    Succeeded,
    TearDownEni,
)
from ipamd.core.commands import Start
from ipamd.core.evolve import fold
from ipamd.core.pool_linux import stats
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND, Pod
from ipamd.ec2.vpc import apply

from .world import NODE, Bench, Lab, sandbox

FREE_SPACE = "InsufficientFreeAddressesInSubnet"
LARGE = "c5.xlarge"
"""Four ENIs of fourteen usable slots each, as in upstream's tests."""
HALF_CYCLE = 2.5


def node(slots: int, max_pods: int = 500) -> Bench:
    """A bench whose ENIs have so many slots beside the primary address."""
    return Bench(Settings(), msgspec.structs.replace(NODE, ips_per_eni=slots + 1, max_pods=max_pods))


def tuned(bench: Bench, **settings: int | bool) -> Bench:
    """The same bench with other settings."""
    bench.state.settings = msgspec.structs.replace(bench.state.settings, **settings)
    return bench


def bare(settings: Settings, primary: bool = False, instance_type: str = LARGE) -> Lab:
    """A ready node that never saw its ENIs; with `primary` it has the primary one, without addresses for pods."""
    lab = Lab(settings, instance_type=instance_type, max_pods=500)
    facts: list[ev.Event] = [ev.Started(settings, lab.node, 1), ev.SecurityGroupsChanged(("sg-1",)), ev.NodeReady()]
    if primary:
        facts.append(primary_of(lab))
    tell(lab, *facts, ev.WorkMoved(None, next="update"))
    return lab


def primary_of(lab: Lab) -> ev.EniReady:
    """The primary ENI comes into the store, without addresses for pods."""
    mac, address = lab.vpc.enis[lab.primary].mac, lab.node.primary_ip
    return ev.EniReady(lab.primary, mac, 0, 254, lab.node.subnet, "10.0.0.0/24", address, primary=True)


def tell(lab: Lab, *facts: ev.Event) -> None:
    """These facts are on record before the test begins."""
    cause = Start(lab.settings, lab.node, 1)
    fold(lab.state, ev.Record(ev.FORMAT, lab.state.seq + 1, lab.now, lab.node.instance, cause, facts))


# ---- how much is too little ----------------------------------------------------------------------------------


@pytest.mark.spec("TV-30", "POOL-5")
def test_warm_ip_target_says_how_many_addresses_are_missing() -> None:
    """Without a target T is not defined; WARM_IP_TARGET 5 with 0, 2 and 5 addresses lacks 5, 3 and 0."""
    bench = node(14)
    bench.eni("eni-0", 0, primary=True)
    assert not bench.balance.targets

    tuned(bench, warm_ip_target=5)
    assert (bench.balance.targets, bench.balance.short, bench.balance.over) == (True, 5, 0)
    bench.put("eni-0", "10.0.0.10/32", "10.0.0.11/32")
    assert (bench.balance.short, bench.balance.over) == (3, 0)
    bench.put("eni-0", "10.0.0.12/32", "10.0.0.13/32", "10.0.0.14/32")
    assert (bench.balance.short, bench.balance.over) == (0, 0)


@pytest.mark.spec("TV-31", "POOL-6")
@pytest.mark.parametrize(
    "slots, warm_eni, warm_ip, ips, pods, low",
    [
        (14, 1, 0, 0, 0, True),
        (14, 0, 0, 0, 0, True),
        (14, 0, 3, 0, 0, True),
        (3, 1, 1, 3, 0, False),
        (3, 1, 0, 3, 1, True),
    ],
)
def test_pool_of_addresses_is_too_low(slots: int, warm_eni: int, warm_ip: int, ips: int, pods: int, low: bool) -> None:
    """A spare ENI is missing, or addresses are where a target in addresses is set."""
    bench = tuned(node(slots), warm_eni_target=warm_eni, warm_ip_target=warm_ip)
    bench.eni("eni-0", 0, *(f"10.0.0.{10 + i}/32" for i in range(ips)), primary=True)
    for number in range(pods):
        bench.granted(f"pod-{number}")

    assert bench.balance.low is low


@pytest.mark.spec("TV-32", "POOL-6")
@pytest.mark.parametrize(
    "warm_prefix, prefixes, pods, low",
    [(1, 0, 0, True), (0, 0, 0, True), (1, 1, 0, False), (1, 1, 1, True), (0, 1, 1, False)],
)
def test_pool_of_prefixes_is_too_low(warm_prefix: int, prefixes: int, pods: int, low: bool) -> None:
    """One prefix serves a target of 0 until it is full, a target of 1 until its first pod."""
    bench = tuned(node(14), prefix_delegation=True, warm_prefix_target=warm_prefix)
    bench.eni("eni-0", 0, *["10.0.0.16/28"][:prefixes], primary=True)
    for number in range(pods):
        bench.granted(f"pod-{number}")

    assert bench.balance.low is low


@pytest.mark.spec("TV-40", "DM-31")
def test_an_excluded_eni_counts_neither_as_spare_nor_as_stock() -> None:
    """With WARM_ENI_TARGET 2 two full ENIs are needed beside an excluded primary one."""
    bench = tuned(node(10, max_pods=100), warm_eni_target=2)
    bench.eni("eni-0", 0, primary=True, excluded=True)
    assert bench.balance.low

    bench.eni("eni-1", 1, *(f"10.0.1.{i}/32" for i in range(10)))
    assert bench.balance.low
    bench.eni("eni-2", 2, *(f"10.0.2.{i}/32" for i in range(10)))
    assert not bench.balance.low


@pytest.mark.spec("TV-43", "POOL-18")
@pytest.mark.parametrize("after_s, paused", [(30, True), (120, True), (120.000000001, False)])
def test_an_exhausted_subnet_is_left_alone_for_two_minutes(after_s: float, paused: bool) -> None:
    """No error no pause; then 120 s inclusive."""
    bench = node(14)
    assert not reasons.paused(bench.state, bench.now)

    bench.record(ev.SubnetExhausted(FREE_SPACE))
    assert reasons.paused(bench.state, bench.now + round(after_s * SECOND)) is paused


# ---- increase ------------------------------------------------------------------------------------------------


def created(lab: Lab) -> list[tuple[int, int]]:
    """(addresses, prefixes) that each new ENI was asked for."""
    return [(call.secondary_ips, call.prefixes) for call in lab.calls(CreateNetworkInterface)]


def assigned(lab: Lab) -> list[tuple[str, int]]:
    """(ENI, addresses or prefixes) of each assignment that was asked for."""
    return [(call.eni, call.secondary_ips or call.prefixes) for call in lab.calls(AssignPrivateIpAddresses)]


@pytest.mark.spec("TV-33", "POOL-30")
@pytest.mark.parametrize("trunking", [True, False])
def test_an_empty_store_gets_a_full_eni(trunking: bool) -> None:
    """One ENI with 14 addresses, the cached groups, card 0; it is waited for and set up on the host."""
    lab = bare(Settings())
    lab.state.node = msgspec.structs.replace(lab.state.node, trunking_compatible=trunking)

    lab.run(HALF_CYCLE + 1)

    assert created(lab) == [(14, -1)]
    assert [call.security_groups for call in lab.calls(CreateNetworkInterface)] == [("sg-1",)]
    assert [(call.device, call.card) for call in lab.calls(AttachNetworkInterface)] == [(1, 0)]
    assert [call.device for call in lab.calls(SetUpEni)] == [1]
    assert stats(lab.state, 0, lab.now).total == 14


@pytest.mark.spec("TV-34", "POOL-25", "POOL-27")
def test_an_exhausted_subnet_of_the_primary_eni_leads_to_a_new_eni() -> None:
    """All 14, then one, are refused for the primary ENI; then an ENI is asked for with 14."""
    lab = bare(Settings(), primary=True)
    lab.vpc.faults.fail_next("AssignPrivateIpAddresses", FREE_SPACE, times=2)

    lab.run(HALF_CYCLE + 1)

    assert assigned(lab) == [(lab.primary, 14), (lab.primary, 1)]
    assert created(lab) == [(14, -1)]


@pytest.mark.spec("TV-37", "POOL-24")
@pytest.mark.parametrize("primary", [False, True])
def test_prefixes_are_asked_for_as_far_as_needed(primary: bool) -> None:
    """One prefix is asked for, twice in vain on the primary ENI, then with a new one."""
    lab = bare(Settings(prefix_delegation=True, warm_prefix_target=1), primary)
    lab.vpc.faults.fail_next("AssignPrivateIpAddresses", FREE_SPACE, times=2)

    lab.run(HALF_CYCLE + 1)

    assert assigned(lab) == ([(lab.primary, 1), (lab.primary, 1)] if primary else [])
    assert created(lab) == [(-1, 1)]


@pytest.mark.spec("TV-38", "POOL-30")
def test_a_new_eni_gets_what_the_target_lacks() -> None:
    """With WARM_IP_TARGET 3 an ENI with 3 addresses, which are waited for."""
    lab = bare(Settings(warm_ip_target=3))

    lab.run(HALF_CYCLE + 1)

    assert created(lab) == [(3, -1)]
    assert stats(lab.state, 0, lab.now).total == 3


@pytest.mark.spec("TV-44", "POOL-26", "POOL-28")
@pytest.mark.parametrize("code", ["InsufficientCidrBlocks", FREE_SPACE, "SomeOtherError", ADDRESS_LIMIT_EXCEEDED])
def test_errors_of_an_assignment_fall_into_three_classes(code: str) -> None:
    """An exhausted subnet starts the pause, a full ENI is read anew, the rest does neither."""
    lab = bare(Settings(subnet_discovery=False), primary=True)
    lab.vpc.faults.fail_next("AssignPrivateIpAddresses", code, times=2)

    lab.run(HALF_CYCLE)

    exhausted = [event.code for event in lab.events(ev.SubnetExhausted)]
    assert exhausted == ([code] if code in ("InsufficientCidrBlocks", FREE_SPACE) else [])
    assert lab.engine.requests["DescribeNetworkInterfaces"] == (code == ADDRESS_LIMIT_EXCEEDED)


@pytest.mark.spec("TV-72", "EC2-20")
@pytest.mark.parametrize("wanted, asked", [(5, 5), (50, 49)])
def test_one_request_asks_for_no_more_than_an_eni_carries(wanted: int, asked: int) -> None:
    """49 usable slots cap a request for 50."""
    lab = bare(Settings(warm_ip_target=wanted), primary=True, instance_type="c5n.18xlarge")

    lab.run(HALF_CYCLE)

    assert assigned(lab) == [(lab.primary, asked)]


@pytest.mark.spec("TV-72", "EC2-20")
def test_nothing_missing_makes_no_request() -> None:
    """A count of 0 is never sent."""
    lab = bare(Settings(warm_ip_target=5), primary=True, instance_type="c5n.18xlarge").run(HALF_CYCLE)
    since = lab.mark()

    lab.run(30)

    assert lab.calls(AssignPrivateIpAddresses, since) == []


@pytest.mark.spec("TV-72", "EC2-20")
def test_a_prefix_is_asked_for_as_a_prefix() -> None:
    """With prefix delegation the count is one of prefixes."""
    settings = Settings(prefix_delegation=True, warm_prefix_target=1)
    lab = bare(settings, primary=True, instance_type="c5n.18xlarge")

    lab.run(HALF_CYCLE)

    assert lab.calls(AssignPrivateIpAddresses) == [AssignPrivateIpAddresses(lab.primary, prefixes=1)]


# ---- decrease ------------------------------------------------------------------------------------------------


@pytest.mark.spec("TV-39", "POOL-36", "POOL-37")
def test_a_spare_eni_is_freed_with_its_rules() -> None:
    """Older than 60 s, without pods, not needed: it leaves store and EC2, its rules go."""
    lab = Lab().start().run(10)
    lab.pod("web", 30)
    assert len(lab.others) == 1
    spare = lab.state.enis[lab.others[0]]
    lab.delete("web")
    since = lab.mark()

    lab.run(120)

    assert spare.eni not in lab.state.enis
    assert spare.eni not in lab.vpc.enis
    assert [type(call) for call in lab.all_calls(since)] == [
        DetachNetworkInterface,
        DeleteNetworkInterface,
        TearDownEni,
    ]
    assert lab.calls(TearDownEni) == [TearDownEni(spare.eni, spare.primary_ip)]
    assert lab.leaks() == []


# ---- node init -----------------------------------------------------------------------------------------------


def restarted(lab: Lab, pods: int, subnet: str = "") -> str:
    """EC2 has one address on the primary ENI and two on another one; so has the store, with `pods` of 0 or 1 on the
    first address. The daemon starts. The other ENI's id is returned."""
    apply(lab.vpc, AssignPrivateIpAddresses(lab.primary, secondary_ips=1), lab.now)
    made = apply(lab.vpc, CreateNetworkInterface(subnet or lab.node.subnet, (), "other", "t", secondary_ips=2), lab.now)
    assert isinstance(made, Succeeded) and isinstance(made.result, CreatedEni)
    other = made.result
    apply(lab.vpc, AttachNetworkInterface(other.eni, 1), lab.now)
    address = lab.vpc.enis[lab.primary].addresses[1]
    second = ev.EniReady(other.eni, other.mac, 1, 2, other.subnet, "10.0.0.0/24", other.primary_ip)
    held = ev.AddressAssigned(address, lab.primary, f"{address}/32", sandbox("old"), Pod())
    cidrs = [(lab.primary, address), *((other.eni, free) for free in other.addresses)]
    tell(lab, ev.Started(lab.settings, lab.node, 1), primary_of(lab), second)
    tell(lab, *(ev.CidrAdded(eni, f"{text}/32") for eni, text in cidrs), *[held][:pods])
    lab.start()
    return other.eni


@pytest.mark.spec("TV-41", "POOL-20")
def test_node_init_assigns_what_the_target_lacks_once() -> None:
    """Three addresses of which one is held, WARM_IP_TARGET 3: one assignment of one address."""
    lab = Lab(Settings(warm_ip_target=3), instance_type=LARGE, max_pods=500)

    restarted(lab, pods=1)

    assert lab.state.phase == "ready"
    assert [call.secondary_ips for call in lab.calls(AssignPrivateIpAddresses)] == [1]
    assert lab.state.stores[0].owners.keys() == {sandbox("old")}


@pytest.mark.spec("TV-42", "POOL-47", "DM-31")
@pytest.mark.parametrize("pods", [1, 0])
def test_an_excluded_primary_eni_stays_excluded_with_and_without_pods(pods: int) -> None:
    """Its pod keeps its address, the statistics see the other ENI's two, one is asked for."""
    lab = Lab(Settings(warm_ip_target=3), instance_type=LARGE, max_pods=500)
    second = lab.subnet("10.0.1.0/24")
    lab.tag_subnet(lab.node.subnet, {"kubernetes.io/role/cni": "0"})

    other = restarted(lab, pods, second)

    assert lab.state.enis[lab.primary].excluded
    assert len(lab.state.stores[0].owners) == pods
    assert assigned(lab) == [(other, 1)]
    assert stats(lab.state, 0, lab.now).total == 3
