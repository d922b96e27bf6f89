"""Reading a journal, with flat memory, also while a daemon writes it and on a read-only file system.

Every function takes JOURNAL as a command line gives it: a state directory, a journal directory or one file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from typing import TypeAlias

import msgspec

from ipamd.core.events import Record
from ipamd.core.types import NEVER, Instant

from . import record
from .errors import JournalDamaged, JournalFailed, JournalMissing, NotARecord
from .recovery import gap
from .scan import Position, Tail, checked_lines
from .segments import Segment, locate
from .snapshots import Snapshot, Warn, good_snapshots

StrPath: TypeAlias = str | os.PathLike[str]
_NEAR = 1 << 16
"""Bytes within which lines are read one after another instead of being searched."""


def lines(path: StrPath, start_seq: int = 0) -> Iterator[bytes]:
    """The lines from record `start_seq` on (or from the oldest kept one), newline included, each checked.

    A torn end is left out. Raises JournalMissing, JournalDamaged, UnknownVersion, JournalFailed.
    """
    segments = locate(path).segments()
    chosen = _from(segments, start_seq)
    for i, segment in enumerate(chosen):
        last = i == len(chosen) - 1
        try:
            at = seek(segment, start_seq) if i == 0 else Position(0, segment.first_seq)
            tail = yield from _after(checked_lines(segment, last, at), start_seq - at.seq)
        except FileNotFoundError as error:
            raise JournalMissing(f"{segment.path}: dropped while it was being read; read again") from error
        except OSError as error:
            raise JournalFailed.of(segment.path, "reading", error) from error
        if not last and chosen[i + 1].first_seq != tail.next_seq:
            raise gap(chosen[i + 1], tail.next_seq)


def _after(checked: Generator[bytes, None, Tail], skip: int) -> Generator[bytes, None, Tail]:
    """The same lines without the first `skip`."""
    try:
        for _ in range(skip):
            next(checked)
    except StopIteration as end:
        tail: Tail = end.value
        return tail
    return (yield from checked)


def read(path: StrPath, start_seq: int = 0) -> Iterator[Record]:
    """The records from `start_seq` on; see `lines`. Raises NotARecord too, for a line of a foreign writer."""
    for line in lines(path, start_seq):
        try:
            yield record.decode_checked(line)
        except NotARecord as error:
            head = record.head(line)
            raise NotARecord(f"{path} record {head.seq if head else '?'}: {error}; restore it from a copy") from error


def starting_snapshot(
    path: StrPath,
    *,
    upto: int | None = None,
    oldest: bool = False,
    accept: Callable[[Snapshot], bool] | None = None,
    warn: Warn = lambda _: None,
) -> Snapshot | None:
    """Where a fold begins: this snapshot and then the records after it; None: begin at record 1 with no State.

    The newest good one (of record `upto` at most), or with `oldest` the one from which most of the kept history
    can be lived again. `accept` may refuse one, whose state it cannot read. Raises JournalDamaged where the first
    records are gone and no snapshot stands for them.
    """
    source = locate(path)
    segments = source.segments()
    before = segments[0].first_seq - 1 if segments else 0
    if oldest and before == 0:
        return None
    files = [f for f in source.snapshots() if f.seq >= before and (upto is None or f.seq <= upto)]
    for snapshot in good_snapshots(files if oldest else reversed(files), warn):
        if accept is None or accept(snapshot):
            return snapshot
    if before == 0:
        return None
    missing = f"record {before}" if upto is None else f"a record from {before} to {upto}"
    raise JournalDamaged(
        segments[0].path,
        0,
        f"begins with record {before + 1} and no good snapshot of {missing} is there",
        "restore one from a copy" if source.file is None else "name the journal directory instead of one file",
    )


class Bounds(msgspec.Struct, frozen=True):
    """First and last record of a journal. `last_seq` is `first_seq` - 1 in an empty one; instants in ns."""

    first_seq: int
    last_seq: int
    first_at: Instant
    last_at: Instant
    node: str
    """`node` of the last record."""
    segments: int
    size: int
    """Bytes of all segments."""


def bounds(path: StrPath) -> Bounds:
    """First and last record, found without reading what is between. Raises as `lines`."""
    segments = locate(path).segments()
    if not segments:
        return Bounds(1, 0, NEVER, NEVER, "", 0, 0)
    first, last = None, None
    try:
        size = sum(segment.path.stat().st_size for segment in segments)
        for line in lines(segments[0].path):
            first = record.head(line)
            break
        for segment in reversed(segments):
            for line in lines(segment.path, _last_probe(segment, lambda head: 0, 0).seq):
                last = record.head(line)
            if last is not None:
                break
    except OSError as error:
        raise JournalFailed.of(segments[0].path, "reading", error) from error
    if first is None or last is None:
        return Bounds(segments[0].first_seq, segments[0].first_seq - 1, NEVER, NEVER, "", len(segments), size)
    return Bounds(first.seq, last.seq, first.at, last.at, last.node, len(segments), size)


def seq_at(path: StrPath, at: Instant) -> int:
    """The newest record made at `at` or before (ns since the epoch); first_seq - 1 if there is none."""
    segments = locate(path).segments()
    found = segments[0].first_seq - 1 if segments else 0
    for segment in reversed(segments):
        with segment.path.open("rb") as file:
            head = record.head(file.readline())
        if head is not None and head.at <= at:
            found = segment.first_seq
            for line in lines(segment.path, _last_probe(segment, lambda head: head.at, at).seq):
                head = record.head(line)
                if head is None or head.at > at:
                    break
                found = head.seq
            break
    return found


def seek(segment: Segment, seq: int) -> Position:
    """A line of the segment at or shortly before record `seq`, found by halving byte offsets."""
    return _last_probe(segment, lambda head: head.seq, seq)


def last_position(segment: Segment) -> Position:
    """Where the line after the newest whole one of a segment begins, or will begin."""
    at = _last_probe(segment, lambda head: 0, 0)
    with segment.path.open("rb") as file:
        file.seek(at.offset)
        for line in file:
            if line.endswith(b"\n"):
                at = Position(at.offset + len(line), at.seq + 1)
    return at


def _last_probe(segment: Segment, key: Callable[[record.Head], int], want: int) -> Position:
    """A line whose key is <= `want`, and after which at most _NEAR bytes or so of such lines follow."""
    low, high = Position(0, segment.first_seq), os.stat(segment.path).st_size
    with segment.path.open("rb") as file:
        while high - low.offset > _NEAR:
            middle = (low.offset + high) // 2
            file.seek(middle)
            offset = middle + len(file.readline())
            line = file.readline()
            head = record.head(line) if offset < high and record.sealed(line[:-1]) else None
            if head is None or key(head) > want:
                high = middle
            else:
                low = Position(offset, head.seq)
    return low


def _from(segments: list[Segment], seq: int) -> list[Segment]:
    """The segments from the one that holds record `seq` on."""
    first = sum(segment.first_seq <= seq for segment in segments) - 1
    return segments[max(first, 0) :]
