"""The 30 s watcher: the VPC's CIDRs and the primary ENI's security groups (INIT-30, INIT-31, POOL-51, POOL-52)."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core.calls import (
    CreateNetworkInterface,
    Failed,
    ModifyNetworkInterfaceAttribute,
    Outcome,
    SetUpHost,
    Succeeded,
)
from ipamd.core.settings import Settings
from ipamd.ec2.vpc import associate_cidr

from .world import Lab

STILL = Settings(warm_ip_target=1, minimum_ip_target=4, ip_cooldown_period=0)
MODIFY = "ModifyNetworkInterfaceAttribute"


def two_enis(settings: Settings = STILL) -> Lab:
    """A settled t3.small with two ENIs."""
    lab = Lab(settings).start().run(35)
    assert len(lab.state.enis) == 2
    return lab


def regroup(lab: Lab, *groups: str) -> None:
    """Somebody changes the primary ENI's security groups."""
    row = lab.vpc.enis[lab.primary]
    lab.vpc.install((msgspec.structs.replace(row, security_groups=groups),), lab.now)


def set_on(lab: Lab, since: int) -> list[tuple[str, tuple[str, ...] | None]]:
    """(ENI, groups) of the calls that set groups."""
    calls = lab.calls(ModifyNetworkInterfaceAttribute, since)
    return [(call.eni, call.security_groups) for call in calls if not call.attachment]


@pytest.mark.spec("POOL-51", "INIT-31")
def test_the_first_refresh_sets_the_groups_on_every_eni() -> None:
    """The first run always counts as a change; at node init, before the pool is scaled."""
    lab = Lab(STILL).start()

    assert set_on(lab, 0) == [(lab.primary, lab.state.security_groups)]
    assert lab.vpc.enis[lab.primary].security_groups == lab.state.security_groups


@pytest.mark.spec("POOL-51")
def test_changed_groups_are_set_on_every_eni_in_id_order() -> None:
    """Ascending ids, sorted groups, the primary one included, within 30 s."""
    lab = two_enis()
    regroup(lab, "sg-9", "sg-1")
    mark = lab.mark()
    lab.run(31)

    assert set_on(lab, mark) == [(eni, ("sg-1", "sg-9")) for eni in sorted(lab.state.enis)]
    assert {row.security_groups for row in lab.vpc.enis.values()} == {("sg-1", "sg-9")}


@pytest.mark.spec("POOL-51")
def test_unchanged_groups_leave_no_record() -> None:
    """A round that sees what it knows changes nothing and calls nobody."""
    lab = two_enis()
    mark = lab.mark()
    lab.run(300)

    assert set_on(lab, mark) == [] and not lab.events(ev.SecurityGroupsChanged, mark)


@pytest.mark.spec("POOL-51", "EC2-29")
def test_one_eni_that_refuses_does_not_stop_the_others() -> None:
    """Failures are logged, not counted, and not repeated: the cache holds the new groups."""
    lab = two_enis()
    regroup(lab, "sg-9")
    lab.vpc.faults.fail_next(MODIFY, "InvalidNetworkInterfaceID.NotFound")
    mark = lab.mark()
    lab.run(100)

    assert len(set_on(lab, mark)) == 2
    assert lab.state.security_groups == ("sg-9",) and lab.counted(mark) == []
    assert [event.fn for event in lab.events(ev.ErrorCounted, mark)] == ["watch ApplyGroups"]


@pytest.mark.spec("POOL-52")
def test_a_new_eni_gets_the_groups_of_now() -> None:
    """The cached ones, however they came to be."""
    lab = Lab(Settings(warm_ip_target=1, ip_cooldown_period=0)).start().run(10)
    regroup(lab, "sg-7", "sg-3")
    lab.run(60)
    lab.pods(3, 10)

    assert [call.security_groups for call in lab.calls(CreateNetworkInterface)] == [("sg-3", "sg-7")]


@pytest.mark.spec("INIT-31", "ENV-9")
def test_with_provisioning_disabled_groups_are_not_watched() -> None:
    """With provisioning disabled groups are not watched."""
    lab = Lab(msgspec.structs.replace(STILL, provisioning_disabled=True)).start().run(35)
    regroup(lab, "sg-9")
    lab.run(100)

    assert set_on(lab, 0) == []


