"""Snapshots: the State after record `seq`, so that a start need not fold the whole history.

One file, one line, sealed like a record: `{"v":1,"seq":n,"at":..,"state":<JSON of the caller>,"crc":".."}`. It is
written beside its place, synced and renamed, so a snapshot is whole or not there. What the state means is the
caller's matter; a snapshot is only ever a short cut, so a bad one is passed over with a warning, not refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from ipamd.core.events import FORMAT
from ipamd.core.types import Instant

from . import record
from .disk import Disk
from .errors import JournalFailed, LineError, NotARecord, UnknownVersion
from .segments import SnapshotFile, snapshot_path

Warn = Callable[[str], None]
_HEAD = re.compile(rb'\{"v":(\d+),"seq":(\d+),"at":(-?\d+),"state":')


class Snapshot(NamedTuple):
    """The State after record `seq`, which was made at `at` (ns since the epoch). `state` is JSON."""

    seq: int
    at: Instant
    state: msgspec.Raw


def write_snapshot(
    directory: Path, seq: int, at: Instant, state: bytes | msgspec.Raw, disk: Disk, sync: bool = True
) -> Path:
    """Writes the snapshot of record `seq`, which must be durable by now. Raises JournalFailed."""
    path = snapshot_path(directory, seq)
    line = record.seal(b'{"v":%d,"seq":%d,"at":%d,"state":%b' % (FORMAT, seq, at, bytes(state)))
    unfinished = path.with_suffix(".json.tmp")
    try:
        unfinished.unlink(missing_ok=True)
        fd = disk.create(unfinished)
        try:
            disk.write(fd, line)
            if sync:
                disk.sync(fd)
        finally:
            os.close(fd)
        os.rename(unfinished, path)
        if sync:
            disk.sync_directory(directory)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)  # a full disk needs the room
        raise JournalFailed.of(path, "writing the snapshot", error) from error
    return path


def read_snapshot(file: SnapshotFile) -> Snapshot:
    """The snapshot of a file. Raises LineTorn, CrcMismatch, NotARecord, UnknownVersion or OSError."""
    line = file.path.read_bytes()
    record.verify_crc(line)
    found = _HEAD.match(line)
    if found is None:
        raise NotARecord("not a snapshot")
    v, seq, at = int(found[1]), int(found[2]), int(found[3])
    if v > FORMAT:
        raise UnknownVersion(f"written in format {v}, this ipamd reads up to format {FORMAT}")
    if seq != file.seq:
        raise NotARecord(f"it is of record {seq}, its name says {file.seq}")
    end = len(line) - record.TAIL - line.endswith(b"\n")
    return Snapshot(seq, at, msgspec.Raw(line[found.end() : end]))


def good_snapshots(files: Iterable[SnapshotFile], warn: Warn) -> Iterator[Snapshot]:
    """Those of `files` that can be read, in the order given; each other one is named in a warning."""
    for file in files:
        try:
            yield read_snapshot(file)
        except (LineError, OSError) as error:
            warn(f"{file.path}: passed over: {error}; an older snapshot or the records themselves serve instead")


def remove_unfinished(directory: Path) -> None:
    """Removes what a crash left of a snapshot that was being written."""
    for path in sorted(directory.glob("snapshot-*.json.tmp")):
        path.unlink(missing_ok=True)
