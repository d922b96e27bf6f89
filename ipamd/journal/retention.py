"""What may be forgotten: whole segments, oldest first, and never one that a start would need.

A segment may go only when a good snapshot stands for its last record; the newest one therefore never goes, and
without a snapshot nothing goes. Snapshots that lie before the oldest kept record go with their records, except
the one that stands exactly before it.

       seg 1      seg 101      seg 201      seg 301
    |---------|------S-----|---S--------|---------
                     150       230           keep says: drop as much as you can
              `-- droppable: 1 and 101, whose records end at 200 <= 230; then snapshot 150 goes too
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from ipamd.core.types import SECOND, Instant

from . import record
from .disk import Disk
from .errors import JournalFailed
from .segments import Segment, list_segments, list_snapshots
from .snapshots import Warn, good_snapshots

DAY_NS: Final = 86_400 * SECOND
_SIZES: Final = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40
}  # fmt: skip
_AGES: Final = {"s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": DAY_NS}
_LIMIT = re.compile(r"(\d{1,15})\s*([A-Za-z]+)")


class Keep(msgspec.Struct, frozen=True):
    """How much history is kept: what exceeds either limit may go. None: no limit of that kind."""

    size: int | None = None
    """Bytes of segments and snapshots together."""
    age_ns: int | None = None
    """A segment whose newest record is older may go."""


KEEP: Final = Keep(1 << 30, 30 * DAY_NS)
"""The default: 1 GiB or 30 days."""


def parse_keep(text: str) -> Keep:
    """`1GiB`, `500MB`, `30d`, `12h`, or one of each: `1GiB,30d`; `all`: no limit. Raises ValueError."""
    if text.strip() == "all":
        return Keep()
    limits: dict[str, int] = {}
    for part in text.split(","):
        found = _LIMIT.fullmatch(part.strip())
        kind = "" if found is None else "size" if found[2] in _SIZES else "age_ns" if found[2] in _AGES else ""
        if found is None or not kind or kind in limits:
            raise ValueError(
                f"{text!r}: want a size (500MB, 1GiB), an age (12h, 30d), both with a comma between, or all"
            )
        limits[kind] = int(found[1]) * (_SIZES | _AGES)[found[2]]
    return Keep(**limits)


class Dropped(msgspec.Struct, frozen=True):
    """What a retention run removed."""

    segments: tuple[Path, ...]
    snapshots: tuple[Path, ...]
    first_seq: int
    """The oldest record now kept."""


def retain(directory: Path, keep: Keep, now: Instant, disk: Disk, warn: Warn) -> Dropped:
    """Drops what `keep` allows and no start needs. Blocking. Raises JournalFailed; readers must expect it.

    Oldest first, each name durable before a later one goes, so that a crash leaves a journal without gaps.
    """
    try:
        segments = list_segments(directory)
        files = list_snapshots(directory)
        gone = _droppable(directory, segments, keep, now, warn)
        for segment in segments[:gone]:
            segment.path.unlink(missing_ok=True)
            disk.sync_directory(directory)
        first_seq = segments[gone].first_seq if segments else 1
        stale = [file.path for file in files if file.seq < first_seq - 1]
        for path in stale:
            path.unlink(missing_ok=True)
        if stale:
            disk.sync_directory(directory)
    except OSError as error:
        raise JournalFailed.of(directory, "dropping old records", error) from error
    return Dropped(tuple(segment.path for segment in segments[:gone]), tuple(stale), first_seq)


def _droppable(directory: Path, segments: list[Segment], keep: Keep, now: Instant, warn: Warn) -> int:
    """How many of the oldest segments may go and are to go."""
    files = list_snapshots(directory)
    newest = next(good_snapshots(reversed(files), warn), None)
    if newest is None:
        return 0
    sizes = {path: path.stat().st_size for path in [s.path for s in segments] + [f.path for f in files]}
    total = sum(sizes.values())
    gone = 0
    for segment, following in pairwise(segments):
        if following.first_seq - 1 > newest.seq:
            break
        too_much = keep.size is not None and total > keep.size
        if not too_much and not _too_old(following, keep, now):
            break
        total -= sizes[segment.path]
        total -= sum(sizes[f.path] for f in files if segment.first_seq - 1 <= f.seq < following.first_seq - 1)
        gone += 1
    return gone


def _too_old(following: Segment, keep: Keep, now: Instant) -> bool:
    """Whether a segment's newest record is past its age; the next segment's first one is not older than it."""
    if keep.age_ns is None:
        return False
    with following.path.open("rb") as file:
        head = record.head(file.readline())
    return head is not None and head.at < now - keep.age_ns
