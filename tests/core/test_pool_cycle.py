"""The pool loop in virtual time: its beats and pauses, when it grows and when it shrinks (POOL-13..21, POOL-31..34)."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    CreateNetworkInterface,
    DetachNetworkInterface,
    SetUpHost,
    UnassignPrivateIpAddresses,
)
from ipamd.core.commands import Terminate, Tick
from ipamd.core.plan import agenda, beat, plan, update
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND
from ipamd.core.work import Fill, Free, Grow, Trim

from .world import Bench, Lab

ADDRESSES = Settings(warm_ip_target=1, ip_cooldown_period=0)
PREFIXES = Settings(prefix_delegation=True, warm_prefix_target=1)


def acted(lab: Lab, action: str, since: int = 0) -> list[float]:
    """Seconds at which the pool did this."""
    return lab.times(lambda event: isinstance(event, ev.PoolActed) and event.action == action, since)


def resynced(lab: Lab, since: int = 0) -> list[float]:
    return lab.times(lambda event: isinstance(event, ev.Resynced), since)


# ---- beats --------------------------------------------------------------------------------------------------


def test_an_update_and_a_reconcile_check_take_turns_every_two_and_a_half_seconds() -> None:
    """POOL-13: update at 2.5 s, reconcile check at 5 s, and so on while there is nothing to do."""
    bench = Bench()

    beats = [beat(bench.state, bench.now + round(after * SECOND)) for after in (2.4, 2.5, 4.9, 5, 7.5, 10)]

    assert [number for number, _ in beats] == [0, 1, 1, 2, 3, 4]
    assert [kind for number, kind in beats if number] == ["update", "update", "resync", "update", "resync"]


def test_the_next_half_begins_when_the_work_has_ended() -> None:
    """POOL-13: 2.5 s after the end of an increase the reconcile check, 2.5 s later the next update."""
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


def test_pods_that_keep_coming_are_answered_with_one_increase_a_cycle() -> None:
    """POOL-13, POOL-21: five seconds lie between two increases; each fills one ENI."""
    lab = Lab(ADDRESSES, instance_type="c5.xlarge").start()
    mark = lab.mark()
    for i in range(6):
        lab.pod(f"pod-{i}", 5)

    times = acted(lab, "increase", mark)
    gaps = [round(b - a, 6) for a, b in pairwise(times)]
    assert len(times) == 6 and set(gaps) == {5.0}
    assert [call.secondary_ips for call in lab.calls(AssignPrivateIpAddresses, mark)] == [1] * 6


def test_with_provisioning_disabled_only_the_reconcile_check_beats() -> None:
    """POOL-13, ENV-9: every 2.5 s, and the pool asks EC2 for nothing."""
    lab = Lab(msgspec.structs.replace(ADDRESSES, provisioning_disabled=True)).start()
    lab.run(200)

    kinds = {beat(lab.state, lab.now + i * 2_500_000_000)[1] for i in range(1, 5)}
    assert kinds == {"resync"}
    assert [type(call) for call in lab.all_calls()] == [SetUpHost] and len(resynced(lab)) == 4


def test_a_quiet_node_leaves_a_record_a_minute() -> None:
    """POOL-17, REC-1: the reconcile stamps its clock; nothing else is worth a line."""
    lab = Lab(ADDRESSES).start()
    lab.run(100)
    mark = lab.mark()
    lab.run(600)

    gaps = {round(b - a, 6) for a, b in pairwise(resynced(lab))}
    kinds = {type(event).__name__ for record in lab.records[mark:] for event in record.events}
    assert gaps <= {62.5, 65.0}
    assert kinds == {"Resynced", "WorkMoved", "ReconcileCounted"} and len(lab.records) - mark <= 20


def test_a_late_tick_does_the_latest_beat_only() -> None:
    """POOL-13: a driver that slept through three beats does not make up for them."""
    bench = Bench(ADDRESSES)
    bench.eni("eni-0", 0, primary=True)
    bench.wait(7.6)
    bench.tell(Tick())

    assert len(bench.events(ev.PoolActed)) == 1


def test_the_agenda_always_says_when_to_wake() -> None:
    """POOL-13: an idle node's next beat lies in the future; a node in work has its next step."""
    bench = Bench(ADDRESSES)
    bench.eni("eni-0", 0, primary=True)
    dues = {due.lane: due.at - bench.now for due in agenda(bench.state, bench.now)}
    bench.wait(2.5)
    bench.tell(Tick())

    assert dues["pool"] == round(2.5 * SECOND)
    assert isinstance(bench.state.pool.work, Fill)
    assert [due.at for due in agenda(bench.state, bench.now) if due.lane == "pool"] == [0]


# ---- grow or shrink -----------------------------------------------------------------------------------------


