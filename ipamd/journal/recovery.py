"""Coming back: check every line, finish or drop the torn end of the newest segment, refuse damage."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ipamd.core.types import NEVER, Instant

from . import record
from .disk import Disk
from .errors import JournalDamaged, JournalFailed
from .scan import Tail, checked_lines
from .segments import Segment, SnapshotFile, list_segments, list_snapshots
from .snapshots import Warn, good_snapshots, remove_unfinished


class Recovery(msgspec.Struct, frozen=True):
    """What was found on opening. `last_seq` is `first_seq` - 1 in an empty journal."""

    first_seq: int
    """Oldest record kept; 1 unless retention dropped older ones."""
    last_seq: int
    last_at: Instant
    """`at` of the newest record, ns since the epoch; 0 in an empty journal."""
    node: str
    """`node` of the newest record; empty in an empty journal."""
    segments: int
    torn: int
    """Bytes dropped at the end of the newest segment: a write that did not finish and was never answered."""
    path: Path | None
    """The newest segment."""
    size: int
    """Its bytes after recovery."""


def recover(directory: Path, disk: Disk, warn: Warn) -> Recovery:
    """Checks the CRC, version and seq of every record and makes the newest segment ready for the next one.

    The caller holds the lock. Raises JournalDamaged, UnknownVersion or JournalFailed; only a torn end is changed.
    """
    try:
        remove_unfinished(directory)
        segments = list_segments(directory)
        snapshots = list_snapshots(directory)
        if not segments:
            refuse_lost_records(snapshots, 0, warn)
            return Recovery(1, 0, NEVER, "", 0, 0, None, 0)
        newest = b""
        for segment, following in zip(segments, [*segments[1:], None], strict=True):
            tail, line = _check(segment, last=following is None)
            newest = line or newest
            if following is not None and following.first_seq != tail.next_seq:
                raise gap(following, tail.next_seq)
        last = segments[-1]
        snapshots = _set_aside(snapshots, segments[0].first_seq - 1, tail.next_seq, warn)
        refuse_lost_start(segments[0], snapshots, warn)
        refuse_lost_records(snapshots, tail.next_seq - 1, warn)
        size = _mend(last.path, tail, disk)
    except OSError as error:
        raise JournalFailed.of(directory, "reading the journal", error) from error
    head = record.head(newest)
    at, node = (head.at, head.node) if head else (NEVER, "")
    return Recovery(segments[0].first_seq, tail.next_seq - 1, at, node, len(segments), tail.torn, last.path, size)


def gap(segment: Segment, want: int) -> JournalDamaged:
    """The error for a segment that does not begin where the one before it ended."""
    return JournalDamaged(
        segment.path,
        0,
        f"begins with record {segment.first_seq} where record {want} belongs",
        "restore the missing segment from a copy, or move the journal directory away to begin afresh",
    )


def refuse_lost_start(oldest: Segment, snapshots: list[SnapshotFile], warn: Warn) -> None:
    """Refuses a journal whose first records are gone while no good snapshot stands for them."""
    before = oldest.first_seq - 1
    covering = [file for file in reversed(snapshots) if file.seq >= before]
    if before and next(good_snapshots(covering, warn), None) is None:
        raise JournalDamaged(
            oldest.path,
            0,
            f"records 1 to {before} are gone and no good snapshot of record {before} or later is there",
            "restore one of them from a copy, or move the journal directory away to begin afresh",
        )


def refuse_lost_records(snapshots: list[SnapshotFile], last_seq: int, warn: Warn) -> None:
    """Refuses a journal that ends before its newest good snapshot: a snapshot is written after its records."""
    ahead = next(good_snapshots([file for file in reversed(snapshots) if file.seq > last_seq], warn), None)
    if ahead is not None:
        raise JournalDamaged(
            snapshots[-1].path,
            0,
            f"is the snapshot of record {ahead.seq}, but the journal ends with record {last_seq}: records are missing",
            "restore the segments from a copy, or move the journal directory away to begin afresh",
        )


def _set_aside(snapshots: list[SnapshotFile], before: int, lost: int, warn: Warn) -> list[SnapshotFile]:
    """The snapshots without that of record `lost`, where this torn or missing last record is all that is wanting.

    An orderly end leaves a snapshot of the very last record. If that line is cut afterwards, the record is dropped as
    any torn one is, provided that State is known without its snapshot: from record 1 on or by an older one.
    """
    older = [file for file in snapshots if file.seq < lost]
    if [file.seq for file in snapshots[len(older) :]] != [lost]:
        return snapshots
    covering = [file for file in reversed(older) if file.seq >= before]
    if before and next(good_snapshots(covering, lambda _: None), None) is None:
        return snapshots
    path = snapshots[-1].path
    path.rename(path.with_name(f"{path.name}.torn"))
    warn(f"{path}: set aside as {path.name}.torn: record {lost}, which it was taken after, is torn and dropped")
    return older


def _check(segment: Segment, last: bool) -> tuple[Tail, bytes]:
    """The segment's tail and its newest line, empty if it has none."""
    tails: list[Tail] = []

    def lines() -> Iterator[bytes]:
        tails.append((yield from checked_lines(segment, last)))

    newest = deque(lines(), maxlen=1)
    return tails[0], newest[0] if newest else b""


def _mend(path: Path, tail: Tail, disk: Disk) -> int:
    """Cuts off what is torn and finishes a last line that lacks only its newline; the new size."""
    if not tail.torn and not tail.unfinished:
        return tail.size
    fd = disk.reopen(path)
    try:
        os.ftruncate(fd, tail.size)
        if tail.unfinished:
            disk.write(fd, b"\n")
        disk.sync(fd)
    finally:
        os.close(fd)
    return tail.size + tail.unfinished
