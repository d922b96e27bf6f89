"""Following a journal while a daemon writes it, across segments and across a restart."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Final

from . import record
from .errors import JournalFailed, JournalMissing
from .reading import StrPath, last_position, seek
from .scan import Position, line_error
from .segments import Segment, Source, list_segments, locate

_CHUNK: Final = 1 << 20


class Follower:
    """Gives the lines of a journal as they come, from record `start_seq` on; `start_seq` -1: only new ones.

    Only whole lines are given; a partial one is looked at again next time, since a restart may cut it off and
    write another in its place. When the journal is archived under it, it goes on with the one that comes next.
    """

    def __init__(self, path: StrPath, start_seq: int = 0) -> None:
        self._source: Source = locate(path)
        self._start_seq = max(start_seq, 0)
        self._fd = -1
        self._segment = Segment(self._source.directory, 0)
        self._at = Position(0, 0)
        segments = self._source.segments()
        if start_seq < 0 and segments:
            self._begin(segments[-1])
            self._at = last_position(segments[-1])

    def poll(self) -> list[bytes]:
        """The whole lines that came since the last call, newline included, at most a mebibyte or so of them.

        Empty: there are none now. Raises JournalDamaged, UnknownVersion, JournalFailed.
        """
        try:
            while True:
                if self._fd < 0 and not self._open():
                    return []
                found = self._read()
                if found:
                    return found
                if not self._move_on():
                    return []
        except OSError as error:
            raise JournalFailed.of(self._segment.path, "reading", error) from error

    def close(self) -> None:
        """Lets go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> bool:
        segments = self._source.segments()
        if not segments:
            return False
        earlier = [segment for segment in segments if segment.first_seq <= self._start_seq]
        segment = earlier[-1] if earlier else segments[0]
        self._begin(segment)
        self._at = seek(segment, self._start_seq)
        return True

    def _begin(self, segment: Segment) -> None:
        self.close()
        self._fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        self._segment = segment
        self._at = Position(0, segment.first_seq)

    def _read(self) -> list[bytes]:
        """The next whole lines of the segment at hand that are wanted."""
        wanted: list[bytes] = []
        while not wanted:
            block = os.pread(self._fd, _CHUNK, self._at.offset)
            while b"\n" not in block and (more := os.pread(self._fd, _CHUNK, self._at.offset + len(block))):
                block += more
            lines = block.split(b"\n")[:-1]
            if not lines:
                break
            for text in lines:
                line = text + b"\n"
                self._check(line)
                if self._at.seq >= self._start_seq:
                    wanted.append(line)
                self._at = Position(self._at.offset + len(line), self._at.seq + 1)
        return wanted

    def _check(self, line: bytes) -> None:
        if not record.sealed(line[:-1]) or not record.begins(line, self._at.seq):
            raise line_error(self._segment, self._at, line)

    def _move_on(self) -> bool:
        """Goes to the segment that follows, or to the journal that took this one's place; False: there is none."""
        if self._source.file is not None or not self._source.directory.is_dir():
            return False
        segments = list_segments(self._source.directory)
        for segment in segments:
            if segment.first_seq == self._at.seq and segment.first_seq > self._segment.first_seq:
                self._begin(segment)
                return True
        if not segments or self._still_there():
            return False
        if segments[0].first_seq > self._at.seq:
            raise JournalMissing(
                f"{self._source.directory}: records {self._at.seq} to {segments[0].first_seq - 1} were dropped before "
                "they were read; follow again, or keep more (--journal-keep)"
            )
        self._start_seq = 0
        self._begin(segments[0])
        return True

    def _still_there(self) -> bool:
        """Whether the file being read is still the one that its path names."""
        try:
            return os.path.samestat(os.stat(self._segment.path), os.fstat(self._fd))
        except FileNotFoundError:
            return False


async def follow(path: StrPath, start_seq: int = 0, interval_s: float = 0.2) -> AsyncIterator[bytes]:
    """The lines of a journal as they come, for ever; looks every `interval_s` seconds. See Follower."""
    follower = Follower(path, start_seq)
    try:
        while True:
            for line in follower.poll():
                yield line
            await asyncio.sleep(interval_s)
    finally:
        follower.close()
