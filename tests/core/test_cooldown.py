"""Freed blocks are not learnt again from metadata for a minute: the reconcile's cooldown entries (REC-10..REC-13)."""

from __future__ import annotations

import pytest

from ipamd.core import events as ev
from ipamd.core.calls import AssignPrivateIpAddresses, UnassignPrivateIpAddresses
from ipamd.core.fill import HOLD
from ipamd.core.observe import expired_holds, recently_freed, reconcile
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND
from ipamd.ec2.vpc import apply

from .world import Bench, Lab

FREED = "10.0.0.1/32"
SINGLE = Settings(warm_ip_target=1, ip_cooldown_period=0)


def freed(stored: bool = False) -> Bench:
    """A block that was just given back; `stored`: it has come again meanwhile."""
    bench = Bench()
    bench.eni("eni-1", 1, FREED, "10.0.0.2/32")
    bench.record(ev.CidrRemoved("eni-1", FREED, "scale_down", bench.now + HOLD))
    if stored:
        bench.put("eni-1", FREED)
    return bench


def reconciled(
    bench: Bench, found: list[str], verified: bool = False, in_ec2: list[str] | None = None
) -> list[ev.Event]:
    """The changes a reconcile makes to the store, the counters left out."""
    eni = bench.state.enis["eni-1"]
    events = reconcile(bench.state, eni, "addresses", found, bench.now, verified=verified, in_ec2=in_ec2)
    return [event for event in events if not isinstance(event, ev.ReconcileCounted)]


BOTH = [FREED, "10.0.0.2/32"]


@pytest.mark.spec("REC-11", "TV-57")
def test_an_entry_lasts_a_minute_and_leaves_only_when_the_block_is_back() -> None:
    """Unknown; known and recent; known and not recent; unknown again once it was confirmed."""
    bench = freed()
    seen = [(cidr in bench.state.held, recently_freed(bench.state, cidr, bench.now)) for cidr in ("10.9.9.9/32", FREED)]
    bench.wait(59.999)
    seen.append((FREED in bench.state.held, recently_freed(bench.state, FREED, bench.now)))
    bench.wait(0.001)
    seen.append((FREED in bench.state.held, recently_freed(bench.state, FREED, bench.now)))
    bench.wait(1000)
    still = FREED in bench.state.held
    bench.record(ev.HoldEnded(FREED))

    assert HOLD == 60 * SECOND
    assert seen == [(False, False), (True, True), (True, True), (True, False)]
    assert still and FREED not in bench.state.held


@pytest.mark.spec("REC-10", "REC-11")
@pytest.mark.parametrize("verified", [False, True])
def test_a_recently_freed_block_is_not_learnt_again(verified: bool) -> None:
    """Neither from metadata nor from EC2, whose answer may be of before the release."""
    assert reconciled(freed(), BOTH, verified) == []


@pytest.mark.spec("REC-13")
@pytest.mark.parametrize("verified", [False, True])
def test_a_recently_freed_block_that_came_back_is_dropped_again(verified: bool) -> None:
    """It is not seen, hence dropped by force, although it was added meanwhile."""
    assert reconciled(freed(stored=True), BOTH, verified) == [ev.CidrRemoved("eni-1", FREED, "resync")]


@pytest.mark.spec("REC-10")
def test_an_expired_entry_must_be_confirmed_by_ec2() -> None:
    """From metadata alone it is not believed; EC2 is asked once for the ENI."""
    bench = freed()
    early = expired_holds(bench.state, BOTH, bench.now)
    bench.wait(60)

    assert (early, expired_holds(bench.state, BOTH, bench.now)) == (False, True)
    assert not expired_holds(bench.state, ["10.0.0.2/32"], bench.now)


@pytest.mark.spec("REC-10")
def test_a_block_confirmed_by_ec2_is_learnt_and_its_entry_goes() -> None:
    """Whether EC2 was the source or was asked about the entry."""
    for verified, in_ec2 in ((True, None), (False, BOTH)):
        bench = freed()
        bench.wait(60)

        assert reconciled(bench, BOTH, verified, in_ec2) == [ev.HoldEnded(FREED), ev.CidrAdded("eni-1", FREED)]


@pytest.mark.spec("REC-10")
def test_a_block_that_ec2_does_not_have_stays_away_with_its_entry() -> None:
    """Metadata lags; not seen, and dropped if it is in the store."""
    bench, stored = freed(), freed(stored=True)
    bench.wait(60)
    stored.wait(60)

    assert reconciled(bench, BOTH, False, ["10.0.0.2/32"]) == []
    assert reconciled(stored, BOTH, False, ["10.0.0.2/32"]) == [ev.CidrRemoved("eni-1", FREED, "resync")]


@pytest.mark.spec("REC-10")
def test_without_an_answer_of_ec2_the_store_keeps_what_it_has() -> None:
    """A failed read protects a stored block, and adds none."""
    bench, stored = freed(), freed(stored=True)
    bench.wait(60)
    stored.wait(60)

    assert reconciled(bench, BOTH, False, None) == []
    assert reconciled(stored, BOTH, False, None) == []


@pytest.mark.spec("REC-10", "REC-12")
def test_a_block_already_there_is_seen_and_nothing_is_added() -> None:
    """Already in the store is fine; what was not seen goes."""
    bench = Bench()
    bench.eni("eni-1", 1, *BOTH)

    assert reconciled(bench, BOTH) == []
    assert reconciled(bench, [FREED]) == [ev.CidrRemoved("eni-1", "10.0.0.2/32", "resync")]


