"""Why a pod got no address, found by trying: the minutes before the refusal are lived again without each suspect.

    told = why_no_ip(path, at)

A suspect is something the journal shows (a storm at EC2, a restart, a cooldown, a limit ...). Without exactly one of
them the pod would have had an address: that is the cause. Several such, or several that only together suffice to
explain it: "several". None: the warm pool was too small for what came, `target`. Each try is a branch of the recorded
life by the real core; the control, nothing changed, must end in the refusal.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Final

import msgspec

from ipamd.core import snapshot
from ipamd.core.commands import AddNetwork
from ipamd.core.events import AssignRefused, Record
from ipamd.core.evolve import fold
from ipamd.core.pool_linux import balance
from ipamd.core.reasons import REMEDIES
from ipamd.core.state import State
from ipamd.core.types import SECOND, Instant
from ipamd.journal.errors import JournalMissing
from ipamd.journal.reading import StrPath, bounds, read, seq_at

from .kubelet import Arrival, demand_of
from .past import Progress, Warn, fold_to, silent
from .relive import Branch, Change, Past, recall
from .why_shortest import Step, Tried, steps
from .why_suspects import Suspect, suspects

WINDOW: Final = 600 * SECOND
"""How far before the refusal the branches begin, so that a change has time to tell."""
AFTER: Final = 300 * SECOND
"""How far after it what was in flight is followed, to learn how long it took."""
SEVERAL: Final = "several"


class Cause(msgspec.Struct, frozen=True):
    """One thing without which the pod would have had an address. `seqs` are the records that show it."""

    reason: str
    fact: str
    remedy: str
    seqs: tuple[int, ...]
    alone: bool
    """Whether it suffices that this one is gone; else all of the causes must be."""


class WhyNoIp(msgspec.Struct, frozen=True):
    """The answer. `reason` is one of `reasons.REASONS`, or "several"."""

    reason: str
    causes: tuple[Cause, ...]
    refusal: int
    """The record of the refusal."""
    at: Instant
    pod: str
    said: str
    """The reason that the daemon gave at that moment, from its State alone."""
    fact: str
    tries: int
    """Tries of this pod so far, this one included."""
    shortest: str
    """The smallest change of a setting or limit with which the pod would have had an address; "" if none was found."""
    tried: tuple[Tried, ...]
    control: bool
    """Whether the same life without any change ends in the refusal: else the model is not near enough to be sure."""
    lived_from: int
    """The record after which every branch begins."""


def refusal_at(path: StrPath, seq: int | None = None, pod: str = "") -> Record:
    """The newest refusal (of that `[namespace/]name`) up to a record. Raises JournalMissing if there is none."""
    kept = bounds(path)
    last = kept.last_seq if seq is None else min(seq, kept.last_seq)
    for start in _backwards(kept.first_seq, last):
        found = None
        for record in read(path, start[0]):
            if record.seq > start[1]:
                break
            if is_refusal(record, pod):
                found = record
        if found is not None:
            return found
    raise JournalMissing(
        f"{path}: no pod was refused an address up to record {last}; name a later moment or another pod"
    )


def is_refusal(record: Record, pod: str = "") -> bool:
    """Whether a pod (that one) that asked rightly got no address."""
    asked = demand_of(record.cause)
    if not isinstance(asked, AddNetwork) or pod not in ("", asked.pod.name, f"{asked.pod.namespace}/{asked.pod.name}"):
        return False
    return any(isinstance(event, AssignRefused) and event.reason != "invalid" for event in record.events)


def _backwards(first: int, last: int, page: int = 4096) -> Iterator[tuple[int, int]]:
    while last >= first:
        begin = max(last - page + 1, first)
        yield begin, last
        last = begin - 1


def why_no_ip(
    path: StrPath, refused: Record, progress: Progress = silent, warn: Warn = silent, search: bool = True
) -> WhyNoIp:
    """Name the cause of a refusal (see `refusal_at`). `search`: look for the shortest change too."""
    until = max(seq_at(path, refused.at + AFTER), refused.seq)
    past = recall(path, progress=progress, warn=warn, until=until)
    told = next(event for event in refused.events if isinstance(event, AssignRefused))
    arrival = next(a for a in reversed(past.arrivals) if refused.seq in a.seqs)
    fork_seq = _fork(path, past, arrival, refused.at)
    base = fold_to(path, fork_seq) if fork_seq else snapshot.fork(past.begin_state)
    before, content_at = _until(path, base, refused.seq)
    trial = Trial(past, base, arrival, refused)
    control = not trial.grants(Change())
    found = suspects(past, base, before, refused, content_at)
    causes = _causes(trial, found) if control else ()
    if not causes:
        causes = (_fallback(told, refused),)
    reason = causes[0].reason if len({cause.reason for cause in causes}) == 1 else SEVERAL
    tried = tuple(trial.search(steps(before, base), reason)) if search and control else ()
    shortest = next((each.change for each in tried if each.grants), "")
    return WhyNoIp(
        reason, causes, refused.seq, refused.at, f"{arrival.pod.namespace}/{arrival.pod.name}", told.reason, told.fact,
        arrival.seqs.index(refused.seq) + 1, shortest, tried, control, base.seq,
    )  # fmt: skip


def _fork(path: StrPath, past: Past, arrival: Arrival, at: Instant) -> int:
    """The record after which branches begin: a good while before the pod first asked; 0: with the journal."""
    begin = min(arrival.tries[0], at) - WINDOW
    return 0 if begin <= past.begin_at else max(seq_at(path, begin), past.first_seq - 1)


def _until(path: StrPath, base: State, seq: int) -> tuple[State, Instant]:
    """The State just before record `seq`, and when the pool last was as its targets want it (0: never)."""
    state, content_at = snapshot.fork(base), 0
    for record in read(path, base.seq + 1):
        if record.seq >= seq:
            break
        fold(state, record)
        if state.phase == "ready" and state.pool.work is None:
            goal = balance(state, 0, record.at)
            if not goal.low and not (goal.targets and goal.short):
                content_at = record.at
    return state, content_at


def _fallback(told: AssignRefused, refused: Record) -> Cause:
    """Nothing that happened was to blame: what the pool was in the middle of, or its targets."""
    reason = told.reason if told.reason in ("target", "attach_pending") else "target"
    fact = told.fact if reason == told.reason else "more pods came than the warm pool had addresses for"
    return Cause(reason, fact, REMEDIES[reason], (refused.seq,), True)


def _causes(trial: Trial, found: list[Suspect]) -> tuple[Cause, ...]:
    """The suspects without which there is an address: each alone, or the smallest set together."""
    alone = [suspect for suspect in found if trial.grants(suspect.change, suspect.since)]
    events = [suspect for suspect in alone if suspect.happened]
    if events:
        return tuple(_cause(suspect, True) for suspect in events)
    if alone:
        return (_cause(alone[0], True),)
    for size in (2, 3):
        for some in combinations(found, size):
            if trial.grants(merged(some)):
                return tuple(_cause(suspect, False) for suspect in some)
    return ()


def _cause(suspect: Suspect, alone: bool) -> Cause:
    return Cause(suspect.reason, suspect.fact, REMEDIES[suspect.reason], suspect.seqs, alone)


def merged(some: tuple[Suspect, ...]) -> Change:
    """All of their changes at once."""
    first, *rest = (suspect.change for suspect in some)
    for change in rest:
        first = Change(
            settings=first.settings | change.settings,
            node=first.node | change.node,
            calm=first.calm | change.calm,
            latency=first.latency | change.latency,
            no_lag=first.no_lag or change.no_lag,
            unexcluded=first.unexcluded or change.unexcluded,
            unterminated=first.unterminated or change.unterminated,
            roomy=first.roomy or change.roomy,
            dropped=first.dropped | change.dropped,
        )
    return first


class Trial:
    """Branches from one State, each asked the same: does this pod have an address by the moment it was refused?"""

    def __init__(self, past: Past, base: State, arrival: Arrival, refused: Record) -> None:
        self._past = past
        self._base = base
        self._arrival = arrival
        self._refused = refused

    def grants(self, change: Change, since: Instant = 0) -> bool:
        """Live on with the change up to the refusal, from just before `since` where that is later than the base."""
        base = self._base
        if since == self._refused.at:
            base = fold_to(self._past.path, self._refused.seq - 1)
        elif since - SECOND > base.at:
            base = fold_to(self._past.path, seq_at(self._past.path, since - SECOND))
        branch = Branch(self._past, snapshot.fork(base), change)
        branch.run(self._refused.at)
        return id(self._arrival) in branch.granted

    def search(self, ladder: list[list[Step]], reason: str) -> Iterator[Tried]:
        """The rungs of each ladder, smallest first, until one grants; the ladder that bears on the reason first."""
        for rungs in sorted(ladder, key=lambda rungs: reason not in rungs[0].reasons):
            for step in rungs:
                grants = self.grants(step.change)
                yield Tried(step.text, grants)
                if grants:
                    return
