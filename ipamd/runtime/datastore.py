"""The single writer: decide, stage and fold without a break, and answer only what is on disk.

    apply    decide -> stage -> fold, all in one turn of the loop; the record is not yet durable
    submit   apply, then wait for the disk; for the doors
    publish  tells the subscribers of every record once it is durable, in order, a commit at a time

An answer that made no record (a repeated ADD) may rest on one that is not yet on disk, so it waits for the newest
staged record. Subscribers are never on the way of an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from ipamd.core import snapshot as snapshots
from ipamd.core.commands import After, Answer, Command
from ipamd.core.decide import decide
from ipamd.core.events import FORMAT, CallEnded, Record
from ipamd.core.evolve import fold
from ipamd.core.state import State
from ipamd.core.types import SECOND, CallId
from ipamd.journal.errors import JournalClosed, JournalError, JournalFailed
from ipamd.journal.journal import Journal
from ipamd.journal.retention import KEEP, Keep
from ipamd.journal.snapshots import Snapshot

from .clock import Clock

SNAPSHOT_EVERY: Final = 5_000
"""Records between two snapshots: what a start has to fold at most, about a tenth of a second."""

OnRecord: TypeAlias = Callable[[Record], None]


def recovered(journal: Journal, warn: Callable[[str], None]) -> State:
    """The State that a journal adds up to: its newest readable snapshot and the records after it.

    Raises what `journal.records` raises.
    """
    state = State()

    def accept(found: Snapshot) -> bool:
        nonlocal state
        try:
            state = snapshots.decode(found.state)
        except msgspec.MsgspecError as error:
            warn(f"snapshot of record {found.seq}: passed over: {error}; older records are folded instead")
            return False
        return True

    start = journal.starting_snapshot(accept)
    for record in journal.records(start.seq + 1 if start is not None else journal.recovery.first_seq):
        fold(state, record)
    assert state.seq == journal.recovery.last_seq, f"folded {state.seq} of {journal.recovery.last_seq} records"
    return state


class Datastore:
    """State and its journal. Every change of State goes through `apply`; belongs to one event loop."""

    def __init__(
        self,
        journal: Journal,
        state: State,
        clock: Clock,
        node: str,
        *,
        snapshot_every: int = SNAPSHOT_EVERY,
        keep: Keep = KEEP,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`node` goes into every record; `keep` is what a snapshot may let the journal forget."""
        self.state = state
        self._journal = journal
        self._clock = clock
        self._node = node
        self._snapshot_every = snapshot_every
        self._snapshot_due = journal.snapshot_seq + snapshot_every
        self._keep = keep
        self._warn = warn
        self._subscribers: list[OnRecord] = []
        self._untold: list[Record] = []
        self._awaited: dict[CallId, asyncio.Future[str]] = {}
        """Calls that an answer waits for, and the doors that wait."""
        self._idle: asyncio.Future[None] | None = None
        self._snapshotting: asyncio.Task[None] | None = None
        self._broken: BaseException | None = None
        self.on_bug: Callable[[BaseException], None] | None = None
        """Called once if folding a record fails, which no caller of `submit` may keep to itself."""
        clock.not_before(state.at)

    @property
    def quiet(self) -> bool:
        """Whether every record so far is durable and told."""
        return not self._untold and self._snapshotting is None

    @property
    def lag_seconds(self) -> float:
        """Age of the oldest record that is not known to be durable; 0 while there is none."""
        return max(self._clock.now() - self._untold[0].at, 0) / SECOND if self._untold else 0.0

    def subscribe(self, on_record: OnRecord) -> None:
        """From now on `on_record` is told of every durable record, in order."""
        self._subscribers.append(on_record)

    def apply(self, command: Command) -> tuple[Answer, int]:
        """One command: its answer, and the record that must be durable before the answer may leave.

        Raises JournalFailed or JournalClosed; State is then as it was.
        """
        journal, state = self._journal, self.state
        if self._broken is not None:
            raise self._broken
        if journal.failure is not None:
            raise journal.failure.again() if isinstance(journal.failure, JournalFailed) else journal.failure
        now = max(self._clock.now(), state.at)
        decision = decide(state, command, now)
        if not decision.events:
            return decision.answer, state.seq
        record = Record(FORMAT, state.seq + 1, now, self._node, command, decision.events)
        journal.stage(record)
        try:
            fold(state, record)
        except BaseException as bug:
            self._broken = bug  # State is half changed: nobody may be answered from it
            if self.on_bug is not None:
                self.on_bug(bug)
            raise
        self._untold.append(record)
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None
        return decision.answer, record.seq

    async def submit(self, command: Command) -> Answer:
        """One command; the answer, once all it rests on is on disk. Raises JournalFailed or JournalClosed.

        An `After` leaves when its call has ended and that is on disk too; its `failure` says how.
        """
        answer, seq = self.apply(command)
        if not isinstance(answer, After):
            await self._journal.durable(seq)
            return answer
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._awaited[answer.call_id] = ended
        try:
            await self._journal.durable(seq)
            return msgspec.structs.replace(answer, failure=await ended)
        finally:
            self._awaited.pop(answer.call_id, None)

    async def publish(self) -> None:
        """Tell the subscribers, for ever; ends when the journal does. A subscriber that raises ends it too."""
        while True:
            if not self._untold:
                self._idle = asyncio.get_running_loop().create_future()
                await self._idle
            try:
                await self._tell()
            except (JournalFailed, JournalClosed):
                return  # who stages hears of it, and the process through `on_failure`
            if self.state.seq >= self._snapshot_due and self._snapshotting is None:
                self._snapshotting = asyncio.create_task(self._shorten(), name="snapshot")

    async def flush(self) -> None:
        """Wait for the disk and tell the subscribers the rest. Raises JournalFailed or JournalClosed."""
        while self._untold:
            await self._tell()

    async def _tell(self) -> None:
        """What was staged up to now; it counts as told only once it is durable."""
        count = len(self._untold)
        await self._journal.durable(self._untold[-1].seq)
        batch, self._untold = self._untold[:count], self._untold[count:]
        for record in batch:
            for tell in self._subscribers:
                tell(record)
            if self._awaited:
                self._release(record)

    def _release(self, record: Record) -> None:
        """Let the answers go that waited for a call which this durable record ends."""
        for event in record.events:
            if isinstance(event, CallEnded) and (waiting := self._awaited.get(event.call_id)) is not None:
                fine = event.ended == "succeeded"
                if not waiting.done():
                    waiting.set_result("" if fine else event.message or event.code or event.ended)

    async def snapshot(self) -> None:
        """Write State as it is now; only the copying happens on the loop's time. Raises JournalError."""
        state = self.state
        if state.seq == self._journal.snapshot_seq:
            return
        self._snapshot_due = state.seq + self._snapshot_every
        seq, at = state.seq, state.at
        frozen = snapshots.freeze(state, copy=True)
        document = await asyncio.to_thread(msgspec.json.encode, frozen)
        await self._journal.snapshot(seq, at, document)

    async def _shorten(self) -> None:
        """A snapshot, and what it stands for may be forgotten. It is only a short cut: a failure is a warning."""
        try:
            await self.snapshot()
            await self._journal.retain(self._keep, self._clock.now())
        except JournalError as error:
            self._warn(str(error))
        finally:
            self._snapshotting = None
