"""Freeing an ENI: describe, detach, delete, rules; what each failure leads to (POOL-36, POOL-37, EC2-22..EC2-25)."""

from __future__ import annotations

import pytest

from ipamd.core import events as ev
from ipamd.core.calls import (
    ENI_NOT_FOUND,
    DeleteNetworkInterface,
    DescribeNetworkInterfaces,
    DetachNetworkInterface,
    EnisView,
    Failed,
    Outcome,
    Succeeded,
    TearDownEni,
)
from ipamd.core.commands import Observed
from ipamd.core.plan import agenda
from ipamd.core.settings import Settings
from ipamd.core.types import SECOND
from ipamd.core.work import Shed
from ipamd.ec2.vpc import apply

from .world import Bench, Lab

SINGLE = Settings(warm_ip_target=1, ip_cooldown_period=0)
DESCRIBE, DETACH, DELETE = "DescribeNetworkInterfaces", "DetachNetworkInterface", "DeleteNetworkInterface"


def spare() -> Lab:
    """A t3.small whose second ENI is empty and may be freed at the next update, once it is 60 s old."""
    lab = Lab(SINGLE).start().run(10)
    lab.pods(3, 10)
    lab.delete("pod-2")
    lab.until(lambda: all(not eni.blocks for eni in lab.state.enis.values() if not eni.primary))
    assert len(lab.state.enis) == 2
    return lab


def freed(lab: Lab, seconds: float = 10) -> int:
    """Let the ENI leave its store, and so much time more; where the records of it begin."""
    lab.until(lambda: len(lab.state.enis) == 1)
    mark = lab.mark() - 1
    lab.run(seconds)
    return mark


def sequence(lab: Lab, since: int) -> list[str]:
    return [type(call).__name__ for call in lab.all_calls(since)]


@pytest.mark.spec("POOL-36", "POOL-37", "EC2-22")
def test_a_spare_eni_leaves_the_store_before_ec2_is_asked() -> None:
    """Out of the store, described, detached, deleted 2 s later, its rules removed."""
    lab = spare()
    (eni,) = lab.others
    address = lab.state.enis[eni].primary_ip
    mark = freed(lab)

    (left,) = lab.times(lambda e: isinstance(e, ev.EniLeft), mark)
    (detached,) = lab.times(lambda e: isinstance(e, ev.CallStarted) and isinstance(e.call, DetachNetworkInterface))
    (deleted,) = lab.times(lambda e: isinstance(e, ev.CallStarted) and isinstance(e.call, DeleteNetworkInterface))
    assert sequence(lab, mark) == [DETACH, DELETE, "TearDownEni"]
    assert left <= detached and deleted - detached == 2
    assert lab.calls(TearDownEni, mark) == [TearDownEni(eni, address)]
    assert lab.leaks() == [] and lab.counted() == [] and lab.quiet()


@pytest.mark.spec("POOL-36", "DM-36")
def test_an_eni_is_freed_at_sixty_seconds_and_one_in_a_cycle() -> None:
    """Not before its time; of two spare ones the second follows in the next cycle."""
    lab = Lab(SINGLE).start().run(10)
    lab.pods(7, 10)
    for i in range(2, 7):
        lab.delete(f"pod-{i}")
    lab.run(300)

    ready = {e.eni: r.at for r in lab.records for e in r.events if isinstance(e, ev.EniReady)}
    left = {e.eni: r.at for r in lab.records for e in r.events if isinstance(e, ev.EniLeft)}
    assert len(left) == 2 and all(at - ready[eni] >= 60 * SECOND for eni, at in left.items())
    assert max(left.values()) - min(left.values()) >= 5 * SECOND
    assert lab.leaks() == [] and len(lab.vpc.enis) == 1


@pytest.mark.spec("EC2-22")
def test_an_eni_that_ec2_does_not_know_is_freed_already() -> None:
    """Not found at the describe: only the rules are left to remove."""
    lab = spare()
    lab.vpc.faults.fail_next(DESCRIBE, ENI_NOT_FOUND, "The networkInterface ID 'x' does not exist")
    mark = freed(lab)

    assert sequence(lab, mark) == ["TearDownEni"]
    assert lab.counted(mark) == []


@pytest.mark.spec("EC2-22", "POOL-37")
def test_an_eni_that_cannot_be_described_is_left_to_the_reconcile() -> None:
    """Counted twice, no rule goes; still attached, it is adopted again and freed later."""
    lab = spare()
    lab.vpc.faults.fail_next(DESCRIBE, "InternalError", "no")
    mark = freed(lab, 1)
    first = (sequence(lab, mark), lab.counted(mark))
    lab.run(300)

    assert first == ([], ["getENIAttachmentIDFailed", "decreaseIPPoolFreeENIFailed"])
    assert [event.counter for event in lab.events(ev.ErrorCounted, mark)][:2] == ["aws_utils", "ipamd"]
    assert lab.leaks() == [] and lab.quiet() and len(lab.vpc.enis) == 1


@pytest.mark.spec("EC2-22", "POOL-37")
def test_an_eni_that_cannot_be_detached_is_left_to_the_reconcile() -> None:
    """After twelve tries; no delete, no rules; it is adopted again and freed later."""
    lab = spare()
    lab.vpc.faults.fail_next(DETACH, "InternalError", times=12)
    mark = freed(lab)
    lab.until(lambda: bool(lab.counted(mark)))
    (event,) = [event for event in lab.events(ev.ErrorCounted, mark) if event.counter]
    first = sequence(lab, mark)
    lab.run(300)

    assert first == [DETACH] * 12
    assert (event.fn, event.message) == (
        "decreaseIPPoolFreeENIFailed", "unable to detach ENI from EC2 instance, giving up",
    )  # fmt: skip
    assert lab.leaks() == [] and lab.quiet() and len(lab.vpc.enis) == 1


