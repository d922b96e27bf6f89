"""Setting a journal aside: another instance has another history, and each journal is that of one instance."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from ipamd.core.types import SECOND

from .disk import Disk
from .errors import JournalError, JournalFailed
from .lock import Lock
from .reading import bounds


def archive(directory: str | os.PathLike[str], disk: Disk | None = None) -> Path:
    """Moves a whole journal directory to `DIR/../<name>-archive/<time of its last record>-<last seq>`; its place.

    One rename, so it is moved or it is not. A damaged journal can be archived too, under the name `damaged`.
    Raises JournalLocked while a daemon writes it, JournalMissing, JournalFailed. The journal there is read like
    any other (`ipamd log show PATH`); the old place is free afterwards.
    """
    place = Path(os.path.abspath(directory))
    disk = disk or Disk()
    lock = Lock(place)
    try:
        shelf = place.parent / f"{place.name}-archive"
        shelf.mkdir(exist_ok=True)
        name = _name(place)
        target = shelf / name
        count = 1
        while target.exists():
            count += 1
            target = shelf / f"{name}-{count}"
        os.rename(place, target)
        disk.sync_directory(shelf)
        disk.sync_directory(place.parent)
    except OSError as error:
        raise JournalFailed.of(place, "archiving", error) from error
    finally:
        lock.release()
    return target


def _name(place: Path) -> str:
    """`20241121T225500Z-4711`: sorts by time, and says how much is in there."""
    try:
        ends = bounds(place)
    except JournalError:
        return "damaged"
    when = datetime.fromtimestamp(ends.last_at // SECOND, UTC)
    return f"{when:%Y%m%dT%H%M%SZ}-{ends.last_seq}"
