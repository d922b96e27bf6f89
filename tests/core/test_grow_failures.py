"""What each failure of a growing ENI leads to, and what no answer leads to: nothing leaks (EC2-5..EC2-14, POOL-30)."""

from __future__ import annotations

import msgspec
import pytest

from ipamd.core import events as ev
from ipamd.core.calls import (
    Attachment,
    AttachmentsView,
    AttachNetworkInterface,
    CreateNetworkInterface,
    DeleteNetworkInterface,
    DescribeInstances,
    DetachNetworkInterface,
    Failed,
    MetadataView,
    ModifyNetworkInterfaceAttribute,
    Outcome,
    SetUpEni,
    Succeeded,
)
from ipamd.core.commands import Observed
from ipamd.core.settings import Settings
from ipamd.core.steps import DELETE_BACKOFF, DETACH_BACKOFF, WAIT_BACKOFF, Backoff
from ipamd.core.types import SECOND
from ipamd.core.work import Grow
from ipamd.ec2.faults import ALWAYS

from .test_grow import full, grown
from .world import Bench, Lab, without

CREATE, ATTACH = "CreateNetworkInterface", "AttachNetworkInterface"
MODIFY, DELETE, DETACH = "ModifyNetworkInterfaceAttribute", "DeleteNetworkInterface", "DetachNetworkInterface"


def errors(lab: Lab, since: int) -> list[tuple[str, str]]:
    """Counted failures with their texts."""
    return [(event.fn, event.message) for event in lab.events(ev.ErrorCounted, since) if event.counter]


def names(lab: Lab, since: int) -> list[str]:
    return [type(call).__name__ for call in lab.all_calls(since)]


def hide_new(lab: Lab, times: int = ALWAYS) -> None:
    """Instance metadata shows no further ENI, for so many reads."""
    known = set(lab.state.enis)
    lab.vpc.faults.metadata_shows(
        lambda view: without(view, *(shown.eni for shown in view.enis if shown.eni not in known)), times
    )


# ---- a free device index ------------------------------------------------------------------------------------


def indexed(*attachments: Attachment) -> Grow | None:
    """What becomes of an ENI whose instance shows these attachments."""
    bench = Bench()
    bench.eni("eni-0", 0, primary=True)
    bench.record(
        ev.EniCreated("eni-new", "10.0.0.9", "subnet-1", "t"),
        ev.WorkMoved(Grow(1, "idle", step="index", eni="eni-new")),
    )
    bench.tell(Observed(DescribeInstances(), AttachmentsView(attachments)))
    work = bench.state.pool.work
    assert work is None or isinstance(work, Grow)
    return work


@pytest.mark.spec("EC2-5", "EC2-6", "TV-70")
@pytest.mark.parametrize(
    ("taken", "index"), [((0, 3), 1), ((0, 1, 2), 3), ((0,), 1), ((0, 1, 100), 2), ((*range(99), 250), 99)]
)
def test_the_smallest_free_index_is_taken(taken: tuple[int, ...], index: int) -> None:
    """0..99 are searched; an attachment at 100 or above is no obstacle and no crash."""
    work = indexed(*(Attachment(f"eni-{device}", device) for device in taken))

    assert work is not None and (work.step, work.device) == ("attach", index)


@pytest.mark.spec("EC2-5")
def test_attachments_on_another_card_take_no_index() -> None:
    """Only the target card's count."""
    work = indexed(Attachment("eni-0", 0), Attachment("eni-x", 1, card=1))

    assert work is not None and work.device == 1


@pytest.mark.spec("EC2-5", "EC2-8", "TV-70")
def test_without_a_free_index_the_new_eni_is_deleted() -> None:
    """All of 0..99 taken."""
    work = indexed(*(Attachment(f"eni-{device}", device) for device in range(100)))

    assert work is not None and work.step == "undo_delete"
    assert "no free device index" in work.error


@pytest.mark.spec("EC2-8")
def test_without_describe_instances_the_new_eni_is_deleted() -> None:
    """A failing index search is like a failing attach."""
    lab = full()
    lab.vpc.faults.fail_next("DescribeInstances", "UnauthorizedOperation", "no")
    mark = grown(lab, 3)

    assert names(lab, mark) == [CREATE, DELETE]
    assert errors(lab, mark) == [("increaseIPPoolAllocENI", "UnauthorizedOperation: DescribeInstances: no")]
    assert lab.leaks() == [] and not lab.state.pending


# ---- attach, modify -----------------------------------------------------------------------------------------


