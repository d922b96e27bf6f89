"""Opening what somebody sent: files, gzip files, directories and tar archives, without trusting any of it.

Nothing is ever unpacked to disk, and no name inside an archive becomes a path. Refused are names that lead out of
the archive, links, devices, what unpacks to more than the bounds allow, and lines without an end.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, Final, Protocol

import msgspec

LINE_MAX: Final = 16 << 20
"""Bytes of one line. Messages with whole EC2 bodies have some 100 kB."""
_HEADER_MAX: Final = 1 << 20
"""Bytes of a long name or a PAX header: tarfile holds it in memory."""
_RATIO_FROM: Final = 64 << 20
_MEMBERS_MAX: Final = 100_000
_TAR_MAGIC_AT: Final = 257
_LONG: Final = frozenset({tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
                          tarfile.GNUTYPE_LONGLINK})  # fmt: skip


class Refused(Exception):
    """Input that is not read: its name, its size in bytes as far as it was read or claims to be, and why."""

    def __init__(self, name: str, size: int, why: str) -> None:
        super().__init__(f"{name[:300]} ({size} bytes): {why}")
        self.name = name[:300]
        self.size = size
        self.why = why


class Bounds(msgspec.Struct, frozen=True):
    """How much may come out of the inputs: bytes in all, and bytes out of one compressed byte (beyond 64 MiB)."""

    size_max: int = 8 << 30
    ratio_max: int = 250


class Part:
    """One file to be read: `name` as the bundle calls it, `at` its time in ns (0: unknown), `asked`: named by the user.

    `head` is what it begins with (64 KiB at most); reading begins there again.
    """

    HEAD: Final = 1 << 16

    def __init__(self, name: str, stream: BinaryIO, at: int, asked: bool) -> None:
        self.name = name
        self.at = at
        self.asked = asked
        self.stream = io.BufferedReader(_Raw(stream), Part.HEAD)
        self.damage = ""
        try:
            self.head = self.stream.peek(Part.HEAD)[: Part.HEAD]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.head, self.damage = b"", str(error)


class Meter:
    """Counts what came out of all inputs. Raises `Refused` beyond the bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.total = 0

    def count(self, name: str, out: int, here: int, packed: int) -> None:
        """`out` more bytes, `here` in all from this stream, which came from `packed` compressed ones (0: plain)."""
        self.total += out
        if packed and here > _RATIO_FROM and here > packed * self.bounds.ratio_max:
            raise Refused(name, here, f"unpacks to more than {self.bounds.ratio_max} times its {packed} bytes")
        if self.total > self.bounds.size_max:
            raise Refused(name, here, f"the inputs unpack to more than {self.bounds.size_max} bytes; see --max-bytes")


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Raw(io.RawIOBase):
    """Any reader as a raw stream, so that it can be buffered and peeked into."""

    def __init__(self, inner: _Readable) -> None:
        self._inner = inner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        read = self._inner.read(min(len(view), Part.HEAD))
        view[: len(read)] = read
        return len(read)


class _Metered(io.RawIOBase):
    """A stream whose bytes are counted. `packed` is the compressed stream below, where there is one."""

    def __init__(self, name: str, inner: _Readable, meter: Meter, packed: BinaryIO | None = None) -> None:
        self._name, self._inner, self._meter, self._packed = name, inner, meter, packed
        self._here = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        read = self._inner.read(min(size, 1 << 20) if size >= 0 else 1 << 20)
        self._here += len(read)
        packed = self._packed.tell() if self._packed is not None else 0
        self._meter.count(self._name, len(read), self._here, packed)
        return read

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        read = self.read(len(view))
        view[: len(read)] = read
        return len(read)


