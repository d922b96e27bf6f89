"""One daemon a journal: an flock on DIR/lock, which the kernel releases however the process ends."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from .errors import JournalFailed, JournalLocked
from .segments import LOCK_NAME

_LOCKS: Final = Path("/proc/locks")
"""`1: FLOCK ADVISORY WRITE 4711 08:01:1234567 0 EOF`: the fifth word is the holder, the sixth ends with the inode."""


class Lock:
    """Held from construction until `release`. Raises JournalLocked, naming the directory and the holder's pid."""

    def __init__(self, directory: Path) -> None:
        path = directory / LOCK_NAME
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise JournalFailed.of(path, "opening the lock file", error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(fd)
            os.close(fd)
            raise JournalLocked(
                f"{directory}: {holder} writes this journal; stop it first, or name another --state-dir"
            ) from error
        except OSError as error:
            os.close(fd)
            raise JournalFailed.of(path, "locking", error) from error
        try:
            if not os.path.samestat(os.fstat(fd), os.stat(path)):
                raise FileNotFoundError(errno.ENOENT, "the journal was archived at this moment", str(path))
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        except OSError as error:
            os.close(fd)
            raise JournalFailed.of(path, "writing the pid", error) from error
        self._fd = fd

    def release(self) -> None:
        """Lets the next process in. A second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def holder(directory: Path) -> str | None:
    """Who writes the journal at this moment: "process 4711", "" for nobody, None where the kernel does not tell.

    Trying the lock would tell too, but a daemon that starts at this very moment would find it taken.
    """
    try:
        inode = os.stat(directory / LOCK_NAME).st_ino
        rows = [line.split() for line in _LOCKS.read_text("ascii").splitlines()]
    except FileNotFoundError:
        return "" if _LOCKS.exists() else None
    except (OSError, ValueError):
        return None
    found = [row[4] for row in rows if len(row) > 5 and row[1] == "FLOCK" and row[5].endswith(f":{inode}")]
    return f"process {found[0]}" if found else ""


def _holder(fd: int) -> str:
    text = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
    return f"process {text}" if text.isdigit() else "another process"
