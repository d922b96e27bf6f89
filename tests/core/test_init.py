"""Node init step by step: what is fatal, what is retried, what is only logged (INIT-16..INIT-40, POOL-20, POOL-48)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core.adopt import LINK_NOT_FOUND
from ipamd.core.calls import (
    ENI_NOT_FOUND,
    AssignPrivateIpAddresses,
    Call,
    CreateTags,
    DescribeSubnets,
    Failed,
    MetadataView,
    ModifyNetworkInterfaceAttribute,
    Outcome,
    RefreshPodRules,
    SetUpEni,
    SetUpHost,
    Succeeded,
)
from ipamd.core.commands import Observed
from ipamd.core.settings import Quirks, Settings
from ipamd.core.types import SECOND
from ipamd.ec2.faults import ALWAYS
from ipamd.sim.engine import Crashed

from .world import Lab

SINGLE = Settings(warm_ip_target=1, ip_cooldown_period=0)
PREFIXES = Settings(prefix_delegation=True, warm_prefix_target=1, ip_cooldown_period=0)
EXCLUDED = {"kubernetes.io/role/cni": "0"}


def names(lab: Lab, since: int = 0) -> list[str]:
    return [type(call).__name__ for call in lab.all_calls(since)]


def host_fails(lab: Lab, kind: type[Call], message: str, times: int) -> None:
    """The host refuses calls of one kind, so many times."""
    left = [message] * times

    def answer(call: object) -> Outcome:
        return Failed("", left.pop()) if isinstance(call, kind) and left else Succeeded()

    lab.engine._host = answer


def failed_at(lab: Lab, start: Callable[[], object]) -> ev.InitFailed:
    """The step at which node init ends the process."""
    with pytest.raises(Crashed):
        start()
    (event,) = lab.events(ev.InitFailed)
    assert lab.state.phase == "failed"
    return event


# ---- the first start ----------------------------------------------------------------------------------------


@pytest.mark.spec("INIT-17", "INIT-18", "INIT-22", "INIT-24", "INIT-31", "INIT-33")
def test_a_fresh_node_is_set_up_in_order() -> None:
    """Host, tags, ENI, groups, one increase; ready comes last."""
    lab = Lab(SINGLE).start()

    assert names(lab) == ["SetUpHost", "CreateTags", "ModifyNetworkInterfaceAttribute", "AssignPrivateIpAddresses"]
    mac = lab.state.enis[lab.node.primary_eni].mac
    assert lab.calls(SetUpHost) == [SetUpHost(lab.node.primary_ip, ("10.0.0.0/16",), mac)]
    assert [type(e) for e in lab.records[-1].events][-1] == ev.WorkMoved
    assert lab.events(ev.NodeReady) == [ev.NodeReady()] and lab.state.phase == "ready"
    assert lab.state.vpc_cidrs == ("10.0.0.0/16",) and lab.leaks() == []


@pytest.mark.spec("INIT-37", "DM-9")
def test_the_primary_eni_needs_no_host_set_up_of_its_own() -> None:
    """INIT-37 (7), DM-9: table 254, no SetUpEni; secondary ENIs get theirs."""
    lab = Lab(SINGLE)
    eni = lab.foreign(addresses=1, device=2)
    lab.start()

    primary, other = lab.state.enis[lab.primary], lab.state.enis[eni]
    assert [(call.eni, call.device, call.table) for call in lab.calls(SetUpEni)] == [(eni, 2, 3)]
    assert (primary.table, primary.primary, other.table, other.primary) == (254, True, 3, False)
    assert (primary.primary_ip, other.primary_ip) == (lab.node.primary_ip, lab.vpc.enis[eni].addresses[0])


@pytest.mark.spec("INIT-37", "INIT-40")
def test_every_address_but_the_primary_one_comes_into_the_store() -> None:
    """INIT-37 (8), INIT-40: as /32, prefixes as /28; a prefix of another length is skipped."""
    quirks = Quirks(restart_trusts_metadata=True)
    lab = Lab(Settings(provisioning_disabled=True, prefix_delegation=True, quirks=quirks))
    eni = lab.foreign(prefixes=2)
    row = lab.vpc.enis[eni]
    lab.vpc.faults.metadata_shows(
        lambda view: msgspec.structs.replace(
            view, enis=tuple(msgspec.structs.replace(e, prefixes=(*e.prefixes, "10.0.9.0/30")) for e in view.enis)
        )
    )
    lab.start()

    assert list(lab.state.enis[eni].blocks) == list(row.prefixes)
    assert lab.state.enis[lab.primary].blocks == {} and len(row.addresses) == 1


@pytest.mark.spec("INIT-24", "EC2-15")
def test_tags_are_synced_before_the_set_up() -> None:
    """Only what is missing is sent; five tries."""
    lab = Lab(SINGLE)
    lab.vpc.faults.fail_next("CreateTags", "RequestLimitExceeded", times=4)
    lab.start().run(30)

    assert len(lab.calls(CreateTags)) == 5 and lab.state.phase == "ready"
    assert lab.vpc.enis[lab.primary].tags == {"node.k8s.amazonaws.com/instance_id": lab.node.instance}


# ---- what is fatal ------------------------------------------------------------------------------------------


@pytest.mark.spec("INIT-17")
def test_without_metadata_there_is_no_start() -> None:
    """The read fails."""
    lab = Lab(SINGLE)
    lab.vpc.faults.fail_next("ReadMetadata", "", "connection refused")

    assert failed_at(lab, lab.start) == ev.InitFailed("metadata", "", "connection refused")


@pytest.mark.spec("INIT-17", "INIT-20")
def test_metadata_without_any_eni_is_no_metadata() -> None:
    """An instance has a primary ENI at least."""
    lab = Lab(SINGLE)
    lab.vpc.faults.metadata_shows(MetadataView())

    assert failed_at(lab, lab.start).step == "metadata"


@pytest.mark.spec("INIT-18")
def test_a_host_that_cannot_be_set_up_ends_the_start() -> None:
    """A host that cannot be set up ends the start."""
    lab = Lab(SINGLE)
    host_fails(lab, SetUpHost, "iptables: permission denied", 1)

    assert failed_at(lab, lab.start) == ev.InitFailed("host", "", "iptables: permission denied")


@pytest.mark.spec("INIT-20", "EC2-30")
def test_describe_all_is_tried_twelve_times() -> None:
    """Eleven failures are survived, k * 10 ms apart, the twelfth is fatal."""
    lab = Lab(SINGLE)
    lab.vpc.faults.fail_next("DescribeNetworkInterfaces", "InternalError", times=11)
    lab.start().run(1)
    dead = Lab(SINGLE)
    dead.vpc.faults.fail_next("DescribeNetworkInterfaces", "InternalError", "oops", times=12)

    assert lab.state.phase == "ready"
    assert lab.times(lambda e: isinstance(e, ev.NodeReady)) == [0.55]
    assert failed_at(dead, lambda: dead.start().run(1)) == ev.InitFailed(
        "describe", "InternalError", "InternalError: oops"
    )


@pytest.mark.spec("INIT-20", "EC2-30")
def test_an_eni_that_ec2_does_not_know_is_left_out() -> None:
    """Metadata still shows it; its id is dropped from the request, at once."""
    lab = Lab(SINGLE)
    eni = lab.foreign(addresses=1)
    lab.vpc.faults.fail_next(
        "DescribeNetworkInterfaces", ENI_NOT_FOUND, f"The networkInterface ID '{eni}' does not exist"
    )
    lab.start()

    assert list(lab.state.enis) == [lab.primary] and lab.state.phase == "ready"


@pytest.mark.spec("INIT-24")
def test_tags_that_cannot_be_set_end_the_start() -> None:
    """After five tries."""
    lab = Lab(SINGLE)
    lab.vpc.faults.fail_next("CreateTags", "UnauthorizedOperation", "no", times=5)

    event = failed_at(lab, lambda: lab.start().run(60))
    assert (event.step, event.code) == ("tag", "UnauthorizedOperation")


@pytest.mark.spec("INIT-33", "POOL-20")
def test_an_assign_that_fails_at_pre_scaling_ends_the_start() -> None:
    """Only address assignment on an existing ENI can; the fallback failed too."""
    lab = Lab(SINGLE)
    lab.vpc.faults.fail_next("AssignPrivateIpAddresses", "InternalError", times=2)

    event = failed_at(lab, lab.start)
    assert (event.step, event.code) == ("prescale", "InternalError")
    assert lab.counted() == ["increaseIPPoolAllocIPAddressesFailed"]


@pytest.mark.spec("POOL-20", "POOL-26")
def test_a_re_read_that_fails_at_pre_scaling_ends_the_start() -> None:
    """Its error propagates as the fill's own."""
    lab = Lab(SINGLE)
    lab.vpc.faults.fail_next("AssignPrivateIpAddresses", "PrivateIpAddressLimitExceeded")
    lab.engine.start()
    lab.until(lambda: bool(lab.calls(AssignPrivateIpAddresses)))
    lab.vpc.faults.fail_next("DescribeNetworkInterfaces", "InternalError")

    assert failed_at(lab, lambda: lab.run(1)).step == "prescale"