@pytest.mark.spec("INIT-30")
@pytest.mark.parametrize("settings", [STILL, msgspec.structs.replace(STILL, provisioning_disabled=True)])
def test_a_further_cidr_of_the_vpc_reaches_the_host(settings: Settings) -> None:
    """The rules are programmed again with all of them, provisioning disabled or not."""
    lab = Lab(settings).start().run(35)
    associate_cidr(lab.vpc, "10.77.0.0/16", now=lab.now)
    mark = lab.mark()
    lab.run(31)

    assert [call.vpc_cidrs for call in lab.calls(SetUpHost, mark)] == [("10.0.0.0/16", "10.77.0.0/16")]
    assert lab.state.vpc_cidrs == ("10.0.0.0/16", "10.77.0.0/16")


@pytest.mark.spec("INIT-30")
def test_a_round_reads_metadata_every_thirty_seconds() -> None:
    """One read for both; an error skips the round, the next one sees the change."""
    lab = two_enis()
    associate_cidr(lab.vpc, "10.77.0.0/16", now=lab.now)
    lab.vpc.faults.fail_next("ReadMetadata", "", "404")
    mark = lab.mark()
    began = lab.clock
    lab.run(100)

    (changed,) = lab.times(lambda e: isinstance(e, ev.VpcCidrsChanged), mark)
    assert 30 <= changed - began <= 60


@pytest.mark.spec("INIT-30", "POOL-51")
def test_both_at_once_are_applied_one_after_the_other() -> None:
    """The CIDRs first, then the groups, by one lane."""
    lab = two_enis()
    associate_cidr(lab.vpc, "10.77.0.0/16", now=lab.now)
    regroup(lab, "sg-9")
    mark = lab.mark()
    lab.run(31)

    assert [type(call) for call in lab.all_calls(mark)] == [SetUpHost] + [ModifyNetworkInterfaceAttribute] * 2


@pytest.mark.spec("INIT-30")
def test_a_host_that_cannot_be_programmed_is_logged() -> None:
    """The next change tries again; the pool goes on."""
    lab = two_enis()
    answers: list[Outcome] = [Failed("", "iptables: locked")]
    lab.engine._host = lambda call: answers.pop() if isinstance(call, SetUpHost) and answers else Succeeded()
    associate_cidr(lab.vpc, "10.77.0.0/16", now=lab.now)
    mark = lab.mark()
    lab.run(31)

    assert [event.message for event in lab.events(ev.ErrorCounted, mark)] == ["iptables: locked"]
    assert lab.counted(mark) == [] and lab.state.watch.work is None


@pytest.mark.spec("INIT-30")
def test_the_watcher_does_not_depend_on_the_pool_being_quiet() -> None:
    """A pool that fails in every cycle does not keep it from looking."""
    lab = Lab(STILL).start()
    lab.vpc.faults.fail_next("AssignPrivateIpAddresses", "UnauthorizedOperation", times=1000)
    lab.vpc.faults.fail_next("CreateNetworkInterface", "UnauthorizedOperation", times=1000)
    lab.pods(2)
    associate_cidr(lab.vpc, "10.77.0.0/16", now=lab.now)
    began, mark = lab.clock, lab.mark()
    lab.run(120)

    (changed,) = lab.times(lambda e: isinstance(e, ev.VpcCidrsChanged), mark)
    assert changed - began <= 31
    assert len(lab.counted(mark)) > 20


@pytest.mark.spec("INIT-31")
def test_the_lanes_do_not_wait_for_each_other() -> None:
    """While groups are being set, an ENI may grow, and the other way round."""
    lab = Lab(Settings(warm_ip_target=1, ip_cooldown_period=0), latency="realistic").start().run(60)
    lab.pods(2, 30)
    regroup(lab, "sg-9")
    mark = lab.mark()
    lab.until(lambda: lab.state.watch.call is not None)
    lab.pod("one")
    lab.until(lambda: bool(lab.calls(CreateNetworkInterface, mark)))
    lab.run(100)

    assert {row.security_groups for row in lab.vpc.enis.values()} == {("sg-9",)}
    assert lab.leaks() == [] and lab.quiet()


@pytest.mark.spec("INIT-31", "POOL-51")
def test_a_restart_sets_groups_only_if_they_changed_meanwhile() -> None:
    """The cache survives with us."""
    lab = two_enis()
    mark = lab.mark()
    lab.restart().run(10)
    same = set_on(lab, mark)
    lab.die()
    regroup(lab, "sg-9")
    mark = lab.mark()
    lab.start(3)

    assert same == []
    assert set_on(lab, mark) == [(eni, ("sg-9",)) for eni in sorted(lab.state.enis)]
