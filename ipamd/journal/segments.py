"""Names on disk, and where a journal lies.

    DIR/00000000000000000001.jsonl      a segment, named after its first record
    DIR/snapshot-00000000000000004711.json
    DIR/lock                            held by the daemon that writes

A segment ends where the next one begins; names sort as their records do.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

from . import record
from .errors import JournalMissing

LOCK_NAME: Final = "lock"
_NAME_ONE: Final = "name a state directory, a journal directory or a journal file"
_SEGMENT = re.compile(r"(\d{20})\.jsonl")
_SNAPSHOT = re.compile(r"snapshot-(\d{20})\.json")


class Segment(NamedTuple):
    """One file of records; `first_seq` is that of its first line, also while it is still empty."""

    path: Path
    first_seq: int


class SnapshotFile(NamedTuple):
    """One file that holds the State after record `seq`. Whether it is good is known only by reading it."""

    path: Path
    seq: int


def segment_path(directory: Path, first_seq: int) -> Path:
    """Where the segment that begins with `first_seq` lies."""
    return directory / f"{first_seq:020d}.jsonl"


def snapshot_path(directory: Path, seq: int) -> Path:
    """Where the snapshot taken after record `seq` lies."""
    return directory / f"snapshot-{seq:020d}.json"


def list_segments(directory: Path) -> list[Segment]:
    """The segments of a journal directory, oldest first. Other files are no concern of ours."""
    return [Segment(path, seq) for path, seq in _named(directory, _SEGMENT)]


def list_snapshots(directory: Path) -> list[SnapshotFile]:
    """The snapshots of a journal directory, oldest first, good or not."""
    return [SnapshotFile(path, seq) for path, seq in _named(directory, _SNAPSHOT)]


def _named(directory: Path, pattern: re.Pattern[str]) -> list[tuple[Path, int]]:
    found = [(name, match) for name in os.listdir(directory) if (match := pattern.fullmatch(name))]
    return [(directory / name, int(match[1])) for name, match in sorted(found, key=lambda pair: pair[0])]


class Source(NamedTuple):
    """What JOURNAL on a command line means: a journal directory, or (`file` set) one file of records."""

    directory: Path
    file: Path | None = None

    def segments(self) -> list[Segment]:
        """The segments to read, oldest first."""
        if self.file is None:
            return list_segments(self.directory)
        return [Segment(self.file, _first_seq(self.file))]

    def snapshots(self) -> list[SnapshotFile]:
        """The snapshots beside them, oldest first; a single file is read without any."""
        return list_snapshots(self.directory) if self.file is None else []


def locate(path: str | os.PathLike[str]) -> Source:
    """Finds the journal: a state directory (which has `journal/`), a journal directory, or a single file.

    Raises JournalMissing where there is none.
    """
    place = Path(path)
    if place.is_file():
        if _foreign(place):
            raise JournalMissing(f"{place}: not a journal; {_NAME_ONE}")
        return Source(place.parent, place)
    if place.is_dir():
        if list_segments(place) or list_snapshots(place):
            return Source(place)
        if (place / "journal").is_dir():
            return Source(place / "journal")
        if (place / LOCK_NAME).exists():
            return Source(place)
        fact = "holds neither segments (*.jsonl) nor a directory journal/"
    else:
        fact = "does not exist"
    raise JournalMissing(f"{place}: {fact}; {_NAME_ONE}")


def _foreign(path: Path) -> bool:
    """Whether a file that is not named as a segment does not begin as one either."""
    if _SEGMENT.fullmatch(path.name):
        return False
    with path.open("rb") as file:
        begin = file.read(len(record.BEGIN))
    return begin != record.BEGIN[: len(begin)]


def _first_seq(path: Path) -> int:
    """The seq of a file's first line; what its name says where the line does not tell; else 1."""
    with path.open("rb") as file:
        head = record.head(file.readline())
    if head is not None:
        return head.seq
    named = _SEGMENT.fullmatch(path.name)
    return int(named[1]) if named else 1
