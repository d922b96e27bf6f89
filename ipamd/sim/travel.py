"""Time travel: any moment of a journal, one step on or back, the next refusal, the next record that matches.

    travel = Travel(path)
    travel.to(4711)                     # State after that record, from the nearest snapshot
    travel.step(-1); travel.refusal(+1); travel.search(lambda record: ...)
    travel.state, travel.record, travel.plan, travel.refused_if_asked

A jump folds from the nearest snapshot of the journal, or from a nearer one that a jump before has left in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from ipamd.core import plan as planning
from ipamd.core import snapshot
from ipamd.core.commands import Refused
from ipamd.core.events import Record
from ipamd.core.evolve import fold
from ipamd.core.reasons import refusal
from ipamd.core.state import State
from ipamd.core.types import Instant
from ipamd.journal.errors import JournalMissing
from ipamd.journal.reading import Bounds, StrPath, bounds, read, seq_at
from ipamd.journal.segments import locate

from .past import Progress, Warn, fold_to, silent
from .why import is_refusal

PAGE: Final = 512
"""Records that a search backwards reads at once, and the least steps between two States kept in memory."""
KEPT: Final = 128
"""States kept in memory at most."""
KEPT_BYTES: Final = 64 << 20
SPREAD: Final = 64
"""A long fold leaves so many States behind, evenly spread: a journal without snapshots is folded whole only once."""
_NEWEST: Final = 8
"""So many of the newest kept States are never let go: the cursor is near them."""


class Travel:
    """A cursor over a journal, also one that grows: `refresh` looks at its end again."""

    def __init__(self, path: StrPath, warn: Warn = silent, progress: Progress = silent) -> None:
        """At the newest record; `progress` is told of the way there.

        Raises JournalMissing for an empty journal, and what reading a journal raises.
        """
        self._path = path
        self._warn = warn
        self._progress = progress
        self._kept: dict[int, bytes] = {}
        self.bounds: Bounds = bounds(path)
        if self.bounds.last_seq < self.bounds.first_seq:
            raise JournalMissing(f"{path}: holds no record")
        self.state: State = State()
        self.record: Record
        self.to(self.bounds.last_seq)

    @property
    def seq(self) -> int:
        """The record at the cursor."""
        return self.record.seq

    def refresh(self) -> int:
        """How many records were written since."""
        before = self.bounds.last_seq
        self.bounds = bounds(self._path)
        return self.bounds.last_seq - before

    def to(self, seq: int) -> State:
        """Go to a record; the first or the last one where it lies beyond."""
        seq = min(max(seq, self.bounds.first_seq), self.bounds.last_seq)
        state = self._nearest(seq)
        if state.seq == seq:
            self.record = next(read(self._path, seq))
        stride = max((seq - state.seq) // SPREAD // PAGE, 1) * PAGE
        for record in read(self._path, state.seq + 1) if state.seq < seq else ():
            fold(state, record)
            self.record = record
            if record.seq % stride == 0 or (record.seq % PAGE == 0 and seq - record.seq <= 2 * PAGE):
                self._keep(state)
            if record.seq % PAGE == 0:
                self._progress(record.seq, seq)
            if record.seq == seq:
                break
        self.state = state
        return state

    def at(self, moment: Instant) -> State:
        """Go to the newest record of that moment or before."""
        return self.to(seq_at(self._path, moment))

    def step(self, records: int) -> State:
        """So many records on, or back."""
        return self.to(self.seq + records)

    def search(self, wanted: Callable[[Record], bool], direction: Literal[1, -1] = 1) -> bool:
        """Go to the next record (or the one before) that is wanted; False, and nothing moves, if there is none."""
        found = self._ahead(wanted) if direction > 0 else self._behind(wanted)
        if found:
            self.to(found)
        return bool(found)

    def refusal(self, direction: Literal[1, -1] = 1) -> bool:
        """Go to the next refusal of an address, or to the one before."""
        return self.search(is_refusal, direction)

    @property
    def plan(self) -> planning.Plan:
        """What the pool wants at the cursor, and the figures behind it."""
        return planning.plan(self.state, self.state.at)

    @property
    def refused_if_asked(self) -> Refused | None:
        """Why a pod that asked now would get no address, should none be free; None before the node is there."""
        return refusal(self.state, self.state.at) if self.state.phase == "ready" else None

    def _nearest(self, seq: int) -> State:
        """A State of `seq` or shortly before that may be folded on."""
        if 0 < self.state.seq <= seq <= self.state.seq + PAGE:
            return self.state
        near = max((kept for kept in self._kept if kept <= seq), default=0)
        if near and near >= max((file.seq for file in locate(self._path).snapshots() if file.seq <= seq), default=0):
            return snapshot.decode(self._kept[near])
        return fold_to(self._path, self._snapshot(seq), warn=self._warn)

    def _snapshot(self, seq: int) -> int:
        """The record of the snapshot that leads to `seq`, with enough before it that steps back are quick."""
        files = [file.seq for file in locate(self._path).snapshots() if file.seq <= seq]
        nothing = 0 if self.bounds.first_seq == 1 else seq
        return next((file for file in reversed(files) if seq - file >= PAGE), min(files, default=nothing))

    def _keep(self, state: State) -> None:
        self._kept[state.seq] = snapshot.encode(state)
        while len(self._kept) > KEPT or sum(map(len, self._kept.values())) > KEPT_BYTES:
            if len(self._kept) <= _NEWEST:
                break
            old = sorted(list(self._kept)[:-_NEWEST])
            gaps = [(after - before, after) for before, after in zip([0, *old], old, strict=False)]
            del self._kept[min(gaps)[1]]

    def _ahead(self, wanted: Callable[[Record], bool]) -> int:
        return next((record.seq for record in read(self._path, self.seq + 1) if wanted(record)), 0)

    def _behind(self, wanted: Callable[[Record], bool]) -> int:
        last = self.seq - 1
        while last >= self.bounds.first_seq:
            first = max(last - PAGE + 1, self.bounds.first_seq)
            found = 0
            for record in read(self._path, first):
                if record.seq > last:
                    break
                if wanted(record):
                    found = record.seq
            if found:
                return found
            last = first - 1
        return 0