@pytest.mark.spec("EC2-7", "EC2-8", "TV-71")
def test_an_eni_that_cannot_be_attached_is_deleted() -> None:
    """One try; the attach error is what is reported; the next cycle starts over."""
    lab = full()
    lab.vpc.faults.fail_next(ATTACH, "AttachmentLimitExceeded", "too many")
    mark = grown(lab, 3)
    first, first_errors, leaks = names(lab, mark), errors(lab, mark), lab.leaks()
    lab.run(10)

    assert first == [CREATE, ATTACH, DELETE]
    assert first_errors == [("increaseIPPoolAllocENI", "AttachmentLimitExceeded: AttachNetworkInterface: too many")]
    assert leaks == [] and not lab.state.pending
    assert lab.shape() == [(3, 3), (1, 0)]


@pytest.mark.spec("EC2-8", "EC2-24")
def test_an_eni_that_cannot_be_deleted_is_given_up_after_twelve_tries() -> None:
    """The clean-up's failure is counted on its own; the attach error still counts."""
    lab = full()
    lab.vpc.faults.fail_next(ATTACH, "AttachmentLimitExceeded", "too many")
    lab.vpc.faults.fail_next(DELETE, "InternalError", times=12)
    mark = grown(lab, 600)

    assert len(lab.calls(DeleteNetworkInterface, mark)) == 12
    assert [fn for fn, _ in errors(lab, mark)] == ["AllocENIDeleteErr", "increaseIPPoolAllocENI"]
    assert lab.shape() == [(3, 3), (1, 0)] and lab.quiet()


@pytest.mark.spec("EC2-9")
def test_an_eni_that_would_outlive_its_instance_is_taken_back() -> None:
    """No delete-on-termination: detached, deleted after 2 s, and it is the modify error that is reported."""
    lab = full()
    lab.vpc.faults.fail_next(MODIFY, "UnauthorizedOperation", "not allowed")
    mark = grown(lab, 4.9)

    (detached,) = lab.times(lambda e: isinstance(e, ev.CallStarted) and isinstance(e.call, DetachNetworkInterface))
    (deleted,) = lab.times(lambda e: isinstance(e, ev.CallStarted) and isinstance(e.call, DeleteNetworkInterface))
    assert names(lab, mark)[:5] == [CREATE, ATTACH, MODIFY, DETACH, DELETE]
    assert deleted - detached == 2
    text = "UnauthorizedOperation: ModifyNetworkInterfaceAttribute: not allowed"
    assert errors(lab, mark) == [("increaseIPPoolAllocENI", text)]
    assert lab.leaks() == [] and not lab.state.pending


@pytest.mark.spec("EC2-9")
def test_a_failing_clean_up_after_modify_is_counted() -> None:
    """Twelve tries of detach, then ENICleanupUponModifyNetworkErr; still attached, it is adopted later."""
    lab = full()
    lab.vpc.faults.fail_next(MODIFY, "UnauthorizedOperation", "not allowed")
    lab.vpc.faults.fail_next(DETACH, "InternalError", times=12)
    mark = grown(lab, 400)

    assert len(lab.calls(DetachNetworkInterface, mark)) == 12
    assert [fn for fn, _ in errors(lab, mark)][:2] == ["ENICleanupUponModifyNetworkErr", "increaseIPPoolAllocENI"]
    lab.run(200)
    assert lab.leaks() == [] and lab.quiet()


@pytest.mark.spec("EC2-8")
def test_the_code_of_the_failure_becomes_the_reason_of_refusals() -> None:
    """A pod refused meanwhile is told that a permission is missing, wherever in the sequence it was."""
    lab = full()
    lab.pod("last")
    lab.vpc.faults.fail_next(ATTACH, "UnauthorizedOperation")
    lab.run(3)

    assert lab.refused("one").reason == "permission"


# ---- waiting for metadata -----------------------------------------------------------------------------------


@pytest.mark.spec("EC2-14")
def test_the_wait_goes_on_until_metadata_shows_the_eni() -> None:
    """As often as it takes within twelve tries, ever longer apart."""
    lab = full()
    hide_new(lab, 5)
    mark = grown(lab, 10)

    (attached,) = lab.times(lambda e: isinstance(e, ev.EniAttached), mark)
    (ready,) = lab.times(lambda e: isinstance(e, ev.EniReady), mark)
    assert 3.1 <= ready - attached <= 3.1 * 1.15
    assert lab.leaks() == []


