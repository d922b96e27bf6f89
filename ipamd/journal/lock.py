"""One daemon a journal: an flock on DIR/lock, which the kernel releases however the process ends."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from .errors import JournalFailed, JournalLocked
from .segments import LOCK_NAME


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


def _holder(fd: int) -> str:
    text = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
    return f"process {text}" if text.isdigit() else "another process"