@pytest.mark.spec("EC2-24", "POOL-37", "TV-74")
def test_an_eni_that_cannot_be_deleted_still_loses_its_rules() -> None:
    """Twelve tries, counted twice, then the rules go all the same."""
    lab = spare()
    lab.vpc.faults.fail_next(DELETE, "InternalError", times=12)
    mark = freed(lab, 400)

    assert sequence(lab, mark) == [DETACH] + [DELETE] * 12 + ["TearDownEni"]
    assert lab.counted(mark) == ["FreeENIDeleteErr", "decreaseIPPoolFreeENIFailed"]


@pytest.mark.spec("EC2-24")
def test_an_undeleted_eni_is_deleted_at_the_next_start() -> None:
    """It hangs on nothing and no store has it, but it is not forgotten."""
    lab = spare()
    lab.vpc.faults.fail_next(DELETE, "InternalError", times=12)
    freed(lab, 400)
    before = len(lab.vpc.enis)
    lab.restart().run(10)

    assert (before, len(lab.vpc.enis)) == (2, 1)
    assert lab.leaks() == []


@pytest.mark.spec("EC2-24", "TV-74")
@pytest.mark.parametrize("failures", [1, 11])
def test_a_delete_that_succeeds_at_last_is_a_success(failures: int) -> None:
    """Nothing is counted."""
    lab = spare()
    lab.vpc.faults.fail_next(DELETE, "InvalidParameterValue", "in use", times=failures)
    mark = freed(lab, 400)

    assert len(lab.calls(DeleteNetworkInterface, mark)) == failures + 1
    assert lab.counted(mark) == [] and lab.leaks() == []


@pytest.mark.spec("EC2-24")
def test_deleting_what_is_gone_is_a_success() -> None:
    """InvalidNetworkInterfaceID.NotFound."""
    lab = spare()
    lab.vpc.faults.fail_next(DELETE, ENI_NOT_FOUND)
    mark = freed(lab, 4)

    assert sequence(lab, mark) == [DETACH, DELETE, "TearDownEni"]
    assert lab.counted(mark) == []


@pytest.mark.spec("EC2-22", "EC2-24")
@pytest.mark.parametrize("effect", [True, False])
@pytest.mark.parametrize("action", [DETACH, DELETE])
def test_a_call_without_answer_is_repeated(action: str, effect: bool) -> None:
    """A repeat that finds it done is done; nothing is counted, nothing leaks."""
    lab = spare()
    lab.vpc.faults.lose_next(action, effect=effect)
    mark = freed(lab, 60)

    assert len([name for name in sequence(lab, mark) if name == action]) == 2
    assert lab.counted(mark) == [] and lab.leaks() == [] and len(lab.vpc.enis) == 1


@pytest.mark.spec("EC2-22")
def test_an_eni_without_attachment_is_detached_in_vain() -> None:
    """No attachment to name: the detach is tried without one, cannot succeed, and ends in giving up."""
    lab = spare()
    (eni,) = lab.others
    lab.until(lambda: eni not in lab.state.enis)
    apply(lab.vpc, DetachNetworkInterface(eni, lab.vpc.enis[eni].attachment), lab.now)
    mark = lab.mark()
    lab.until(lambda: bool(lab.counted(mark)))

    assert {call.attachment for call in lab.calls(DetachNetworkInterface, mark)} == {""}
    assert lab.counted(mark) == ["decreaseIPPoolFreeENIFailed"]


@pytest.mark.spec("POOL-37")
def test_rules_that_cannot_be_deleted_are_counted() -> None:
    """And the ENI is forgotten in any case."""
    lab = spare()
    answers: list[Outcome] = [Failed("", "no such rule table")]
    lab.engine._host = lambda call: answers.pop() if isinstance(call, TearDownEni) and answers else Succeeded()
    mark = freed(lab)

    assert lab.counted(mark) == ["freeENIDeleteRulesFailed"]
    assert lab.leaks() == [] and lab.quiet()


@pytest.mark.spec("EC2-25", "EC2-22")
def test_an_empty_answer_counts_as_not_found() -> None:
    """EC2 lists no ENI at all."""
    bench = Bench()
    bench.record(ev.WorkMoved(Shed("eni-1", "10.0.0.9")))

    bench.tell(Observed(DescribeNetworkInterfaces(("eni-1",)), EnisView(())))

    assert bench.state.pool.work == Shed("eni-1", "10.0.0.9", "rules")


@pytest.mark.spec("POOL-36")
def test_pods_are_served_while_an_eni_is_being_freed() -> None:
    """The pool lane is busy for seconds; ADD and DEL do not wait for it."""
    lab = spare()
    lab.vpc.faults.fail_next(DETACH, "InternalError", times=6)
    freed(lab, 1)
    busy = isinstance(lab.state.pool.work, Shed)
    granted = lab.pod("meanwhile")
    lab.delete("meanwhile")

    assert busy and granted.eni == lab.primary
    assert [due.lane for due in agenda(lab.state, lab.now)].count("pool") == 1