@pytest.mark.spec("EC2-14", "POOL-30", "REC-6")
def test_after_twelve_tries_the_eni_is_left_to_the_reconcile() -> None:
    """Counted, left attached, adopted by a later reconcile with what it holds."""
    lab = full()
    hide_new(lab)
    mark = lab.mark()
    lab.pod("new")
    lab.until(lambda: bool(lab.counted(mark)))
    counted, waited = lab.counted(mark), lab.clock - lab.times(lambda e: isinstance(e, ev.EniAttached), mark)[0]
    lab.vpc.faults.clear()
    lab.run(200)

    assert counted == ["increaseIPPoolwaitENIAttachedFailed"]
    assert 162.3 <= waited <= 162.3 * 1.15
    assert len(lab.state.enis) == 2 and lab.leaks() == [] and lab.quiet()


@pytest.mark.spec("EC2-14", "EC2-22", "EC2-24")
@pytest.mark.parametrize(
    ("backoff", "seconds"), [(WAIT_BACKOFF, 162.3), (DETACH_BACKOFF, 222.2), (DELETE_BACKOFF, 303.5)]
)
def test_twelve_tries_take_their_time(backoff: Backoff, seconds: float) -> None:
    """Min(start * 2^(k-1), 60 s) between tries, and up to 15 % more."""
    bench = Bench()
    waits = [backoff.delay(bench.state, k) / SECOND for k in range(1, backoff.tries)]
    plain = [min(backoff.start / SECOND * 2 ** (k - 1), 60) for k in range(1, backoff.tries)]

    assert sum(plain) == pytest.approx(seconds, abs=0.05)
    assert all(low <= wait < low * 1.15 for low, wait in zip(plain, waits, strict=True))
    assert waits != plain and waits == [backoff.delay(bench.state, k) / SECOND for k in range(1, backoff.tries)]


@pytest.mark.spec("EC2-14", "TV-73")
@pytest.mark.parametrize(
    ("settings", "shown", "taken"),
    [
        (Settings(warm_ip_target=6), 3, True), (Settings(warm_ip_target=6), 1, True),
        (Settings(warm_ip_target=6), 0, False), (Settings(prefix_delegation=True, warm_prefix_target=6), 2, True),
        (Settings(prefix_delegation=True, warm_prefix_target=6), 1, True),
        (Settings(prefix_delegation=True, warm_prefix_target=6), 0, False),
    ],
)  # fmt: skip
def test_a_part_of_what_was_asked_does_after_twelve_tries(settings: Settings, shown: int, taken: bool) -> None:
    """Three are asked for; with one of them at least the ENI is taken, one prefix of several does."""
    lab = Lab(settings)
    lab.vpc.faults.metadata_shows(lambda view: partly(view, shown))
    lab.start().until(lambda: bool(lab.events(ev.EniAttached)))
    began = lab.clock
    lab.until(lambda: bool(lab.counted()) or len(lab.state.enis) > 1)

    (call,) = lab.calls(CreateNetworkInterface)
    assert max(call.secondary_ips, call.prefixes) == 3
    assert [len(lab.state.enis[eni].blocks) for eni in lab.others] == ([shown] if taken else [])
    assert lab.counted() == ([] if taken else ["increaseIPPoolwaitENIAttachedFailed"])
    assert (lab.clock - began >= 162.3) is (shown < 3)


def partly(view: MetadataView, shown: int) -> MetadataView:
    """The last of several ENIs with so many blocks only."""
    if len(view.enis) < 2:
        return view
    *others, last = view.enis
    short = msgspec.structs.replace(last, addresses=last.addresses[: 1 + shown], prefixes=last.prefixes[:shown])
    return msgspec.structs.replace(view, enis=(*others, short))


@pytest.mark.spec("EC2-14")
def test_metadata_that_fails_is_a_try() -> None:
    """An error of the read counts like an ENI that is not shown."""
    lab = full()
    mark = lab.mark()
    lab.pod("new")
    lab.until(lambda: bool(lab.calls(AttachNetworkInterface, mark)))
    lab.vpc.faults.fail_next("ReadMetadata", "", "404", times=2)
    lab.run(5)

    assert lab.shape() == [(3, 3), (1, 0)]


@pytest.mark.spec("INIT-38", "POOL-30")
def test_an_eni_whose_host_set_up_fails_stays_attached_and_is_adopted_later() -> None:
    """Counted, not in the store; the next reconcile sets it up."""
    lab = full()
    answers: list[Outcome] = [Failed("", "no link")]
    lab.engine._host = lambda call: answers.pop() if isinstance(call, SetUpEni) and answers else Succeeded()
    mark = grown(lab, 5)
    first = (list(lab.state.enis), [fn for fn, _ in errors(lab, mark)], len(lab.leaks()))
    lab.run(130)

    assert first == ([lab.primary], ["increaseIPPoolsetupENIFailed"], 1)
    assert lab.leaks() == [] and lab.quiet()