def test_low_wins_over_high_and_is_looked_at_first() -> None:
    """POOL-15 (b, c): from one set of figures; only what is not low may be too high."""
    bench = Bench(Settings(warm_ip_target=2))
    bench.eni("eni-0", 0, "10.0.0.1/32", primary=True)

    events = update(bench.state, bench.now)

    assert isinstance(events[0], ev.PoolActed) and events[0].action == "increase"


def test_what_is_already_spare_is_judged_before_the_increase() -> None:
    """POOL-16: the figures of before decide whether an ENI may be freed after it."""
    tight = Bench(Settings(warm_eni_target=1))
    tight.eni("eni-0", 0, primary=True)
    with_target = Bench(Settings(warm_ip_target=1))
    with_target.eni("eni-0", 0, primary=True)

    works = [event.work for bench in (tight, with_target) for event in update(bench.state, bench.now)[1:]
             if isinstance(event, ev.WorkMoved)]  # fmt: skip

    assert works == [Fill(("eni-0",), 14, "idle"), Fill(("eni-0",), 1, "free")]


def test_after_an_increase_an_eni_may_be_freed_in_the_same_cycle() -> None:
    """POOL-15 (d): low or not, where ENIs may be spare one is looked for."""
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


def test_thirty_seconds_lie_between_two_scale_downs() -> None:
    """POOL-15 (c): more than 30 s since the last one was done; the first one is not delayed (POOL-16)."""
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


def test_a_restart_with_lower_targets_shrinks_at_the_first_update() -> None:
    """POOL-16: the first decrease after a start waits for nothing."""
    lab = Lab(Settings(warm_ip_target=8, ip_cooldown_period=0), instance_type="c5.xlarge").start()
    lab.run(10)
    lab.restart(settings=ADDRESSES)
    ready = lab.clock
    mark = lab.mark()
    lab.run(3)

    assert acted(lab, "decreased", mark) == [ready + 2.5]
    assert lab.shape() == [(1, 0)]


def test_both_clocks_are_stamped_when_the_decrease_is_done() -> None:
    """POOL-15 (e), POOL-17: lastDecrease and lastPoolAction are the end of the cycle that shrank."""
    lab = Lab(ADDRESSES, latency="realistic").start()
    lab.run(30)
    lab.pod("one", 30)
    lab.delete("one", 30)

    (record,) = [r for r in lab.records for e in r.events if isinstance(e, ev.PoolActed) and e.action == "decreased"]
    assert lab.state.last_decrease == record.at == lab.state.last_pool_action


def test_an_increase_stamps_the_clock_of_the_reconcile_only() -> None:
    """POOL-17: lastPoolAction moves, lastDecrease does not; a reconcile stamps it too."""
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


def test_a_terminating_daemon_neither_grows_nor_frees_an_eni_but_may_shrink() -> None:
    """POOL-18, POOL-33, POOL-36, RPC-8: no ENI or address is attached or freed; scale-down goes on."""
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


def test_a_terminating_daemon_frees_no_eni() -> None:
    """POOL-36: an ENI that could go stays."""
    bench = Bench(Settings(warm_ip_target=0, minimum_ip_target=1))
    bench.eni("eni-0", 0, "10.0.0.1/32", primary=True)
    bench.eni("eni-1", 1)
    bench.wait(61)
    bench.tell(Terminate())
    bench.tell(Tick())

    assert list(bench.state.enis) == ["eni-0", "eni-1"]


def test_an_exhausted_subnet_pauses_growth_for_two_minutes() -> None:
    """POOL-18, POOL-28, TV-43: no request within 120 s, the last instant included; then the pool tries again."""
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


def test_nothing_is_started_where_nothing_can_grow() -> None:
    """POOL-21, POOL-38: low, no slot, no room for an ENI: the loop says nothing and asks nothing."""
    lab = Lab(Settings(warm_ip_target=1, max_eni=1), instance_type="t3.small").start()
    lab.run(10)
    lab.pods(3, 10)
    mark = lab.mark()
    lab.run(50)

    assert lab.shape() == [(3, 3)]
    assert plan(lab.state, lab.now).why[0].low
    assert not lab.events(ev.PoolActed, mark) and not lab.all_calls(mark)
    assert lab.refused("more").reason == "eni_limit"


# ---- giving blocks back -------------------------------------------------------------------------------------


def test_blocks_leave_the_store_before_ec2_is_asked() -> None:
    """POOL-31, POOL-32: and each is held from being learnt again for 60 s."""
    bench = Bench(ADDRESSES)
    bench.eni("eni-0", 0, "10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32", primary=True)
    bench.wait(2.5)
    bench.tell(Tick())

    work = bench.state.pool.work
    assert isinstance(work, Trim)
    assert work.calls == (UnassignPrivateIpAddresses("eni-0", addresses=("10.0.0.1", "10.0.0.2")),)
    assert bench.cidrs("eni-0") == ["10.0.0.3/32"]
    assert bench.state.held == {f"10.0.0.{i}/32": bench.now + 60 * SECOND for i in (1, 2)}
    assert not bench.state.calls


