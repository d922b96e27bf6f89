"""Reading one segment with every check, and telling a write that did not finish from damage.

A record is answered only after its fsync, and an fsync covers everything before it. So bytes may be dropped only
when they can be the trace of a write whose fsync never returned. In the last segment, after the last good line:

1. Bytes without a newline are torn. If they hold a whole record whose CRC is right (only its newline, or blanks
   that the file system left after it, went astray), the record is kept and its line is finished.
2. A line with a newline and a wrong CRC is torn only where it holds a hole: NUL bytes, which JSON never has, that
   end on a sector boundary and begin on one or at the line's first byte. Such are blocks that were given to
   the file but not written before the power failed.
   a. A hole at the line's first byte, inside a sector, begins where the file ended at its last fsync: the disk
      itself loses whole sectors, so this can be no decay. It and all after it are torn.
   b. Another hole is torn if no good line follows it; else a durable record may have decayed: damage.
3. Anything else is damage: a flipped bit, an edited line, a missing record. Nothing is changed on disk then.

In every other segment whatever is not a good line is damage.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Generator
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from ipamd.core.events import FORMAT

from . import record
from .errors import JournalDamaged, LineError, NotARecord, UnknownVersion
from .segments import Segment

SECTOR: Final = 512
_BLOCK: Final = 1 << 20
_HOLE = re.compile(rb"\0+")
_HEAD: Final = b'{"v":%d,"seq":%%d,' % FORMAT


class Tail(NamedTuple):
    """How a segment ends."""

    size: int
    """Bytes of the file that stay; the next record is appended here."""
    next_seq: int
    torn: int = 0
    """Bytes after `size` that are the trace of an unfinished write."""
    unfinished: bool = False
    """The last record is whole but for its newline."""


class Position(NamedTuple):
    """Where in a segment to begin: the byte offset of a line, and the seq that line must have."""

    offset: int
    seq: int


def checked_lines(segment: Segment, last: bool, start: Position | None = None) -> Generator[bytes, None, Tail]:
    """Every line of a segment, newline included, each with CRC, version and seq checked; ends with its Tail.

    Memory is flat. `last`: it is the newest segment, so its end may be torn. Raises JournalDamaged,
    UnknownVersion (both with file and line) and OSError.
    """
    offset, seq = start or Position(0, segment.first_seq)
    with segment.path.open("rb", buffering=_BLOCK) as file:
        file.seek(offset)
        for line in file:
            if line[-19:] != b',"crc":"%08x"}\n' % crc32(line[:-19]) or not line.startswith(_HEAD % seq):
                return (yield from _odd_line(segment, last, line, Position(offset, seq)))
            yield line
            offset += len(line)
            seq += 1
    return Tail(offset, seq)


def _odd_line(segment: Segment, last: bool, line: bytes, at: Position) -> Generator[bytes, None, Tail]:
    """A line that is not the good line expected: ends the segment if it is torn, else raises."""
    if line.endswith(b"\n") and record.sealed(line[:-1]):
        raise _misfit(segment, line, at, last)
    if not last:
        raise damaged(segment, at, _fact(line), last)
    if line.endswith(b"\n"):
        with segment.path.open("rb") as file:
            file.seek(at.offset)
            torn = _torn(file.read(), at.offset)
        if torn is None:
            raise damaged(segment, at, _fact(line), last)
        return Tail(at.offset, at.seq, torn)
    whole = _whole_record(line)
    if whole is None:
        return Tail(at.offset, at.seq, len(line))
    if not whole.startswith(_HEAD % at.seq):
        raise _misfit(segment, whole, at, last)
    yield whole + b"\n"
    return Tail(at.offset + len(whole), at.seq + 1, len(line) - len(whole), unfinished=True)


def _whole_record(rest: bytes) -> bytes | None:
    """The record in a line without newline, if all of it is there: rule 1."""
    text = rest.rstrip(b"\0")
    for whole in (text, text[:-1]):
        if record.sealed(whole):
            return whole
    return None


def _torn(rest: bytes, offset: int) -> int | None:
    """Bytes of `rest` (from a bad line at `offset` to the end of the file) that are torn, or None: rule 2."""
    line, _, after = rest.partition(b"\n")
    for hole in _HOLE.finditer(line):
        if (offset + hole.end()) % SECTOR:
            continue
        begins_sector = (offset + hole.start()) % SECTOR == 0
        if hole.start() == 0 and not begins_sector:
            return len(rest)
        if (hole.start() == 0 or begins_sector) and not any(map(record.sealed, after.split(b"\n"))):
            return len(rest)
    return None


def _fact(line: bytes) -> str:
    try:
        record.verify_crc(line)
    except LineError as error:
        return str(error)
    return "the line has no newline"


def line_error(segment: Segment, at: Position, line: bytes) -> Exception:
    """What is wrong with a whole line that is not the good line expected: JournalDamaged or UnknownVersion."""
    if record.sealed(line[:-1]):
        return _misfit(segment, line, at, last=True)
    return damaged(segment, at, _fact(line), last=True)


def _misfit(segment: Segment, line: bytes, at: Position, last: bool) -> Exception:
    """What is wrong with a line whose CRC is right: its version, or its place in the journal."""
    try:
        record.check_version(line)
    except UnknownVersion as error:
        return UnknownVersion(f"{segment.path} line {at.seq - segment.first_seq + 1}: {error}")
    except NotARecord as error:
        return damaged(segment, at, str(error), last)
    head = record.head(line)
    found = "no seq" if head is None else f"seq {head.seq}"
    return damaged(segment, at, f"{found} where record {at.seq} belongs: records are missing or out of order", last)


def damaged(segment: Segment, at: Position, fact: str, last: bool) -> JournalDamaged:
    """The error for one line, with the command that gives up this record and all later ones.

    Lines are counted by their seq, which has no gaps up to here. Where the file's first line is no record, it may be
    no journal at all, and nothing is said that would empty it.
    """
    path = segment.path
    give_up = f"truncate -s {at.offset} {shlex.quote(str(path))}"
    if not last:
        give_up += " and remove the later segments"
    remedy = f"restore the file from a copy, or give up record {at.seq} and all later ones: {give_up}"
    if at.offset == 0 or not _begins_with_a_record(path):
        remedy = "restore the file from a copy, or move the journal directory away to begin afresh"
    return JournalDamaged(path, at.seq - segment.first_seq + 1, fact, remedy, at.offset)


def _begins_with_a_record(path: Path) -> bool:
    with path.open("rb") as file:
        return record.sealed(file.readline()[:-1])