# ---- what is not --------------------------------------------------------------------------------------------


@pytest.mark.spec("POOL-20", "POOL-28")
@pytest.mark.parametrize("discovery", [True, False])
def test_an_exhausted_subnet_does_not_end_the_start(discovery: bool) -> None:
    """A failed ENI allocation is not fatal, nor is the exhaustion that starts the pause."""
    lab = Lab(msgspec.structs.replace(SINGLE, subnet_discovery=discovery))
    lab.vpc.faults.fail_next("AssignPrivateIpAddresses", "InsufficientFreeAddressesInSubnet", times=2)
    lab.vpc.faults.fail_next("CreateNetworkInterface", "InsufficientFreeAddressesInSubnet")
    lab.start().run(10)

    assert lab.state.phase == "ready" and lab.state.exhausted_at


@pytest.mark.spec("POOL-20")
def test_one_increase_at_most_runs_before_the_node_is_ready() -> None:
    """A pool that needs three ENIs gets one now and the others in later cycles."""
    lab = Lab(Settings(warm_ip_target=9)).start()
    at_ready = lab.shape()
    lab.run(60)

    assert at_ready == [(3, 0)]
    assert lab.shape() == [(3, 0), (3, 0), (3, 0)]


@pytest.mark.spec("INIT-33", "INIT-35")
def test_a_pool_that_is_not_low_needs_no_increase() -> None:
    """Max pods 0, for one, is never low."""
    lab = Lab(SINGLE, max_pods=0).start().run(60)

    assert not lab.events(ev.PoolActed) and not lab.calls(AssignPrivateIpAddresses)


