"""The few things the journal asks of a disk, in one place, so that a test can count them or make them fail.

Every method raises OSError as the operating system reports it; who calls turns it into JournalFailed.
"""

from __future__ import annotations

import os
from pathlib import Path


class Disk:
    """The real disk."""

    def create(self, path: Path) -> int:
        """A new, empty file for appending; its descriptor. Refuses a file that exists."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def reopen(self, path: Path) -> int:
        """An existing file for appending; its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def write(self, fd: int, payload: bytes) -> None:
        """All of `payload`, or OSError: a short write (a disk just full) is tried on to learn its error."""
        written = os.write(fd, payload)
        while written < len(payload):
            written += os.write(fd, payload[written:])

    def sync(self, fd: int) -> None:
        """Returns once what was written is on stable storage (content and size, not times)."""
        os.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        """Returns once the names in a directory are on stable storage."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
