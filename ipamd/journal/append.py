"""Writing lines: into the newest segment, on into a new one when that is full, and onto stable storage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from .disk import Disk
from .errors import JournalFailed
from .segments import segment_path

SEGMENT_BYTES: Final = 64 << 20
"""A segment is closed before it would grow beyond this. Retention drops whole segments."""


class Appender:
    """The writing end of a journal directory. Blocking; one thread at a time.

    `next_seq` is the seq of the next line to be written, `size` the bytes in the newest segment; `waits` says that
    `append` returns only once the disk has synced. After a JournalFailed the object is of no more use.
    """

    def __init__(self, directory: Path, disk: Disk, segment_bytes: int, sync: bool) -> None:
        self._directory = directory
        self.disk = disk
        self._segment_bytes = segment_bytes
        self.waits = sync
        self._fd = -1
        self.path = directory
        self.size = 0
        self.next_seq = 1

    def resume(self, path: Path | None, size: int, next_seq: int) -> None:
        """Begins at the end of the newest segment, which holds `size` good bytes; None: there is no segment yet."""
        self.size, self.next_seq = size, next_seq
        if path is not None:
            self.path = path
            try:
                self._fd = self.disk.reopen(path)
            except OSError as error:
                raise JournalFailed.of(path, "opening for writing", error) from error

    def append(self, lines: list[bytes]) -> None:
        """Writes the lines in order and returns once all of them are on disk. Raises JournalFailed."""
        try:
            payload = b"".join(lines)
            if self._fd >= 0 and self.size + len(payload) <= self._segment_bytes:
                self._write(payload, len(lines))
            else:
                self._write_across(lines)
            if self.waits:
                self.disk.sync(self._fd)
        except OSError as error:
            raise JournalFailed.of(self.path, "writing", error) from error

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, payload: bytes, count: int) -> None:
        self.disk.write(self._fd, payload)
        self.size += len(payload)
        self.next_seq += count

    def _write_across(self, lines: list[bytes]) -> None:
        """Writes lines that may not all fit into the newest segment. A line is never split."""
        if self._fd < 0:
            self._rotate()
        room = self._segment_bytes - self.size
        part: list[bytes] = []
        for line in lines:
            if len(line) > room and (part or self.size):
                self._write(b"".join(part), len(part))
                self._rotate()
                room, part = self._segment_bytes, []
            part.append(line)
            room -= len(line)
        self._write(b"".join(part), len(part))

    def _rotate(self) -> None:
        """Closes the newest segment for good and begins the next one; its name is durable before its content."""
        if self._fd >= 0:
            if self.waits:
                self.disk.sync(self._fd)
            os.close(self._fd)
            self._fd = -1
        self.path = segment_path(self._directory, self.next_seq)
        self.size = 0
        self._fd = self.disk.create(self.path)
        if self.waits:
            self.disk.sync_directory(self._directory)