def test_one_scale_down_walks_several_enis_and_stops_at_what_is_over() -> None:
    """POOL-34, POOL-31: a round for each ENI that yields something and for no other; the last device first."""
    bench = Bench(Settings(warm_ip_target=1, ip_cooldown_period=0))
    bench.eni("eni-0", 0, "10.0.0.1/32", primary=True)
    bench.eni("eni-1", 1, "10.0.1.1/32", "10.0.1.2/32", trunk=True)
    bench.eni("eni-2", 2, "10.0.2.1/32")
    bench.eni("eni-3", 3, "10.0.3.1/32", "10.0.3.2/32")
    bench.granted("one")
    bench.wait(2.5)

    over = bench.balance.over
    bench.tell(Tick())

    work = bench.state.pool.work
    assert isinstance(work, Trim) and over == 4
    assert [(call.eni, call.addresses) for call in work.calls if isinstance(call, UnassignPrivateIpAddresses)] == [
        ("eni-3", ("10.0.3.1", "10.0.3.2")), ("eni-2", ("10.0.2.1",)), ("eni-1", ("10.0.1.1",)),
    ]  # fmt: skip


def test_a_block_that_cools_is_not_given_back_yet() -> None:
    """POOL-31: ours waits until its addresses have cooled, since EC2 would hand them to another node."""
    lab = Lab(Settings(warm_ip_target=1)).start()
    lab.run(10)
    lab.pod("one", 10)
    lab.delete("one", 29)
    early = lab.calls(UnassignPrivateIpAddresses)
    lab.run(10)

    assert early == []
    assert len(lab.calls(UnassignPrivateIpAddresses)) == 1
    assert lab.shape() == [(1, 0)]


def test_prefixes_and_addresses_go_in_two_calls() -> None:
    """POOL-32, EC2-21: prefixes first, then the leftover addresses of the same ENI."""
    bench = Bench(PREFIXES)
    bench.eni("eni-0", 0, "10.0.1.1/32", "10.0.0.0/28", "10.0.0.16/28", "10.0.0.32/28", primary=True)
    bench.wait(2.5)
    bench.tell(Tick())

    work = bench.state.pool.work
    assert isinstance(work, Trim)
    assert work.calls == (
        UnassignPrivateIpAddresses("eni-0", prefixes=("10.0.0.0/28",)),
        UnassignPrivateIpAddresses("eni-0", addresses=("10.0.1.1",)),
    )


@pytest.mark.parametrize("lost", [False, True])
def test_a_failed_unassign_is_logged_and_found_again_by_the_reconcile(lost: bool) -> None:
    """POOL-32: the store is ahead; EC2 still has the block, so after its hold it is learnt and given back again."""
    lab = Lab(ADDRESSES).start()
    lab.run(10)
    lab.pod("one", 10)
    if lost:
        lab.vpc.faults.lose_next("UnassignPrivateIpAddresses", effect=False)
    else:
        lab.vpc.faults.fail_next("UnassignPrivateIpAddresses", "InternalError")
    lab.delete("one", 10)
    ahead = lab.leaks()
    lab.run(300)

    assert len(ahead) == 1 and "in EC2 alone" in ahead[0]
    assert lab.leaks() == [] and lab.quiet()
    assert lab.counted() == []


def test_whole_enis_go_where_addresses_are_not_trimmed() -> None:
    """POOL-11, POOL-36: with WARM_ENI_TARGET alone no address is unassigned; the spare ENI goes once it is old."""
    lab = Lab(Settings(warm_eni_target=1, ip_cooldown_period=0)).start()
    lab.run(10)
    lab.pods(4, 10)
    three = len(lab.state.enis)
    for i in range(4):
        lab.delete(f"pod-{i}")
    lab.run(300)

    assert three == 3
    assert not lab.calls(UnassignPrivateIpAddresses) and len(lab.calls(DetachNetworkInterface)) == 2
    assert lab.shape() == [(3, 0)] and lab.leaks() == []


def test_growth_asks_existing_enis_first() -> None:
    """POOL-21: a new ENI only where no ENI has a slot left."""
    lab = Lab(ADDRESSES).start()
    lab.run(10)
    before = lab.calls(CreateNetworkInterface)
    lab.pods(3, 10)

    assert before == [] and len(lab.calls(AssignPrivateIpAddresses)) == 3
    assert len(lab.calls(CreateNetworkInterface)) == 1 and lab.shape() == [(3, 3), (1, 0)]
    assert [type(event.work) for event in lab.events(ev.WorkMoved) if isinstance(event.work, Grow)]
