"""Freeing an ENI (POOL-36, POOL-37, EC2-22..24). It left its store before EC2 is asked; until it is gone it is pending.

describe --not found--> rules      detach --ok--> 2 s --> delete --ok or not found--> rules --> end
   |--other error--> end              |--12 failures--> end         |--12 failures--> rules
"""

from __future__ import annotations

import msgspec

from . import events as ev
from .calls import (
    ATTACHMENT_NOT_FOUND,
    ENI_NOT_FOUND,
    DeleteNetworkInterface,
    DescribeNetworkInterfaces,
    DetachNetworkInterface,
    EnisView,
    Failed,
    Lost,
    Outcome,
    Succeeded,
    TearDownEni,
    View,
)
from .cluster import manageable
from .pool_linux import deletable_eni
from .state import State
from .steps import DELETE_BACKOFF, DETACH_BACKOFF, DETACH_PAUSE, Want, after, counted, moved
from .types import Instant
from .work import Shed


def start(state: State, card: int, now: Instant) -> list[ev.Event]:
    """POOL-36: one deletable ENI leaves its store, if there is one and nothing forbids it; else the half-cycle ends."""
    if state.terminating or not manageable(state):
        return after("idle")
    chosen = deletable_eni(state, card, now)
    if not chosen:
        return after("idle")
    eni = state.enis[chosen]
    return [ev.PoolActed("free", card), ev.EniLeft(chosen, "freed"), moved(Shed(chosen, eni.primary_ip))]


def want(work: Shed) -> Want:
    """The next step."""
    match work.step:
        case "describe":
            return Want(look=DescribeNetworkInterfaces((work.eni,)))
        case "detach":
            return Want(call=DetachNetworkInterface(work.eni, work.attachment), due=work.due)
        case "delete":
            return Want(call=DeleteNetworkInterface(work.eni), due=work.due)
        case "rules":
            return Want(call=TearDownEni(work.eni, work.primary_ip))


def observe(work: Shed, seen: View | Failed) -> list[ev.Event]:
    """EC2-22: the attachment id. An ENI that EC2 does not know is freed already."""
    gone = isinstance(seen, EnisView) and not seen.enis
    if gone or (isinstance(seen, Failed) and seen.code == ENI_NOT_FOUND):
        return [ev.EniDiscarded(work.eni), _to(work, step="rules")]
    if isinstance(seen, Failed):
        inner = counted("getENIAttachmentIDFailed", seen, aws_utils=True)
        text = f"ENI attachment ID not found: {seen.message}"
        outer = counted("decreaseIPPoolFreeENIFailed", Failed(seen.code, text))
        return [inner, outer, *after("idle")]
    assert isinstance(seen, EnisView)
    return [_to(work, step="detach", attachment=seen.enis[0].attachment)]


def settle(state: State, work: Shed, outcome: Outcome, now: Instant) -> list[ev.Event]:
    """Where a call's outcome leads."""
    if work.step == "rules":
        fine = isinstance(outcome, Succeeded)
        return after("idle") if fine else [counted("freeENIDeleteRulesFailed", outcome), *after("idle")]
    if isinstance(outcome, Succeeded) or _already(work, outcome):
        if work.step == "detach":
            return [_to(work, step="delete", due=now + DETACH_PAUSE)]
        return [ev.EniDiscarded(work.eni), _to(work, step="rules")]
    backoff = DETACH_BACKOFF if work.step == "detach" else DELETE_BACKOFF
    tries = work.attempt + 1
    if tries < backoff.tries:
        return [_to(work, attempt=tries, due=now + backoff.delay(state, tries))]
    if work.step == "detach":
        text = Failed("", "unable to detach ENI from EC2 instance, giving up")
        return [counted("decreaseIPPoolFreeENIFailed", text), *after("idle")]
    inner = counted("FreeENIDeleteErr", outcome, aws_utils=True)
    return [inner, counted("decreaseIPPoolFreeENIFailed", outcome), _to(work, step="rules")]


def _already(work: Shed, outcome: Outcome) -> bool:
    """A repeat after a lost answer finds the work done: nothing to detach, nothing to delete (EC2-24)."""
    if not isinstance(outcome, Failed) or isinstance(outcome, Lost):
        return False
    if work.step == "delete":
        return outcome.code == ENI_NOT_FOUND
    return outcome.code == ENI_NOT_FOUND or (outcome.code == ATTACHMENT_NOT_FOUND and work.attempt > 0)


def _to(work: Shed, **changes: object) -> ev.WorkMoved:
    return moved(msgspec.structs.replace(work, **{"attempt": 0, "due": 0, **changes}))
