"""What every kind of work shares: what a step wants next, how a retry is delayed, how an action ends."""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from . import events as ev
from .calls import Call, Failed, Look, Lost, Outcome, Succeeded
from .state import State
from .types import MS, SECOND, Instant
from .work import Free, Init, Then, Turn, Work

HALF: Final = 2_500 * MS
"""Half a pool cycle (POOL-13)."""
WATCH_INTERVAL: Final = 30 * SECOND
"""VPC CIDR and security-group refresh (INIT-30, INIT-31)."""


class Want(msgspec.Struct, frozen=True):
    """The next step of a lane: a call, a look, or (neither) a decision on State alone; not before `due`."""

    call: Call | None = None
    look: Look | None = None
    due: Instant = 0


class Backoff(msgspec.Struct, frozen=True):
    """B(start, cap, jitter, tries) of spec section 6.1, times in ns."""

    start: int
    cap: int
    jitter: float
    tries: int

    def delay(self, state: State, attempt: int) -> int:
        """Pause after failed try number `attempt` (from 1): min(start * 2^(attempt-1), cap) plus up to `jitter` of it.

        The jitter is a hash of seed, next call id and attempt, so that a replay finds the same instant.
        """
        base = min(self.start << (attempt - 1), self.cap)
        draw = zlib.crc32(f"{state.seed}/{state.next_call}/{attempt}".encode()) / 2**32
        return base + int(base * self.jitter * draw)


TAG_BACKOFF: Final = Backoff(500 * MS, 60 * SECOND, 0.3, 5)
WAIT_BACKOFF: Final = Backoff(100 * MS, 60 * SECOND, 0.15, 12)
DETACH_BACKOFF: Final = Backoff(200 * MS, 60 * SECOND, 0.15, 12)
DELETE_BACKOFF: Final = Backoff(500 * MS, 60 * SECOND, 0.15, 12)
DETACH_PAUSE: Final = 2 * SECOND
"""EC2-22: between detach and delete."""
DESCRIBE_TRIES: Final = 12
DESCRIBE_STEP: Final = 10 * MS
"""EC2-30: the pause before retry k is k * 10 ms."""
SEEK_BACKOFF: Final = Backoff(1 * SECOND, 8 * SECOND, 0.0, 4)
"""How often a lost create or attach is looked for; ours, upstream has no such state."""


def code_of(outcome: Outcome) -> str:
    """EC2's code of a failure; "" for a success or a lost call."""
    return outcome.code if isinstance(outcome, Failed) else ""


def text_of(outcome: Outcome | Failed) -> str:
    """What went wrong, for logs and counters."""
    match outcome:
        case Failed():
            return f"{outcome.code}: {outcome.message}" if outcome.code else outcome.message
        case Lost():
            return f"no answer ({outcome.why or 'effect unknown'})"
        case Succeeded():
            return ""


def counted(fn: str, outcome: Outcome | Failed, aws_utils: bool = False) -> ev.ErrorCounted:
    """The failure as upstream counts it (HTTP-22, HTTP-23)."""
    code = outcome.code if isinstance(outcome, Failed) else ""
    return ev.ErrorCounted(fn, text_of(outcome), code, "aws_utils" if aws_utils else "ipamd")


def logged(fn: str, outcome: Outcome | Failed) -> ev.ErrorCounted:
    """A failure that upstream only logs."""
    return ev.ErrorCounted(fn, text_of(outcome), outcome.code if isinstance(outcome, Failed) else "", "")


def moved(work: Work) -> ev.WorkMoved:
    """The pool lane goes on with `work`."""
    return ev.WorkMoved(work)


def go_on(events: list[ev.Event], turn: Turn) -> list[ev.Event]:
    """The same, but what would end the half-cycle, or node init, leads to the next card."""
    return [*(event for event in events[:-1] if not isinstance(event, ev.NodeReady)), ev.WorkMoved(turn)]


def after(then: Then, card: int = 0) -> list[ev.Event]:
    """What follows the end of a pool action on a card."""
    if then == "free":
        return [ev.WorkMoved(Free(card))]
    if then == "links":
        return [ev.WorkMoved(Init("links"))]
    if then == "ready":
        return [ev.NodeReady(), ev.WorkMoved(None, next="update")]
    return [ev.WorkMoved(None, next="resync")]