@pytest.mark.spec("INIT-24", "INIT-31", "INIT-33")
def test_with_provisioning_disabled_nothing_is_tagged_grouped_or_scaled() -> None:
    """The other steps are walked."""
    lab = Lab(msgspec.structs.replace(SINGLE, provisioning_disabled=True))
    lab.foreign(addresses=2)
    lab.start()

    assert names(lab) == ["SetUpHost", "SetUpEni"]
    assert lab.shape() == [(0, 0), (2, 0)]


@pytest.mark.spec("INIT-25", "INIT-34", "INIT-38")
@pytest.mark.parametrize(("failures", "tries", "adopted"), [(1, 2, True), (5, 6, True), (6, 6, False)])
def test_an_enis_set_up_is_tried_six_times_ten_seconds_apart(failures: int, tries: int, adopted: bool) -> None:
    """Then a warning, the counter, and the start goes on without that ENI."""
    lab = Lab(SINGLE)
    eni = lab.foreign(addresses=1)
    host_fails(lab, SetUpEni, "no route", failures)
    lab.start().run(60)

    assert len(lab.calls(SetUpEni)) == tries and (eni in lab.state.enis) is adopted
    assert lab.times(lambda e: isinstance(e, ev.NodeReady)) == [10 * (tries - 1)]
    assert lab.counted() == ([] if adopted else ["waitENIAttachedMaxRetryExceeded"])


@pytest.mark.spec("INIT-34")
def test_a_missing_link_is_not_waited_for() -> None:
    """With that text in the error a retry is pointless; the reconcile adopts the ENI later."""
    lab = Lab(Settings(warm_eni_target=1))
    eni = lab.foreign(addresses=1)
    host_fails(lab, SetUpEni, f"{LINK_NOT_FOUND} 02:00:00:00:00:01", 1)
    lab.start()
    at_ready = (len(lab.calls(SetUpEni)), eni in lab.state.enis, lab.state.phase)
    lab.run(130)

    assert at_ready == (1, False, "ready")
    assert eni in lab.state.enis and lab.leaks() == []


@pytest.mark.spec("INIT-34", "INIT-38", "TV-52")
@pytest.mark.parametrize(("failures", "ready", "adopted"), [(1, 10.0, True), (5, 50.0, True), (6, 50.0, False)])
def test_the_exclusion_check_is_retried_like_the_set_up(failures: int, ready: float, adopted: bool) -> None:
    """INIT-38 (5), TV-52: DescribeSubnets fails: counted at last, with upstream's words, and left out."""
    lab = Lab(SINGLE)
    lab.vpc.faults.fail_next("DescribeSubnets", "InternalError", "no", times=failures)
    lab.start().run(55)

    assert lab.times(lambda e: isinstance(e, ev.NodeReady)) == [ready]
    assert (lab.primary in lab.state.enis) is adopted
    texts = [event.message for event in lab.events(ev.ErrorCounted) if event.fn == "waitENIAttachedMaxRetryExceeded"]
    assert bool(texts) is not adopted
    assert all("checking to excluded configured subnet" in text for text in texts)


