"""Looking at a whole journal and telling everything that is wrong with it, not only the first thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ipamd.core.types import Instant

from . import record
from .errors import JournalDamaged, JournalFailed, NotARecord
from .reading import StrPath
from .recovery import gap, refuse_lost_records, refuse_lost_start
from .scan import Position, Tail, checked_lines, damaged
from .segments import Segment, locate
from .snapshots import good_snapshots

DAMAGE_MAX: Final = 1000
"""Findings kept in a report; a journal with more is beyond listing."""


class Damage(msgspec.Struct, frozen=True):
    """One finding. `line` counts from 1 (0: the whole file); `offset` is the line's first byte."""

    file: str
    line: int
    offset: int
    fact: str
    remedy: str


class Report(msgspec.Struct, frozen=True):
    """What a journal holds. Records are the good ones; `last_seq` is `first_seq` - 1 where there is none."""

    records: int
    segments: int
    size: int
    """Bytes of all segments."""
    first_seq: int
    last_seq: int
    torn: int
    """Bytes of an unfinished write at the very end; the next start drops them, or a daemon is writing them now."""
    damage: tuple[Damage, ...]
    snapshots: tuple[int, ...]
    """Records of which a good snapshot is there, ascending."""
    warnings: tuple[str, ...]
    """Snapshots that are not good."""

    @property
    def ok(self) -> bool:
        """Every record is there and right; a torn end and a bad snapshot lose nothing."""
        return not self.damage


def verify(path: StrPath, progress: Callable[[int, int], None] | None = None) -> Report:
    """Reads and decodes everything. `progress(done, all)` is called in bytes, once in a while.

    Raises JournalMissing, UnknownVersion (what a newer ipamd wrote cannot be judged) or JournalFailed.
    """
    source = locate(path)
    earlier = source.snapshots()  # a daemon may be writing: a snapshot comes after its records and before they go
    segments = source.segments()
    walk = _Walk(sum(segment.path.stat().st_size for segment in segments), progress)
    for i, segment in enumerate(segments):
        if i and segment.first_seq != walk.next_seq:
            walk.note(gap(segment, walk.next_seq))
        try:
            walk.segment(segment, last=i == len(segments) - 1)
        except OSError as error:
            raise JournalFailed.of(segment.path, "reading", error) from error
    warnings: list[str] = []
    snapshots = tuple(snapshot.seq for snapshot in good_snapshots(source.snapshots(), warnings.append))
    first_seq = segments[0].first_seq if segments else 1
    last_seq = max(walk.last_seq, first_seq - 1)
    if source.file is None and not walk.damage:
        try:  # every line is right, but are they all there? No start would take it otherwise
            if segments:
                refuse_lost_start(segments[0], source.snapshots(), lambda _: None)
            next_seq = max(walk.next_seq, first_seq)
            ahead = [file for file in earlier if file.seq != next_seq]
            if len(ahead) < len(earlier):
                warnings.append(f"{earlier[-1].path}: is the snapshot of record {next_seq}, which is torn or missing")
            refuse_lost_records(ahead, next_seq - 1, lambda _: None)
        except JournalDamaged as error:
            walk.note(error)
    return Report(
        walk.records,
        len(segments),
        walk.total,
        first_seq,
        last_seq,
        walk.torn,
        tuple(walk.damage),
        snapshots,
        tuple(warnings),
    )


class _Walk:
    """The state of one verification; after a bad line it goes on with the next good one."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self.total, self._progress, self._done = total, progress, 0
        self.records = self.last_seq = self.torn = 0
        self.next_seq = 1
        self._at: Instant = 0
        self.damage: list[Damage] = []

    def note(self, error: JournalDamaged) -> None:
        if len(self.damage) < DAMAGE_MAX:
            self.damage.append(Damage(str(error.path), error.line, error.offset, error.fact, error.remedy))

    def segment(self, segment: Segment, last: bool) -> None:
        at: Position | None = Position(0, segment.first_seq)
        while at is not None:
            try:
                tail = self._lines(segment, last, at)
            except JournalDamaged as error:
                self.note(error)
                at = _next_good(segment, error.offset)
            else:
                self.next_seq, self.torn = tail.next_seq, tail.torn
                at = None
        if self._progress is not None:
            self._progress(self._done, self.total)

    def _lines(self, segment: Segment, last: bool, at: Position) -> Tail:
        lines = checked_lines(segment, last, at)
        seq, offset = at.seq, at.offset
        while True:
            try:
                line = next(lines)
            except StopIteration as end:
                tail: Tail = end.value
                return tail
            try:
                self._judge(line)
            except NotARecord as error:
                self.note(damaged(segment, Position(offset, seq), str(error), last))
            else:
                self.records += 1
                self.last_seq = seq
            seq, offset = seq + 1, offset + len(line)
            self.next_seq = seq
            self._done += len(line)
            if self._progress is not None and seq % 4096 == 0:
                self._progress(self._done, self.total)

    def _judge(self, line: bytes) -> None:
        at = record.decode_checked(line).at
        if at < self._at:
            raise NotARecord(f"time runs back from {self._at} to {at}")
        self._at = at


def _next_good(segment: Segment, offset: int) -> Position | None:
    """The first line from `offset` on that begins and ends as a record does; its own seq is taken as right."""
    with segment.path.open("rb") as file:
        file.seek(offset)
        for line in file:
            head = record.head(line)
            if head is not None and line.endswith(b"\n") and record.begins(line, head.seq) and record.sealed(line[:-1]):
                return Position(offset, head.seq)
            offset += len(line)
    return None