@pytest.mark.spec("REC-12", "HTTP-21")
def test_dropping_counts_once_for_each_block() -> None:
    """EniIPPoolReconcileDel moves by what was dropped, with the pods on it named."""
    bench = Bench()
    bench.eni("eni-1", 1, *BOTH)
    bench.granted("one")
    events = reconcile(bench.state, bench.state.enis["eni-1"], "addresses", [], bench.now, verified=True, in_ec2=None)

    assert events == [
        ev.CidrRemoved("eni-1", FREED, "resync", pods=1), ev.CidrRemoved("eni-1", "10.0.0.2/32", "resync"),
        ev.ReconcileCounted("eniIPPoolReconcileDel", 2),
    ]  # fmt: skip


# ---- in sequences -------------------------------------------------------------------------------------------


@pytest.mark.spec("REC-10", "REC-11")
def test_metadata_that_lags_by_minutes_brings_no_freed_block_back() -> None:
    """Metadata shows for two minutes what EC2 has not any more; the store never takes it."""
    lab = Lab(SINGLE, instance_type="c5.xlarge", lag_ms=120_000).start().run(10)
    lab.pods(4, 10)
    lab.run(200)
    for i in range(4):
        lab.delete(f"pod-{i}")
    mark = lab.mark()
    lab.run(600)

    removed = [event.cidr for event in lab.events(ev.CidrRemoved, mark)]
    assert len(removed) == 4
    assert not [event for event in lab.events(ev.CidrAdded, mark) if event.cidr in removed]
    assert lab.leaks() == [] and lab.quiet()


@pytest.mark.spec("REC-11", "REC-1")
def test_a_block_granted_again_within_its_minute_keeps_its_pod() -> None:
    """The grant puts the reconcile off until the entry has expired; EC2 confirms, the pod stays."""
    lab = Lab(SINGLE, instance_type="c5.xlarge").start().run(10)
    lab.pod("one", 10)
    lab.delete("one", 10)
    (freed_block,) = [event.cidr for event in lab.events(ev.CidrRemoved)]
    granted = lab.pod("two", 10)
    again = [event.cidr for event in lab.events(ev.CidrAdded)]
    lab.pod("three", 200)

    assert again.count(freed_block) == 2
    assert freed_block not in lab.state.held
    assert lab.state.stores[0].owners and granted.address and lab.leaks() == []
    assert {event.pods for event in lab.events(ev.CidrRemoved)} == {0}


@pytest.mark.spec("REC-10", "POOL-32")
def test_a_release_that_ec2_refused_is_learnt_after_a_minute_and_repeated() -> None:
    """Still there when the entry expires: the block comes back and is given back once more."""
    lab = Lab(SINGLE, instance_type="c5.xlarge").start().run(10)
    lab.pod("one", 10)
    lab.vpc.faults.fail_next("UnassignPrivateIpAddresses", "InternalError")
    lab.delete("one", 10)
    mark = lab.mark()
    lab.run(300)

    kinds = [type(e) for r in lab.records[mark:] for e in r.events
             if isinstance(e, ev.HoldEnded | ev.CidrAdded | ev.CidrRemoved)]  # fmt: skip
    assert kinds == [ev.HoldEnded, ev.CidrAdded, ev.CidrRemoved]
    assert len(lab.calls(UnassignPrivateIpAddresses)) == 2 and lab.leaks() == []


@pytest.mark.spec("REC-10")
def test_an_expired_entry_is_checked_with_one_read() -> None:
    """Similar metadata and a block with an expired entry: one describe for the whole ENI."""
    lab = Lab(SINGLE, instance_type="c5.xlarge").start().run(10)
    lab.pod("one", 10)
    lab.delete("one", 10)
    lab.pod("two", 10)
    asked = lab.engine.requests["DescribeNetworkInterfaces"]
    lab.reconciled()

    assert lab.engine.requests["DescribeNetworkInterfaces"] == asked + 1
    assert not lab.state.held


@pytest.mark.spec("REC-10")
def test_a_describe_that_fails_keeps_the_entry_for_the_next_time() -> None:
    """The stored block is protected; the next reconcile asks again."""
    lab = Lab(SINGLE, instance_type="c5.xlarge").start().run(10)
    lab.pod("one", 10)
    lab.delete("one", 10)
    lab.pod("two", 10)
    lab.vpc.faults.fail_next("DescribeNetworkInterfaces", "InternalError")
    lab.reconciled()
    kept = dict(lab.state.held)
    lab.reconciled()

    assert len(kept) == 1 and not lab.state.held
    assert lab.leaks() == []


@pytest.mark.spec("REC-11")
def test_a_block_taken_away_by_hand_and_given_again_is_not_held() -> None:
    """Only our own releases make entries."""
    lab = Lab(Settings(minimum_ip_target=2), instance_type="c5.xlarge").start().run(100)
    address = lab.vpc.enis[lab.primary].addresses[1]
    apply(lab.vpc, UnassignPrivateIpAddresses(lab.primary, (address,)), lab.now)
    lab.reconciled()
    held = dict(lab.state.held)
    apply(lab.vpc, AssignPrivateIpAddresses(lab.primary, 1), lab.now)
    lab.reconciled()

    assert held == {} and lab.leaks() == []
