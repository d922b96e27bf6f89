"""Both ways of each difference that has a switch, and that the table lists just those (tests/quirks.py)."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ipamd.config import ConfigError, load
from ipamd.core import events as ev
from ipamd.core import pool_linux
from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    CreateNetworkInterface,
    ModifyNetworkInterfaceAttribute,
    SetUpEni,
    UnassignPrivateIpAddresses,
)
from ipamd.core.commands import Terminate, Tick
from ipamd.core.settings import KEPT as KEPT_ON
from ipamd.core.settings import Quirks, Settings, windows_quirks
from tests.difference import Difference
from tests.quirks import CHOICES, DEFAULTS, SWITCHED
from tests.quirks_windows import KEPT

from .test_grow import full, grown
from .test_grow_failures import partly
from .world import STRICT, Bench, Lab, bare

ROOT = Path(__file__).resolve().parents[2]
FIELDS = [field.name for field in msgspec.structs.fields(Quirks)]
EVERY: list[Difference] = [*SWITCHED, *KEPT, *DEFAULTS, *CHOICES]
both = pytest.mark.parametrize("upstream", [False, True], ids=["ours", "upstream"])


def quirk(upstream: bool, *names: str, **settings: int | bool) -> Settings:
    """Settings with these quirks on or off."""
    quirks = Quirks(**dict.fromkeys(names, upstream))
    return msgspec.structs.replace(msgspec.convert(settings, Settings), quirks=quirks)


# ---- the table ----------------------------------------------------------------------------------------------


def test_the_table_lists_each_switch_and_no_other() -> None:
    """In the order of the fields, so that a new one is missed by nobody."""
    assert [difference.name for difference in SWITCHED] == FIELDS


def test_the_table_says_all_there_is_to_say() -> None:
    """Names are unique; clauses, both behaviours and the reason are there."""
    assert len({difference.name for difference in EVERY}) == len(EVERY)
    assert all(d.spec and d.upstream and d.ours and d.reason for d in EVERY)
    assert all(d.upstream != d.ours for d in EVERY)


def test_each_accident_that_is_known_has_a_place_in_the_table() -> None:
    """Replicated, mended or a choice: none is passed over."""
    known = {
        "RPC-20", "RPC-40", "RPC-57", "RPC-49", "RPC-50", "RPC-51", "RPC-53", "DM-26", "DM-33", "DM-43", "INIT-39",
        "POOL-12", "POOL-44", "POOL-48", "EC2-0", "EC2-6", "EC2-9", "EC2-14", "EC2-23", "EC2-33", "EC2-44", "SGP-11",
        "HTTP-24",
    }  # fmt: skip

    assert known - {clause for difference in EVERY for clause in difference.spec} == set()


def test_the_page_about_differences_names_each_switch() -> None:
    """What a user reads and what the tests know are the same list."""
    page = (ROOT / "docs" / "differences.md").read_text()
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]

    assert listed == [*FIELDS, *(kept.name for kept in KEPT)]


def test_what_windows_nodes_keep_of_upstream_can_be_turned_off() -> None:
    """On by default and under strict; `-NAME` turns one off, and nothing else has a minus."""
    names = [kept.name for kept in KEPT]
    assert tuple(names) == KEPT_ON
    for text, off in [("", []), ("strict", []), *((f"strict,-{name}", [name]) for name in names)]:
        given = load({"UPSTREAM_PARITY": text})
        found = windows_quirks(given.quirks, *given.off)
        assert [name for name in names if not getattr(found, name)] == off
    with pytest.raises(ConfigError, match='-restart_forgets" is no quirk'):
        load({"UPSTREAM_PARITY": "-restart_forgets"})


@pytest.mark.parametrize("name", FIELDS)
def test_each_switch_can_be_named(name: str) -> None:
    """UPSTREAM_PARITY=name brings this one back and leaves the others."""
    quirks = load({"UPSTREAM_PARITY": name}).quirks

    assert [field for field in FIELDS if getattr(quirks, field)] == [name]


@pytest.mark.spec("ENV-4", "ENV-17")
def test_strict_brings_all_of_them_back_and_two_defaults() -> None:
    """The code's defaults instead of the manifest's; then one family must be asked for."""
    ours = load({}).settings(prefix_delegation_supported=True)
    strict = load({"UPSTREAM_PARITY": "strict", "ENABLE_IPv4": "true"}).settings(prefix_delegation_supported=True)

    assert (ours.quirks, strict.quirks) == (Quirks(), STRICT)
    assert (ours.warm_prefix_target, strict.warm_prefix_target) == (1, 0)
    assert (load({}).values["ENABLE_IPv4"], load({"UPSTREAM_PARITY": "strict"}).values["ENABLE_IPv4"]) == (True, False)


# ---- cooling ------------------------------------------------------------------------------------------------


@pytest.mark.spec("DM-34", "DM-37", "POOL-5", "POOL-8")
@both
def test_cooling_counts_as_available(upstream: bool) -> None:
    """Short of it, needed for it, over it."""
    bench = Bench(quirk(upstream, "cooling_counts_as_available", warm_ip_target=2))
    bench.eni("eni-0", 0, "10.0.0.1/32", "10.0.0.2/32", primary=True)
    bench.eni("eni-1", 1)
    bench.granted("one")
    bench.released("one")
    bench.wait(20)
    prefixes = Bench(quirk(upstream, "cooling_counts_as_available", prefix_delegation=True, warm_ip_target=16))
    prefixes.eni("eni-0", 0, "10.0.0.0/28", primary=True)
    prefixes.granted("one")
    prefixes.released("one")

    assert bench.stats.available == (2 if upstream else 1)
    assert bench.balance.short == (0 if upstream else 1)
    assert prefixes.balance.short == (0 if upstream else 1)
    bench.wait(41)
    assert bench.hold("eni-1") == ""


@pytest.mark.spec("POOL-31", "DM-35", "DM-45")
@both
def test_cooling_released_by_scale_down(upstream: bool) -> None:
    """Which blocks may go, and what goes in fact."""
    names = ("cooling_released_by_scale_down", "cooling_counts_as_available")
    bench = Bench(quirk(upstream, *names, prefix_delegation=True))
    bench.eni("eni-0", 0, "10.0.0.0/28", primary=True)
    bench.granted("one")
    bench.released("one")
    lab = Lab(quirk(upstream, *names, warm_ip_target=1)).start().run(10)
    lab.pod("one", 10)
    lab.delete("one", 15)

    blocks = pool_linux.freeable_blocks(bench.state, bench.state.enis["eni-0"], bench.now)
    assert [block.cidr for block in blocks] == (["10.0.0.0/28"] if upstream else [])
    assert bench.stats.free_prefixes == int(upstream)
    assert len(lab.calls(UnassignPrivateIpAddresses)) == int(upstream)


@pytest.mark.spec("RPC-52", "INIT-28")
@both
def test_a_leftover_goes_back_while_it_cools(upstream: bool) -> None:
    """Inside DelNetwork, or at the start, against after the cooldown."""
    settings = quirk(upstream, "cooling_released_by_scale_down", warm_ip_target=1)
    lab = Lab(Settings(prefix_delegation=True, warm_prefix_target=1)).start().run(10)
    lab.pod("one", 10)
    lab.restart(settings=settings).run(10)
    lab.delete("one", 0)
    at_release = len(lab.vpc.enis[lab.primary].prefixes)
    again = Lab(Settings(prefix_delegation=True, warm_prefix_target=1)).start().run(10)
    again.pod("one", 10)
    again.delete("one", 5)
    again.restart(settings=settings)

    assert at_release == (0 if upstream else 1)
    assert len(again.vpc.enis[again.primary].prefixes) == (0 if upstream else 1)


# ---- restart ------------------------------------------------------------------------------------------------


@pytest.mark.spec("DM-3", "DM-29", "POOL-28", "REC-11", "POOL-51")
@both
def test_restart_forgets(upstream: bool) -> None:
    """Cooldowns, ages, clocks, pauses, entries and groups."""
    lab = Lab(quirk(upstream, "restart_forgets", warm_ip_target=1, subnet_discovery=False)).start().run(100)
    lab.pods(2, 10)
    lab.delete("pod-1", 40)
    lab.vpc.faults.fail_next("AssignPrivateIpAddresses", "InsufficientFreeAddressesInSubnet", times=2)
    lab.pod("last", 5)
    lab.delete("last", 1)
    mark = lab.mark()
    lab.restart()

    forgotten = [not lab.state.exhausted_at, not lab.state.held, not lab.state.last_decrease]
    assert forgotten == [upstream] * 3
    assert (lab.state.enis[lab.primary].ready_at >= lab.state.started_at) is upstream
    assert (pool_linux.stats(lab.state, 0, lab.now).cooling == 0) is upstream
    assert bool([c for c in lab.calls(ModifyNetworkInterfaceAttribute, mark) if c.security_groups]) is upstream


@pytest.mark.spec("INIT-25", "DM-64")
@both
def test_restart_trusts_metadata(upstream: bool) -> None:
    """Metadata shows no secondary address for a while."""
    lab = Lab(quirk(upstream, "restart_trusts_metadata", warm_ip_target=1)).start().run(10)
    lab.pods(2, 10)
    lab.die()
    lab.vpc.faults.metadata_shows(bare)
    mark = lab.mark()
    lab.start(2)

    assert len(lab.state.stores[0].owners) == (0 if upstream else 2)
    assert sum(event.pods for event in lab.events(ev.CidrRemoved, mark)) == (2 if upstream else 0)


# ---- counting -----------------------------------------------------------------------------------------------


@pytest.mark.spec("DM-43", "DM-34")
@both
def test_forced_removal_subtracts_twice(upstream: bool) -> None:
    """One address and one pod give a total of -1; the figures of the pool are counted afresh."""
    settings = quirk(upstream, "forced_removal_subtracts_twice", prefix_delegation=True, warm_ip_target=1)
    bench = Bench(settings)
    bench.eni("eni-0", 0, "10.0.0.0/28", primary=True)
    bench.eni("eni-1", 1, "10.0.0.16/28")
    for i in range(17):
        bench.granted(f"pod-{i}")
    bench.record(ev.EniLeft("eni-1", "gone", pods=1))

    assert bench.state.stores[0].drift_total == (-16 if upstream else 0)
    assert bench.stats.prefixes == (0 if upstream else 1)
    assert bench.stats.total == 16


@pytest.mark.spec("DM-42", "DM-43")
@both
def test_an_eni_gone_without_pods_is_subtracted_once(upstream: bool) -> None:
    """Only the forced path counts twice."""
    bench = Bench(quirk(upstream, "forced_removal_subtracts_twice"))
    bench.eni("eni-1", 1, "10.0.0.1/32")
    bench.record(ev.EniLeft("eni-1", "gone"))

    assert bench.state.stores[0].drift_total == 0


@pytest.mark.spec("DM-33", "REC-10")
@both
def test_excluded_purge_forgets(upstream: bool) -> None:
    """No call, the total stays; the reconcile adds the block again and the total grows."""
    lab = Lab(quirk(upstream, "excluded_purge_forgets", warm_ip_target=1, ip_cooldown_period=0)).start().run(10)
    lab.pod("one", 70)
    lab.tag_subnet(lab.node.subnet, {"kubernetes.io/role/cni": "0"})
    lab.restart()
    excluded = lab.state.enis[lab.primary].excluded
    mark = lab.mark()
    lab.delete("one", 6)
    after_purge = (lab.shape()[0], lab.state.stores[0].drift_total)
    calls = lab.calls(UnassignPrivateIpAddresses, mark)
    lab.run(100)

    assert excluded
    assert after_purge == ((0, 0), 1 if upstream else 0)
    assert bool(calls) is not upstream
    assert lab.shape()[0] == ((1, 0) if upstream else (0, 0))


# ---- ENIs ---------------------------------------------------------------------------------------------------


@pytest.mark.spec("EC2-9")
@both
def test_modify_error_shadowed(upstream: bool) -> None:
    """The modify error at once, or the end of a wait for an ENI without id, some 162 s later."""
    lab = full(quirk(upstream, "modify_error_shadowed", warm_ip_target=1, ip_cooldown_period=0))
    lab.vpc.faults.fail_next("ModifyNetworkInterfaceAttribute", "UnauthorizedOperation", "no")
    mark = grown(lab, 4.9)
    soon = lab.counted(mark)
    lab.run(200)
    (first, *_) = [event for event in lab.events(ev.ErrorCounted, mark) if event.counter]

    assert bool(soon) is not upstream
    assert first.fn == ("increaseIPPoolwaitENIAttachedFailed" if upstream else "increaseIPPoolAllocENI")
    assert ("UnauthorizedOperation" in first.message) is not upstream
    assert lab.leaks() == []


@pytest.mark.spec("EC2-9")
@both
def test_the_clean_ups_error_shadows_too(upstream: bool) -> None:
    """With a failing clean-up its error is what is returned."""
    lab = full(quirk(upstream, "modify_error_shadowed", warm_ip_target=1, ip_cooldown_period=0))
    lab.vpc.faults.fail_next("ModifyNetworkInterfaceAttribute", "UnauthorizedOperation", "no")
    lab.vpc.faults.fail_next("DetachNetworkInterface", "InternalError", "oops", times=12)
    mark = lab.mark()
    lab.pod("new")
    lab.until(lambda: len(lab.counted(mark)) > 1)
    (_, second, *_) = [event for event in lab.events(ev.ErrorCounted, mark) if event.counter]

    assert (second.fn, "oops" in second.message) == ("increaseIPPoolAllocENI", upstream)


@pytest.mark.spec("EC2-14")
@both
def test_one_of_several_prefixes_fails(upstream: bool) -> None:
    """One of three after twelve tries."""
    settings = quirk(upstream, "one_of_several_prefixes_fails", prefix_delegation=True, warm_prefix_target=6)
    lab = Lab(settings)
    lab.vpc.faults.metadata_shows(lambda view: partly(view, 1))
    lab.start().until(lambda: bool(lab.counted()) or len(lab.state.enis) > 1)

    assert lab.counted() == (["increaseIPPoolwaitENIAttachedFailed"] if upstream else [])


@pytest.mark.spec("RPC-53")
@both
def test_leftover_ip_kept(upstream: bool) -> None:
    """In prefix mode the leftover address of the last pod."""
    lab = Lab(Settings(warm_ip_target=1)).start().run(10)
    lab.pod("one", 10)
    lab.restart(settings=quirk(upstream, "leftover_ip_kept", prefix_delegation=True, warm_prefix_target=1)).run(10)
    lab.delete("one", 40)

    assert len(lab.vpc.enis[lab.primary].addresses) == (2 if upstream else 1)


@pytest.mark.spec("INIT-38", "INIT-39")
@both
def test_exclusion_failure_skips_host(upstream: bool) -> None:
    """DescribeSubnets fails for an ENI that a reconcile found."""
    lab = Lab(quirk(upstream, "exclusion_failure_skips_host", warm_eni_target=1), instance_type="c5.xlarge").start()
    lab.run(100)
    eni = lab.foreign(addresses=2)
    lab.vpc.faults.fail_next("DescribeSubnets", "InternalError")
    lab.reconciled()
    first = (eni in lab.state.enis, len(lab.state.enis[eni].blocks) if eni in lab.state.enis else 0)
    lab.reconciled()

    assert first == (upstream, 0)
    assert len(lab.state.enis[eni].blocks) == 2
    assert bool(lab.calls(SetUpEni)) is not upstream


@pytest.mark.spec("POOL-44", "INIT-39")
@both
def test_a_node_without_permission_to_describe_subnets(upstream: bool) -> None:
    """Its ENIs are checked in vain for 50 s each and never set up on the host, or just set up."""
    lab = Lab(quirk(upstream, "exclusion_failure_skips_host", warm_eni_target=1))
    lab.foreign(addresses=1)
    lab.vpc.faults.fail_next("DescribeSubnets", "UnauthorizedOperation", times=-1)
    lab.start().run(240)

    assert lab.times(lambda e: isinstance(e, ev.NodeReady)) == [100.0 if upstream else 0.0]
    assert bool(lab.calls(SetUpEni)) is not upstream
    assert lab.counted().count("waitENIAttachedMaxRetryExceeded") == (2 if upstream else 0)


@pytest.mark.spec("POOL-44")
@both
def test_discovery_needs_second_describe(upstream: bool) -> None:
    """DescribeSubnets is not permitted."""
    lab = full(quirk(upstream, "discovery_needs_second_describe", warm_ip_target=1, ip_cooldown_period=0))
    lab.vpc.faults.fail_next("DescribeSubnets", "UnauthorizedOperation", times=1)
    mark = grown(lab, 3)

    assert bool(lab.calls(CreateNetworkInterface, mark)) is not upstream
    assert lab.counted(mark) == (["increaseIPPoolAllocENI"] if upstream else [])


@pytest.mark.spec("RPC-8", "POOL-18")
@both
def test_keeps_serving_after_sigterm(upstream: bool) -> None:
    """To the core it is all one: nothing grows, pods are answered; whether to exit is the daemon's."""
    bench = Bench(quirk(upstream, "keeps_serving_after_sigterm", warm_ip_target=2))
    bench.eni("eni-0", 0, "10.0.0.1/32", primary=True)
    bench.tell(Terminate())
    bench.wait(2.5)
    bench.tell(Tick())

    assert bench.granted("one").address == "10.0.0.1"
    assert not [e for e in bench.events(ev.CallStarted) if isinstance(e.call, AssignPrivateIpAddresses)]


@pytest.mark.spec("POOL-27", "POOL-28")
@both
def test_exhausted_without_room_asks_on(upstream: bool) -> None:
    """A subnet that stays full, discovery, MAX_ENI reached: two requests each cycle, or two in two minutes."""
    names = "exhausted_without_room_asks_on"
    lab = Lab(quirk(upstream, names, warm_ip_target=2, max_eni=1, ip_cooldown_period=0)).start().run(20)
    lab.vpc.faults.fail_next("AssignPrivateIpAddresses", "InsufficientFreeAddressesInSubnet", times=-1)
    mark = lab.mark()
    lab.pod("one")
    lab.run(100)

    assert len(lab.calls(AssignPrivateIpAddresses, mark)) == (40 if upstream else 2)
    assert bool(lab.events(ev.SubnetExhausted, mark)) is not upstream
    assert lab.calls(CreateNetworkInterface, mark) == []
