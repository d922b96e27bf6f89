"""The plugin's log: one JSON object a line with `level`, `ts`, `caller` and `msg`, as upstream's plugin.log.

The log never harms the answer: what cannot be written is dropped. "" and `stderr` mean stderr, and so does
`stdout`, which belongs to the result alone (upstream would write there and spoil it). A file is rotated at
100 MB, with at most five older ones of at most 30 days beside it, named as upstream names them; they are not
compressed, since this process would make a pod wait for it.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

LEVELS = {"debug": 0, "info": 1, "warn": 2, "error": 3, "fatal": 4}
FILE_MAX = 100 << 20  # bytes
BACKUPS_MAX = 5
BACKUP_AGE_MAX = 30 * 86_400  # seconds
OPEN_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not block us


class Log:
    """A destination and the lowest level that is written (unknown levels mean debug)."""

    def __init__(self, file: str, level: str, stderr: TextIO | None) -> None:
        self._stderr = stderr
        self._threshold = LEVELS.get(level.lower(), 0)
        self._fd = -1 if file in ("", "stderr", "stdout") else _open(file)
        self._to_file = file not in ("", "stderr", "stdout")
        self.debug("Constructed new logger instance")

    def debug(self, msg: str) -> None:
        """A step that is only of interest when something is sought."""
        self._write("debug", msg)

    def info(self, msg: str) -> None:
        """A request, a reply, a change of the host."""
        self._write("info", msg)

    def error(self, msg: str) -> None:
        """A failure; the runtime may or may not be told."""
        self._write("error", msg)

    def close(self) -> None:
        """Give the file back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, level: str, msg: str) -> None:
        if LEVELS[level] < self._threshold or (self._to_file and self._fd < 0):
            return
        import json

        frame = sys._getframe(2)  # who called debug, info or error
        folder, _, name = frame.f_code.co_filename.rpartition("/")
        caller = f"{folder.rpartition('/')[2]}/{name}:{frame.f_lineno}"
        line = json.dumps(
            {"level": level, "ts": timestamp(time.time()), "caller": caller, "msg": msg},
            separators=(",", ":"),
        )
        try:
            if self._to_file:
                os.write(self._fd, f"{line}\n".encode("ascii"))
            elif self._stderr:
                self._stderr.write(f"{line}\n")
        except (OSError, ValueError):
            return


def timestamp(seconds: float) -> str:
    """ISO 8601 with milliseconds in the host's zone: `2024-03-10T17:25:08.487Z` or `...+0200`."""
    local = time.localtime(seconds)
    zone = time.strftime("%z", local) if local.tm_gmtoff else "Z"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{int(seconds * 1000) % 1000:03d}{zone}"


def _open(file: str) -> int:
    """A descriptor for appending to `file`, rotated first when it is full; -1 when that cannot be had."""
    try:
        folder = os.path.dirname(file)
        if folder:
            os.makedirs(folder, exist_ok=True)
        fd = os.open(file, OPEN_FLAGS, 0o600)
        if os.fstat(fd).st_size >= FILE_MAX:
            os.close(fd)
            fd = _rotated(file)
    except (OSError, ValueError):
        return -1
    return fd


def _rotated(file: str) -> int:
    """A descriptor of a fresh `file`; of several processes only one moves the full one aside."""
    import fcntl

    full = os.open(file, OPEN_FLAGS, 0o600)
    try:
        fcntl.flock(full, fcntl.LOCK_EX)
        mine, named = os.fstat(full), os.stat(file)
        if (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino) and mine.st_size >= FILE_MAX:
            now = time.time()
            base, suffix = os.path.splitext(file)
            stamp = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime(now))
            os.rename(file, f"{base}-{stamp}.{int(now * 1000) % 1000:03d}{suffix}")
            _prune(base, suffix, now)
        return os.open(file, OPEN_FLAGS, 0o600)
    finally:
        os.close(full)


def _prune(base: str, suffix: str, now: float) -> None:
    """Remove older files beyond the newest five or older than 30 days."""
    folder, stem = os.path.split(base)
    marks = [
        name
        for name in os.listdir(folder or ".")
        if name.startswith(f"{stem}-") and name.endswith(suffix) and len(name) == len(stem + suffix) + 24
    ]
    for at, name in enumerate(sorted(marks, reverse=True)):
        path = os.path.join(folder, name)
        if at >= BACKUPS_MAX or now - os.stat(path).st_mtime > BACKUP_AGE_MAX:
            os.unlink(path)
