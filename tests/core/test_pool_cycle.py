"""The pool loop in virtual time: its beats and pauses, when it grows and when it shrinks (POOL-13..21, POOL-31..34)."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    CreateNetworkInterface,
    SetUpHost,
    UnassignPrivateIpAddresses,
)
from ipamd.core.commands import Terminate, Tick
from ipamd.core.plan import agenda, beat, plan, update
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND
from ipamd.core.work import Fill, Free

from .world import Bench, Lab

ADDRESSES = Settings(warm_ip_target=1, ip_cooldown_period=0)


def acted(lab: Lab, action: str, since: int = 0) -> list[float]:
    """Seconds at which the pool did this."""
    return lab.times(lambda event: isinstance(event, ev.PoolActed) and event.action == action, since)


def resynced(lab: Lab, since: int = 0) -> list[float]:
    return lab.times(lambda event: isinstance(event, ev.Resynced), since)


# ---- beats --------------------------------------------------------------------------------------------------


@pytest.mark.spec("POOL-13")
def test_an_update_and_a_reconcile_check_take_turns_every_two_and_a_half_seconds() -> None:
    """Update at 2.5 s, reconcile check at 5 s, and so on while there is nothing to do."""
    bench = Bench()

    beats = [beat(bench.state, bench.now + round(after * SECOND)) for after in (2.4, 2.5, 4.9, 5, 7.5, 10)]

    assert [number for number, _ in beats] == [0, 1, 1, 2, 3, 4]
    assert [kind for number, kind in beats if number] == ["update", "update", "resync", "update", "resync"]


@pytest.mark.spec("POOL-13")
def test_the_next_half_begins_when_the_work_has_ended() -> None:
    """2.5 s after the end of an increase the reconcile check, 2.5 s later the next update."""
    lab = Lab(ADDRESSES, latency="realistic").start()
    lab.run(30)
    mark = lab.mark()
    lab.pod("one")
    lab.run(30)
    lab.pod("two")
    lab.run(10)

    (began, again) = acted(lab, "increase", mark)
    (ended, _) = acted(lab, "increased", mark)
    assert ended > began
    assert round(again - ended, 6) % 5 == 0


@pytest.mark.spec("POOL-13", "POOL-21")
def test_pods_that_keep_coming_are_answered_with_one_increase_a_cycle() -> None:
    """Five seconds lie between two increases; each fills one ENI."""
    lab = Lab(ADDRESSES, instance_type="c5.xlarge").start()
    mark = lab.mark()
    for i in range(6):
        lab.pod(f"pod-{i}", 5)

    times = acted(lab, "increase", mark)
    gaps = [round(b - a, 6) for a, b in pairwise(times)]
    assert len(times) == 6 and set(gaps) == {5.0}
    assert [call.secondary_ips for call in lab.calls(AssignPrivateIpAddresses, mark)] == [1] * 6


@pytest.mark.spec("POOL-13", "ENV-9")
def test_with_provisioning_disabled_only_the_reconcile_check_beats() -> None:
    """Every 2.5 s, and the pool asks EC2 for nothing."""
    lab = Lab(msgspec.structs.replace(ADDRESSES, provisioning_disabled=True)).start()
    lab.run(200)

    kinds = {beat(lab.state, lab.now + i * 2_500_000_000)[1] for i in range(1, 5)}
    assert kinds == {"resync"}
    assert [type(call) for call in lab.all_calls()] == [SetUpHost] and len(resynced(lab)) == 4


@pytest.mark.spec("POOL-17", "REC-1")
def test_a_quiet_node_leaves_a_record_a_minute() -> None:
    """The reconcile stamps its clock; nothing else is worth a line."""
    lab = Lab(ADDRESSES).start()
    lab.run(100)
    mark = lab.mark()
    lab.run(600)

    gaps = {round(b - a, 6) for a, b in pairwise(resynced(lab))}
    kinds = {type(event).__name__ for record in lab.records[mark:] for event in record.events}
    assert gaps <= {62.5, 65.0}
    assert kinds == {"Resynced", "WorkMoved", "ReconcileCounted"} and len(lab.records) - mark <= 20


@pytest.mark.spec("POOL-13")
def test_a_late_tick_does_the_latest_beat_only() -> None:
    """A driver that slept through three beats does not make up for them."""
    bench = Bench(ADDRESSES)
    bench.eni("eni-0", 0, primary=True)
    bench.wait(7.6)
    bench.tell(Tick())

    assert len(bench.events(ev.PoolActed)) == 1


@pytest.mark.spec("POOL-13")
def test_the_agenda_always_says_when_to_wake() -> None:
    """An idle node's next beat lies in the future; a node in work has its next step."""
    bench = Bench(ADDRESSES)
    bench.eni("eni-0", 0, primary=True)
    dues = {due.lane: due.at - bench.now for due in agenda(bench.state, bench.now)}
    bench.wait(2.5)
    bench.tell(Tick())

    assert dues["pool"] == round(2.5 * SECOND)
    assert isinstance(bench.state.pool.work, Fill)
    assert [due.at for due in agenda(bench.state, bench.now) if due.lane == "pool"] == [0]