class _Careful(tarfile.TarInfo):
    """A header whose long name or PAX part is of a size that may be held in memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Careful:
        made = super().frombuf(buf, encoding, errors)
        if made.type in _LONG and made.size > _HEADER_MAX:
            raise Refused(made.name, made.size, f"a header of more than {_HEADER_MAX} bytes")
        return made


def parts(path: Path, meter: Meter, refused: list[Refused] | None) -> Iterator[Part]:
    """The files of one input, in its own order. `refused`: where to note what is passed over; None: raise it.

    Raises `Refused` and OSError. A part must be read before the next one is asked for.
    """
    if path.is_dir():
        yield from _of_directory(path, meter, refused)
        return
    if path.exists() and not path.is_file():
        raise Refused(path.name, 0, "neither a file nor a directory")
    with path.open("rb") as file:
        yield from _of_stream(path.name, file, int(path.stat().st_mtime_ns), meter, refused)


def _of_directory(path: Path, meter: Meter, refused: list[Refused] | None) -> Iterator[Part]:
    for place, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            full = Path(place) / name
            shown = str(full.relative_to(path))
            if full.is_symlink() or not full.is_file():
                _refuse(Refused(shown, 0, "a link or no regular file"), refused)
                continue
            with full.open("rb") as file:
                yield from _unpacked(shown, file, full.stat().st_mtime_ns, meter, asked=False)


def _of_stream(name: str, file: BinaryIO, at: int, meter: Meter, refused: list[Refused] | None) -> Iterator[Part]:
    """A tar archive's members, or the one file itself."""
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    try:
        begin = gzip.GzipFile(fileobj=file).read(512) if packed else file.read(512)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        begin = b""
    file.seek(0)
    if begin[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] != b"ustar":
        yield from _unpacked(name, file, at, meter, asked=True)
        return
    plain: _Readable = gzip.GzipFile(fileobj=file) if packed else file
    metered = _Metered(name, plain, meter, file if packed else None)
    yield from _of_tar(name, metered, meter, refused)


def _of_tar(name: str, stream: _Metered, meter: Meter, refused: list[Refused] | None) -> Iterator[Part]:
    count = 0
    try:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Careful) as tar:
            for member in tar:
                count += 1
                tar.members = []  # type: ignore[attr-defined]  # a stream is read once; what was read need not be remembered
                if count > _MEMBERS_MAX:
                    raise Refused(name, 0, f"an archive of more than {_MEMBERS_MAX} files")
                why = _hostile(member)
                if why:
                    _refuse(Refused(f"{name}: {member.name}", member.size, why), refused)
                elif member.isfile():
                    inner = tar.extractfile(member)
                    assert inner is not None
                    at = int(member.mtime * 1_000_000_000) if 0 < member.mtime < 7e9 else 0
                    yield from _unpacked(member.name.removeprefix("./"), inner, at, meter, asked=False, counted=True)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        part = Part(name, io.BytesIO(), 0, asked=False)
        part.damage = f"the archive is damaged or cut after {count} files: {error}"
        yield part


def _hostile(member: tarfile.TarInfo) -> str:
    """Why a member is not taken; "" for an ordinary file or directory."""
    pieces = member.name.replace("\\", "/").split("/")
    if member.name.startswith(("/", "\\")) or ".." in pieces or "\0" in member.name:
        return "its name leads out of the archive"
    if member.issym() or member.islnk():
        return f"a link (to {member.linkname[:100]})"
    if not (member.isfile() or member.isdir()):
        return "neither a file nor a directory"
    return ""


def _unpacked(
    name: str, file: BinaryIO | IO[bytes], at: int, meter: Meter, *, asked: bool, counted: bool = False
) -> Iterator[Part]:  # fmt: skip
    """The file itself, or what a gzip file holds. `counted`: its bytes are counted by what it comes from."""
    stream = io.BufferedReader(_Raw(file), 1 << 16)
    if stream.peek(2)[:2] != b"\x1f\x8b":
        yield Part(name, stream if counted else _Metered(name, stream, meter), at, asked)  # type: ignore[arg-type]
        return
    below = _Tell(stream)
    plain = gzip.GzipFile(fileobj=below)
    yield Part(name, _Metered(name, plain, meter, below), at, asked)  # type: ignore[arg-type]


class _Tell(io.RawIOBase):
    """A stream that knows how many bytes it gave, also where it cannot be asked."""

    def __init__(self, inner: _Readable) -> None:
        self._inner = inner
        self._gave = 0

    def read(self, size: int = -1, /) -> bytes:
        read = self._inner.read(size)
        self._gave += len(read)
        return read

    def tell(self) -> int:
        return self._gave


def _refuse(found: Refused, refused: list[Refused] | None) -> None:
    if refused is None:
        raise found
    refused.append(found)