# ---- no answer ----------------------------------------------------------------------------------------------


@pytest.mark.spec("EC2-1")
def test_a_create_without_answer_is_found_by_its_token() -> None:
    """No second ENI is made; the one that EC2 made goes on its way."""
    lab = full()
    lab.vpc.faults.lose_next(CREATE, effect=True)
    mark = grown(lab)

    assert names(lab, mark) == [CREATE, ATTACH, MODIFY, "SetUpEni"]
    assert len(lab.vpc.enis) == 2 and lab.leaks() == []


@pytest.mark.spec("EC2-1")
def test_a_create_without_answer_and_effect_is_given_up() -> None:
    """Sought a few times in vain; then an error, and the next cycle makes a new one."""
    lab = full()
    lab.vpc.faults.lose_next(CREATE, effect=False)
    mark = grown(lab, 30)

    assert [fn for fn, _ in errors(lab, mark)] == ["increaseIPPoolAllocENI"]
    assert names(lab, mark)[:3] == [CREATE, CREATE, ATTACH]
    assert lab.shape() == [(3, 3), (1, 0)] and lab.leaks() == []


@pytest.mark.spec("EC2-1", "EC2-7", "EC2-9")
@pytest.mark.parametrize("effect", [True, False])
@pytest.mark.parametrize("action", [ATTACH, MODIFY, CREATE])
def test_an_answer_that_never_came_leaves_nothing_behind(action: str, effect: bool) -> None:
    """Whatever the effect was, the pool ends up as wanted and EC2 holds nothing else."""
    lab = full()
    lab.vpc.faults.lose_next(action, effect=effect)
    grown(lab, 300)

    assert lab.leaks() == [] and lab.quiet()
    assert lab.shape() == [(3, 3), (1, 0)] and len(lab.vpc.enis) == 2


@pytest.mark.spec("EC2-8", "EC2-9", "EC2-24")
@pytest.mark.parametrize("effect", [True, False])
@pytest.mark.parametrize(("first", "second"), [(ATTACH, DELETE), (MODIFY, DETACH), (MODIFY, DELETE)])
def test_a_clean_up_without_answer_is_repeated(first: str, second: str, effect: bool) -> None:
    """A repeat that finds nothing left is done."""
    lab = full()
    lab.vpc.faults.fail_next(first, "InternalError")
    lab.vpc.faults.lose_next(second, effect=effect)
    mark = grown(lab, 300)

    assert [fn for fn, _ in errors(lab, mark)] == ["increaseIPPoolAllocENI"]
    assert lab.leaks() == [] and lab.quiet() and len(lab.vpc.enis) == 2


@pytest.mark.spec("EC2-25")
@pytest.mark.parametrize("look", ["FindNetworkInterfaces", "DescribeNetworkInterfaces"])
def test_looking_for_a_lost_eni_survives_errors(look: str) -> None:
    """A failing read is tried again before the ENI is given up."""
    lab = full()
    lab.vpc.faults.lose_next(CREATE if look.startswith("Find") else ATTACH, effect=True)
    lab.vpc.faults.fail_next(look, "InternalError", times=2)
    grown(lab, 30)

    assert len(lab.vpc.enis) == 2 and lab.leaks() == [] and lab.quiet()


@pytest.mark.spec("EC2-9")
def test_modify_without_answer_is_sent_twice_at_most() -> None:
    """Setting the flag again does no harm; after a second silence the ENI is taken back."""
    lab = full()
    lab.vpc.faults.lose_next(MODIFY, effect=True, times=2)
    mark = grown(lab, 4.9)

    assert names(lab, mark)[:6] == [CREATE, ATTACH, MODIFY, MODIFY, DETACH, DELETE]
    assert [call.attachment != "" for call in lab.calls(ModifyNetworkInterfaceAttribute, mark)] == [True, True]


@pytest.mark.spec("POOL-13")
def test_no_step_waits_for_a_beat() -> None:
    """The steps of one ENI follow each other at once; only waits and retries take time."""
    lab = full()
    mark = grown(lab, 3)

    steps = lab.times(lambda e: isinstance(e, ev.CallStarted | ev.EniReady), mark)
    assert len(steps) == 5 and len(set(steps)) == 1