@pytest.mark.spec("POOL-44", "POOL-46", "INIT-37")
def test_a_node_may_do_without_the_permission_to_describe_subnets() -> None:
    """Nobody is excluded, ENIs are set up in full, the pool grows in the primary subnet."""
    lab = Lab(SINGLE)
    found = lab.foreign(addresses=1)
    lab.vpc.faults.fail_next("DescribeSubnets", "UnauthorizedOperation", times=ALWAYS)
    lab.start()
    at_once = (lab.state.phase, list(lab.state.enis))
    lab.run(10)
    lab.pods(5, 10)

    assert at_once == ("ready", [lab.primary, found])
    assert [call.eni for call in lab.calls(SetUpEni)] == [eni for eni in lab.state.enis if eni != lab.primary]
    assert {eni.subnet for eni in lab.state.enis.values()} == {lab.node.subnet}
    assert lab.counted() == [] and lab.leaks() == []


@pytest.mark.spec("INIT-34")
def test_the_pause_between_checks_counts_from_the_answer() -> None:
    """Ten seconds after the failure was known, however long the read took."""
    lab = Lab(SINGLE, latency="realistic")
    lab.vpc.faults.fail_next("DescribeSubnets", "InternalError", times=3)
    lab.start().run(60)

    answers = [r.at for r in lab.records if isinstance(r.cause, Observed) and r.cause.look == DescribeSubnets()]
    assert len(answers) == 4
    assert all(b - a > 10 * SECOND for a, b in pairwise(answers))


@pytest.mark.spec("INIT-37")
def test_no_exclusion_check_without_discovery() -> None:
    """INIT-37 (5): no DescribeSubnets, nobody is excluded."""
    lab = Lab(msgspec.structs.replace(SINGLE, subnet_discovery=False))
    lab.tag_subnet(lab.node.subnet, EXCLUDED)
    lab.start()

    assert lab.engine.requests["DescribeSubnets"] == 0 and not lab.state.enis[lab.primary].excluded


@pytest.mark.spec("INIT-37", "POOL-46", "POOL-47")
def test_one_describe_of_the_subnets_serves_all_enis() -> None:
    """INIT-37 (5), POOL-46, POOL-47: the ENIs of a subnet tagged 0 are flagged."""
    lab = Lab(msgspec.structs.replace(SINGLE, provisioning_disabled=True))
    lab.foreign(addresses=1, device=1)
    lab.tag_subnet(lab.node.subnet, EXCLUDED)
    lab.start()

    assert lab.engine.requests["DescribeSubnets"] == 1
    assert [eni.excluded for eni in lab.state.enis.values()] == [True, True]


@pytest.mark.spec("POOL-45", "POOL-47", "TV-42")
def test_the_pool_grows_in_another_subnet_where_the_primary_one_is_excluded() -> None:
    """The primary ENI gets nothing; the new ENI lies in a subnet with a tag."""
    lab = Lab(SINGLE)
    other = lab.subnet("10.0.9.0/24", {"kubernetes.io/role/cni": "1"})
    lab.tag_subnet(lab.node.subnet, EXCLUDED)
    lab.start()

    assert [(eni.subnet, eni.excluded, len(eni.blocks)) for eni in lab.state.enis.values()] == [
        (lab.node.subnet, True, 0), (other, False, 1),
    ]  # fmt: skip


# ---- the last steps ----------------------------------------------------------------------------------------


@pytest.mark.spec("INIT-29")
def test_rules_of_recovered_pods_are_refreshed() -> None:
    """(address, table) of each; none without pods; a failure is logged."""
    lab = Lab(SINGLE).start().run(10)
    granted = lab.pod("one")
    first = lab.calls(RefreshPodRules)
    lab.die()
    host_fails(lab, RefreshPodRules, "rtnetlink", 1)
    lab.start(2)

    assert first == []
    assert lab.calls(RefreshPodRules) == [RefreshPodRules(((granted.address, 254),))]
    assert lab.state.phase == "ready"


@pytest.mark.spec("INIT-31", "POOL-51")
def test_groups_that_cannot_be_set_do_not_end_the_start() -> None:
    """Logged for each ENI."""
    lab = Lab(SINGLE)
    lab.vpc.faults.fail_next("ModifyNetworkInterfaceAttribute", "UnauthorizedOperation")
    lab.start()

    assert lab.state.phase == "ready" and len(lab.calls(ModifyNetworkInterfaceAttribute)) == 1
