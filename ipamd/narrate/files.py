"""A log file that rotates as upstream's does: 100 MB, five backups, thirty days, gzip (ENV-36).

ipamd.log                                   what is being written
ipamd-2024-03-10T17-25-08.487.log           just rotated
ipamd-2024-03-10T17-25-08.487.log.gz        a moment later, in a thread of its own
"""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

BYTES_MAX: Final = 100 * 1024 * 1024
BACKUPS: Final = 5
DAYS: Final = 30
_STAMP: Final = "%Y-%m-%dT%H-%M-%S"
_DAY: Final = 86_400.0


class LogFile:
    """Whole lines to a file. Opening raises OSError; a write that fails is dropped, and stderr is told once."""

    def __init__(
        self,
        path: Path,
        *,
        bytes_max: int = BYTES_MAX,
        backups: int = BACKUPS,
        days: int = DAYS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._backups = backups
        self._days = days
        self._clock = clock
        self._lock = threading.Lock()
        self._tidying: threading.Thread | None = None
        self._complaints: set[str] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size

    def write(self, text: bytes) -> None:
        """Append; the file rotates first when it would grow past its bound. Callable from any thread."""
        with self._lock:
            if self._fd < 0:
                return
            try:
                if self._size and self._size + len(text) > self._bytes_max:
                    self._rotate()
            except OSError as error:
                self._complain(error, "cannot rotate and grows on")
            try:
                left = memoryview(text)
                while left:
                    written = os.write(self._fd, left)
                    self._size += written
                    left = left[written:]
            except OSError as error:
                self._complain(error, "loses lines until it can be written")

    def close(self, wait: float = 0.5) -> None:
        """End. Seconds are waited for a compression; what it leaves undone, the next rotation does."""
        with self._lock:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)
        if self._tidying is not None:
            self._tidying.join(wait)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _rotate(self) -> None:
        """The old file goes on being written if a new one cannot be had."""
        os.rename(self._path, self._free_name())
        fd = self._open()
        os.close(self._fd)
        self._fd = fd
        self._size = os.fstat(fd).st_size
        if self._tidying is None or not self._tidying.is_alive():
            self._tidying = threading.Thread(target=self._tidy, name="log files", daemon=True)
            self._tidying.start()

    def _free_name(self) -> Path:
        """Named after now; two rotations within a millisecond get two names."""
        milliseconds = int(self._clock() * 1000)
        while True:
            stamp = f"{datetime.fromtimestamp(milliseconds // 1000, UTC):{_STAMP}}.{milliseconds % 1000:03}"
            name = self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}")
            if not name.exists() and not _compressed(name).exists():
                return name
            milliseconds += 1

    def _tidy(self) -> None:
        """Compress what was rotated, then drop what is too many or too old."""
        try:
            while rotated := [name for name in self._rotated() if name.suffix != ".gz"]:
                for name in rotated:
                    _compress(name)
            eldest = self._clock() - self._days * _DAY
            kept = self._rotated()
            for position, name in enumerate(reversed(kept)):
                if position >= self._backups or name.stat().st_mtime < eldest:
                    name.unlink(missing_ok=True)
        except OSError as error:
            self._complain(error, "keeps old files")

    def _rotated(self) -> list[Path]:
        """Oldest first; the names sort by time."""
        stem, suffix = self._path.stem, self._path.suffix
        length = len(f"{stem}-2024-03-10T17-25-08.487{suffix}")
        found = []
        for name in self._path.parent.iterdir():
            bare = name.name.removesuffix(".gz")
            if len(bare) == length and bare.startswith(f"{stem}-") and bare.endswith(suffix):
                found.append(name)
        return sorted(found)

    def _complain(self, error: OSError, effect: str) -> None:
        """Once for each effect: the next line would only say it again."""
        if effect not in self._complaints:
            self._complaints.add(effect)
            sys.stderr.write(f"log file {self._path}: {error.strerror or error}; it {effect}\n")


def _compressed(name: Path) -> Path:
    return name.with_name(f"{name.name}.gz")


def _compress(name: Path) -> None:
    """Whole or not at all: a crash leaves the rotated file and at most a `.part` that is written again."""
    part = name.with_name(f"{name.name}.gz.part")
    with name.open("rb") as source, gzip.open(part, "wb", compresslevel=6) as target:
        shutil.copyfileobj(source, target, 1 << 20)
    os.chmod(part, 0o600)
    os.replace(part, _compressed(name))
    name.unlink()