# ---- grow or shrink -----------------------------------------------------------------------------------------


@pytest.mark.spec("POOL-15")
def test_low_wins_over_high_and_is_looked_at_first() -> None:
    """POOL-15 (b, c): from one set of figures; only what is not low may be too high."""
    bench = Bench(Settings(warm_ip_target=2))
    bench.eni("eni-0", 0, "10.0.0.1/32", primary=True)

    events = update(bench.state, bench.now)

    assert isinstance(events[0], ev.PoolActed) and events[0].action == "increase"


@pytest.mark.spec("POOL-16")
def test_what_is_already_spare_is_judged_before_the_increase() -> None:
    """The figures of before decide whether an ENI may be freed after it."""
    tight = Bench(Settings(warm_eni_target=1))
    tight.eni("eni-0", 0, primary=True)
    with_target = Bench(Settings(warm_ip_target=1))
    with_target.eni("eni-0", 0, primary=True)

    works = [event.work for bench in (tight, with_target) for event in update(bench.state, bench.now)[1:]
             if isinstance(event, ev.WorkMoved)]  # fmt: skip

    assert works == [Fill(("eni-0",), 14, "idle"), Fill(("eni-0",), 1, "free")]


@pytest.mark.spec("POOL-15")
def test_after_an_increase_an_eni_may_be_freed_in_the_same_cycle() -> None:
    """Low or not, where ENIs may be spare one is looked for."""
    bench = Bench(Settings(warm_ip_target=2))
    bench.eni("eni-0", 0, "10.0.0.1/32", primary=True)
    bench.eni("eni-1", 1)
    bench.wait(100)
    bench.record(ev.PoolActed("increased"), ev.WorkMoved(Free()))

    bench.tell(Tick())

    assert [event.eni for event in bench.events(ev.EniLeft)] == []
    bench.put("eni-0", "10.0.0.2/32")
    bench.record(ev.WorkMoved(Free()))
    bench.tell(Tick())
    assert [event.eni for event in bench.events(ev.EniLeft)] == ["eni-1"]


@pytest.mark.spec("POOL-15", "POOL-16")
def test_thirty_seconds_lie_between_two_scale_downs() -> None:
    """More than 30 s since the last one was done; the first one is not delayed."""
    lab = Lab(ADDRESSES, instance_type="c5.xlarge").start()
    lab.run(10)
    for i in range(4):
        lab.pod(f"pod-{i}", 5)
    lab.run(10)
    began = lab.clock
    for i in range(4):
        lab.delete(f"pod-{i}", 5)
    lab.run(100)

    times = acted(lab, "decreased")
    assert times[0] - began < 5
    assert all(b - a > 30 for a, b in pairwise(times)) and len(times) == 2


@pytest.mark.spec("POOL-16")
def test_a_restart_with_lower_targets_shrinks_at_the_first_update() -> None:
    """The first decrease after a start waits for nothing."""
    lab = Lab(Settings(warm_ip_target=8, ip_cooldown_period=0), instance_type="c5.xlarge").start()
    lab.run(10)
    lab.restart(settings=ADDRESSES)
    ready = lab.clock
    mark = lab.mark()
    lab.run(3)

    assert acted(lab, "decreased", mark) == [ready + 2.5]
    assert lab.shape() == [(1, 0)]


