"""The embedded cloud's memory: DIR/cloud/cloud.jsonl, one change a line, on disk before the change is told.

    {"type":"Image","format":1,"seed":0,"rows":4,...,"crc":"5d3a0f11"}     an image begins: so many lines follow
    {"type":"Kept","row":{"type":"VpcRow",...},"crc":"..."}                 one thing of the image
    {"type":"Changed","serial":5,"at":..,"call":{..},"rows":[..],"crc":".."}  one change after it, no serial left out

The CRC-32 (zlib, lower-case hex) is of the bytes before `,"crc"`. A last line without its end was never told to
anyone and is dropped; every other damage is refused. A compacted log is the same thing with a newer image; it
takes the old one's place by rename. `DIR/cloud/lock` is held while a process has the log open.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from ipamd.core.calls import Ec2Call
from ipamd.core.types import Instant

from .requests import Request
from .rows import Row

FORMAT: Final = 1
MARK: Final = b',"crc":"'
TAIL_LENGTH: Final = len(MARK) + len('xxxxxxxx"}')


class CloudError(Exception):
    """The embedded cloud cannot be used: what, why, and what to do."""


class CloudLocked(CloudError):
    """Another process has the cloud open."""


class CloudDamaged(CloudError):
    """The log is not what was written."""

    def __init__(self, path: Path, line: int, fact: str) -> None:
        super().__init__(
            f"{path}, line {line}: {fact}; restore the file from a backup, "
            f"or move {path.parent} away to begin with a new cloud"
        )
        self.path = path
        self.line = line


class Image(msgspec.Struct, frozen=True, omit_defaults=True, tag=True):
    """First line: the cloud's state at `serial`, of which `rows` lines follow."""

    format: int
    seed: int
    serial: int
    at: Instant
    rows: int


class Kept(msgspec.Struct, frozen=True, omit_defaults=True, tag=True):
    """One row of the image."""

    row: Row


class Changed(msgspec.Struct, frozen=True, omit_defaults=True, tag=True):
    """One change: the rows it made and the call that asked for it (none for a change from outside EC2's API)."""

    serial: int
    at: Instant
    rows: tuple[Row, ...]
    instance: str = ""
    call_id: int = 0
    call: Ec2Call | None = None
    request: Request | None = None
    """What asked for it, where it was not one of ipamd's own calls."""
    settled: bool = False
    """Whether instance metadata showed it at once."""


Line: TypeAlias = Image | Kept | Changed
_DECODER: Final[msgspec.json.Decoder[Line]] = msgspec.json.Decoder(Line)


def encode(line: Line) -> bytes:
    """One line with its checksum and its end."""
    body = msgspec.json.encode(line)[:-1]
    return b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body))


def image(rows: Sequence[Row], seed: int, serial: int, at: Instant) -> bytes:
    """The lines of a whole image."""
    head = Image(FORMAT, seed, serial, at, len(rows))
    return encode(head) + b"".join(encode(Kept(row)) for row in rows)


class CloudLog:
    """The log of one cloud, open for appending and locked. Methods block; call them in a thread."""

    def __init__(self, directory: Path) -> None:
        """Lock `directory`, made if missing. Raises `CloudLocked` or `CloudError`."""
        self.path = directory / "cloud.jsonl"
        self.size = 0
        """Bytes of the log."""
        self._fd = -1
        try:
            if not directory.is_dir():
                directory.mkdir(parents=True)
                _sync_directory(directory.parent)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise CloudError(
                f"{directory}: cannot keep the embedded cloud here: {error.strerror}; "
                "choose a directory that can be written to"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._lock)
            raise CloudLocked(
                f"{directory}: in use by another process (pid {holder}); stop it or choose another directory"
            ) from error
        os.truncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def read(self) -> list[Line]:
        """Every line, in order; none if there is no log yet. Then the log is ready to be appended to.

        A torn last line is cut off. Raises `CloudDamaged` for anything else that was not written so.
        """
        try:
            held = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CloudError(f"{self.path}: cannot be read: {error.strerror}; make it readable") from error
        *whole, rest = held.split(b"\n")
        if _is_sealed(rest[:-1]):
            raise CloudDamaged(self.path, len(whole) + 1, "the line does not end where it should")
        if _is_sealed(rest):  # all but its line end: written whole, and perhaps told
            whole.append(rest)
            rest = b""
        lines = [self._decode(number, text) for number, text in enumerate(whole, 1)]
        self._check_order(lines)
        self._open(sum(map(len, whole)) + len(whole))
        if self.size != len(held):
            self._mend(held[: self.size])
        return lines

    def append(self, lines: bytes) -> None:
        """Write and sync whole lines. Raises OSError; the log may then end in a torn line."""
        _write(self._fd, lines)
        os.fdatasync(self._fd)
        self.size += len(lines)

    def replace(self, lines: bytes) -> None:
        """Put an image in place of the whole log, by rename. Raises OSError; the old log is then as it was."""
        fresh = self.path.with_name("cloud.jsonl.new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            _write(fd, lines)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(fresh, self.path)
        _sync_directory(self.path.parent)
        self._open(len(lines))

    def close(self) -> None:
        """Let the next process in."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _open(self, size: int) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self.size = size

    def _mend(self, good: bytes) -> None:
        """Cut a torn line off, or give the last line its end."""
        try:
            os.ftruncate(self._fd, min(self.size, len(good)))
            _write(self._fd, b"\n" * (self.size - len(good)))
            os.fsync(self._fd)
        except OSError as error:
            raise CloudError(f"{self.path}: cannot be written: {error.strerror}; free the disk") from error

    def _decode(self, number: int, text: bytes) -> Line:
        if not _is_sealed(text):
            raise CloudDamaged(self.path, number, "the checksum does not fit the line")
        try:
            return _DECODER.decode(text)
        except msgspec.MsgspecError as error:
            raise CloudDamaged(self.path, number, f"not a line of this format ({error})") from error

    def _check_order(self, lines: list[Line]) -> None:
        """The first line is an image's head, its rows follow, then changes without a gap."""
        head = lines[0] if lines else None
        if not isinstance(head, Image):
            raise CloudDamaged(self.path, 1, "the log does not begin with an image")
        if head.format != FORMAT:
            raise CloudDamaged(self.path, 1, f"format {head.format} where this version writes {FORMAT}")
        if len(lines) <= head.rows:
            raise CloudDamaged(self.path, len(lines) + 1, f"the image ends before its {head.rows} rows")
        serial = head.serial
        for number, line in enumerate(lines[1:], 2):
            if number <= head.rows + 1:
                if not isinstance(line, Kept):
                    raise CloudDamaged(self.path, number, f"{type(line).__name__} inside the image")
            elif not isinstance(line, Changed) or line.serial != serial + 1:
                raise CloudDamaged(self.path, number, f"want change {serial + 1} here")
            else:
                serial = line.serial


def _is_sealed(text: bytes) -> bool:
    """Whether a line ends in the checksum of what stands before it."""
    body, tail = text[:-TAIL_LENGTH], text[-TAIL_LENGTH:]
    return tail == b'%b%08x"}' % (MARK, zlib.crc32(body))


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write(fd: int, held: bytes) -> None:
    rest = memoryview(held)
    while rest:
        rest = rest[os.write(fd, rest) :]
