"""A journal lived again: the State after any record, and every decision made a second time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from ipamd.core import snapshot
from ipamd.core.commands import Imported
from ipamd.core.decide import decide
from ipamd.core.events import Event, Record
from ipamd.core.evolve import fold
from ipamd.core.state import State
from ipamd.journal.errors import JournalMissing
from ipamd.journal.reading import StrPath, bounds, read, starting_snapshot
from ipamd.journal.segments import locate
from ipamd.journal.snapshots import Snapshot

Progress = Callable[[int, int], None]
"""Called with the records done so far, and all of them."""
Warn = Callable[[str], None]
_EVERY = 1024
"""Records between two reports of progress."""


def silent(*_: object) -> None:
    """Nobody listens."""


def fold_to(path: StrPath, seq: int | None = None, progress: Progress = silent, warn: Warn = silent) -> State:
    """The State after record `seq` (the newest by default), folded from the nearest good snapshot before it.

    Raises JournalMissing for a record that is not there (any more, or yet), and what `journal.reading.lines` raises.
    """
    found = bounds(path)
    last = found.last_seq if seq is None else seq
    if last > found.last_seq:
        raise JournalMissing(f"{path}: no record {last}: the newest is {found.last_seq}")
    _refuse_unreachable(path, last, found.first_seq)
    state = begin(path, last, oldest=False, warn=warn)
    for record in read(path, state.seq + 1):
        if record.seq > last:
            break
        fold(state, record)
        if record.seq % _EVERY == 0:
            progress(record.seq, last)
    return state


def _refuse_unreachable(path: StrPath, seq: int, first_seq: int) -> None:
    """Raises JournalMissing where the records that lead to `seq` are gone and no snapshot stands for them."""
    if first_seq == 1:
        return
    snapshots = [file.seq for file in locate(path).snapshots() if file.seq >= first_seq - 1]
    if snapshots and seq < snapshots[0]:
        fact = f"the records before {first_seq} are gone and the oldest snapshot is of record {snapshots[0]}"
        raise JournalMissing(f"{path}: the State after record {seq} is not known any more: {fact}; ask for a later one")


def begin(path: StrPath, upto: int | None, oldest: bool, warn: Warn) -> State:
    """The State of the snapshot that a fold begins with, an empty one where it begins with record 1."""
    thawed: list[State] = []

    def accept(kept: Snapshot) -> bool:
        try:
            thawed.append(snapshot.decode(kept.state))
        except msgspec.MsgspecError as error:
            warn(f"snapshot of record {kept.seq}: passed over: {error}")
            return False
        return True

    starting_snapshot(path, upto=upto, oldest=oldest, accept=accept, warn=warn)
    return thawed[-1] if thawed else State()


class Divergence(msgspec.Struct, frozen=True):
    """A record whose cause, decided again on the State before it, gives other events than those recorded."""

    seq: int
    recorded: tuple[Event, ...]
    decided: tuple[Event, ...]


class Replay(msgspec.Struct, frozen=True):
    """How many records were decided again (the divergent one included), and the first divergence.

    `imported` ones were only folded: they tell what another daemon did, so there is nothing to decide again.
    """

    records: int
    divergence: Divergence | None
    imported: int = 0


def replay(path: StrPath, progress: Progress = silent, warn: Warn = silent) -> Replay:
    """Decide every kept record's cause again, from the oldest one on, until a decision differs."""
    state = begin(path, None, oldest=True, warn=warn)
    return relive(read(path, state.seq + 1), state, bounds(path).last_seq, progress)


def relive(records: Iterable[Record], state: State, last: int, progress: Progress = silent) -> Replay:
    """Decide each record again and fold it. `state` is the one before the first and is carried along."""
    count = imported = 0
    for record in records:
        if isinstance(record.cause, Imported):
            imported += 1
            fold(state, record)
            continue
        count += 1
        try:
            decided = decide(state, record.cause, record.at).events
        except AssertionError as error:
            error.add_note(f"while deciding record {record.seq} again")
            raise
        if decided != record.events:
            return Replay(count, Divergence(record.seq, record.events, decided), imported)
        fold(state, record)
        if count % _EVERY == 0:
            progress(record.seq, last)
    return Replay(count, None, imported)