@pytest.mark.spec("POOL-15", "POOL-17")
def test_both_clocks_are_stamped_when_the_decrease_is_done() -> None:
    """POOL-15 (e), POOL-17: lastDecrease and lastPoolAction are the end of the cycle that shrank."""
    lab = Lab(ADDRESSES, latency="realistic").start()
    lab.run(30)
    lab.pod("one", 30)
    lab.delete("one", 30)

    (record,) = [r for r in lab.records for e in r.events if isinstance(e, ev.PoolActed) and e.action == "decreased"]
    assert lab.state.last_decrease == record.at == lab.state.last_pool_action


@pytest.mark.spec("POOL-17")
def test_an_increase_stamps_the_clock_of_the_reconcile_only() -> None:
    """LastPoolAction moves, lastDecrease does not; a reconcile stamps it too."""
    lab = Lab(ADDRESSES).start()
    lab.run(10)
    lab.pod("one", 5)
    (increased,) = [round(t * SECOND) for t in acted(lab, "increased")[1:]]
    after_increase = lab.state.last_pool_action
    lab.run(70)

    assert after_increase - lab.records[0].at == increased
    assert lab.state.last_decrease == 0
    assert lab.state.last_pool_action > after_increase and resynced(lab)


# ---- what holds it back -------------------------------------------------------------------------------------


@pytest.mark.spec("POOL-18", "POOL-33", "POOL-36", "RPC-8")
def test_a_terminating_daemon_neither_grows_nor_frees_an_eni_but_may_shrink() -> None:
    """No ENI or address is attached or freed; scale-down goes on."""
    lab = Lab(ADDRESSES, instance_type="c5.xlarge").start()
    lab.run(10)
    lab.pods(3, 5)
    lab.engine.submit(Terminate())
    lab.engine.submit(Terminate())
    mark = lab.mark()
    lab.pod("last")
    lab.run(60)
    grown = lab.calls(AssignPrivateIpAddresses, mark)
    for i in range(3):
        lab.delete(f"pod-{i}")
    lab.run(60)

    assert len(lab.events(ev.Terminating)) == 1
    assert grown == [] and not lab.calls(CreateNetworkInterface, mark)
    assert lab.calls(UnassignPrivateIpAddresses, mark)


@pytest.mark.spec("POOL-36")
def test_a_terminating_daemon_frees_no_eni() -> None:
    """An ENI that could go stays."""
    bench = Bench(Settings(warm_ip_target=0, minimum_ip_target=1))
    bench.eni("eni-0", 0, "10.0.0.1/32", primary=True)
    bench.eni("eni-1", 1)
    bench.wait(61)
    bench.tell(Terminate())
    bench.tell(Tick())

    assert list(bench.state.enis) == ["eni-0", "eni-1"]


@pytest.mark.spec("POOL-18", "POOL-28", "TV-43")
def test_an_exhausted_subnet_pauses_growth_for_two_minutes() -> None:
    """No request within 120 s, the last instant included; then the pool tries again."""
    lab = Lab(msgspec.structs.replace(ADDRESSES, subnet_discovery=False)).start()
    lab.run(10)
    lab.vpc.faults.fail_next("AssignPrivateIpAddresses", "InsufficientFreeAddressesInSubnet", times=2)
    mark = lab.mark()
    lab.pod("one")
    lab.run(300)

    (exhausted,) = lab.times(lambda event: isinstance(event, ev.SubnetExhausted))
    (first, again) = acted(lab, "increase", mark)
    assert exhausted == first
    assert 120 < again - exhausted <= 125
    assert lab.quiet() and lab.leaks() == []


@pytest.mark.spec("POOL-21", "POOL-38")
def test_nothing_is_started_where_nothing_can_grow() -> None:
    """Low, no slot, no room for an ENI: the loop says nothing and asks nothing."""
    lab = Lab(Settings(warm_ip_target=1, max_eni=1), instance_type="t3.small").start()
    lab.run(10)
    lab.pods(3, 10)
    mark = lab.mark()
    lab.run(50)

    assert lab.shape() == [(3, 3)]
    assert plan(lab.state, lab.now).why[0].low
    assert not lab.events(ev.PoolActed, mark) and not lab.all_calls(mark)
    assert lab.refused("more").reason == "eni_limit"
