"""Where moments come from: a journal on disk, finished or being written; `door` asks a daemon over HTTP instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias

from ipamd.core.events import Record
from ipamd.core.types import Instant
from ipamd.journal import record as record_line
from ipamd.journal.lock import holder
from ipamd.journal.reading import Bounds, bounds, lines, seq_at
from ipamd.journal.segments import locate
from ipamd.sim.past import Progress, fold_to, silent
from ipamd.sim.travel import Travel

from .moment import Moment, Reach, moment_of
from .screen import is_refusal
from .search import REFUSED, Query, matcher

Direction: TypeAlias = Literal[1, -1]
Stop: TypeAlias = Callable[[], bool]
Matches: TypeAlias = Callable[[int, int], Iterator[int]]
"""The records that match, of those from one to another, both among them; ascending."""
"""Asked now and then by a long search: whether nobody wants its result any more."""
_WINDOW: Final = 4096
"""Records that a search backwards reads at once."""
_ASKED_EVERY: Final = 1024


class Stopped(Exception):
    """A search that was given up."""


class Source(Protocol):
    """Moments of one journal. All may block; `to`, `at` and `refresh` are called from one thread at a time."""

    name: str
    live: bool
    """Whether somebody writes it at present."""

    @property
    def reach(self) -> Reach:
        """First and last record, as of the last `refresh`."""
        ...

    def refresh(self) -> bool:
        """Look at the journal's end again; whether it moved."""
        ...

    def to(self, seq: int) -> Moment:
        """After that record, or the first or last where it lies beyond."""
        ...

    def at(self, instant: Instant) -> Moment:
        """At that moment, between the first record's and the last one's."""
        ...

    def find(self, asked: Query | None, seq: int, direction: Direction, stop: Stop) -> int | None:
        """The nearest record after (or before) `seq` that is meant; None as query: a refusal. Raises `Stopped`."""
        ...

    def refusals(self, since: int, stop: Stop) -> frozenset[int]:
        """Every one from a record on."""
        ...


def nearest(matches: Matches, reach: Reach, seq: int, direction: Direction) -> int | None:
    """The match that comes first after a record, or before it; backwards it is looked for window by window."""
    if direction > 0:
        return next(matches(seq + 1, reach.last_seq), None)
    end = seq - 1
    while end >= reach.first_seq:
        begin = max(end - _WINDOW + 1, reach.first_seq)
        found = list(matches(begin, end))
        if found:
            return found[-1]
        end = begin - 1
    return None


class JournalSource:
    """A journal on disk, also while it grows."""

    def __init__(self, path: Path, progress: Progress = silent) -> None:
        """Raises what reading a journal raises, and JournalMissing for one without records."""
        self._path = path
        self._travel = Travel(path, progress=progress)
        self.name = str(path)
        self.live = bool(holder(locate(path).directory)) and locate(path).file is None

    @property
    def reach(self) -> Reach:
        return _reach(self._travel.bounds)

    def refresh(self) -> bool:
        before = self._travel.bounds
        now = bounds(self._path)
        if now.last_seq < before.last_seq or (now.first_at != before.first_at and now.first_seq == 1):
            self._travel = Travel(self._path)  # another journal took its place
        else:
            self._travel.refresh()
        return self._travel.bounds != before

    def to(self, seq: int) -> Moment:
        state = self._travel.to(seq)
        return moment_of(state, self._travel.record, state.at)

    def at(self, instant: Instant) -> Moment:
        reach = self.reach
        now = min(max(instant, reach.first_at), reach.last_at)
        state = self._travel.to(seq_at(self._path, now))
        return moment_of(state, self._travel.record, max(now, state.at))

    def find(self, asked: Query | None, seq: int, direction: Direction, stop: Stop) -> int | None:
        return nearest(lambda begin, end: self._matches(asked, begin, end, stop), self.reach, seq, direction)

    def refusals(self, since: int, stop: Stop) -> frozenset[int]:
        reach = self.reach
        return frozenset(self._matches(None, max(since, reach.first_seq), reach.last_seq, stop))

    def _matches(self, asked: Query | None, begin: int, end: int, stop: Stop) -> Iterator[int]:
        """Records from `begin` to `end` that are meant."""
        if begin > end:
            return
        wanted: Callable[[Record], bool] = is_refusal
        needles: tuple[bytes, ...] = REFUSED
        if asked is not None:
            wanted = matcher(asked, lambda: fold_to(self._path, begin - 1))
            needles = asked.needles
        for number, text in enumerate(lines(self._path, begin), begin):
            if number > end:
                return
            if number % _ASKED_EVERY == 0 and stop():
                raise Stopped
            if any(needle in text for needle in needles) and wanted(record_line.decode_checked(text)):
                yield number


def _reach(found: Bounds) -> Reach:
    return Reach(found.first_seq, found.last_seq, found.first_at, found.last_at)
