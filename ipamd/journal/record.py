"""One record, one line: JSON whose last member is a CRC, so that grep and jq read a journal unaided.

    {"v":1,"seq":7,"at":..,"node":"..","cause":{..},"events":[{..}],"crc":"eee2b794"}\n
    |------------------- covered by the CRC ----------------------|------ 18 ------| 1

The CRC is CRC-32 (zlib), lower-case hex, of the bytes before `,"crc"`. The tail has a fixed length, so a text
inside the record that looks like one cannot be taken for it. This framing is the same in every version of the
format; the CRC is therefore checked first and the version second.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from ipamd.core.events import FORMAT, Record
from ipamd.core.types import Instant

from .errors import CrcMismatch, LineTorn, NotARecord, UnknownVersion

TAIL: Final = len(b',"crc":"00000000"}')
"""Bytes from `,"crc"` to the closing brace, without the newline."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode
_HEAD = re.compile(rb'\{"v":(-?\d+)(?:,"seq":(\d+),"at":(-?\d+),"node":"((?:[^"\\]|\\.)*)")?')
BEGIN: Final = b'{"v":'
"""What every line of every format begins with."""
_CURRENT: Final = b'{"v":%d,' % FORMAT


class Head(NamedTuple):
    """The members at the start of a line, read without decoding the rest. `at` in ns since the epoch."""

    v: int
    seq: int
    at: Instant
    node: str


def seal(body: bytes) -> bytes:
    """The line of a JSON object given without its closing brace: CRC member, brace and newline are added."""
    return b'%b,"crc":"%08x"}\n' % (body, crc32(body))


def sealed(line: bytes) -> bool:
    """Whether the CRC of a line (without its newline) is there and right."""
    body = line[:-TAIL]
    return line[-TAIL:] == b',"crc":"%08x"}' % crc32(body)


def begins(line: bytes, seq: int) -> bool:
    """Whether a line begins as record `seq` of the present format does."""
    return line.startswith(b'{"v":%d,"seq":%d,' % (FORMAT, seq))


def encode(record: Record) -> bytes:
    """The record's line, newline included. Raises UnicodeEncodeError for text that is not Unicode."""
    body = _encode(record)[:-1]
    return b'%b,"crc":"%08x"}\n' % (body, crc32(body))


def verify_crc(line: bytes) -> None:
    """Refuses a line (newline optional) whose bytes are not those written: LineTorn or CrcMismatch."""
    text = line[:-1] if line.endswith(b"\n") else line
    if sealed(text):
        return
    tail = text[-TAIL:]
    if tail[:8] != b',"crc":"' or tail[-2:] != b'"}':
        raise LineTorn(f"the line of {len(text)} bytes does not end with its CRC")
    raise CrcMismatch(f"CRC is {tail[8:16].decode('ascii', 'replace')}, want {crc32(text[:-TAIL]):08x}")


def decode(line: bytes) -> Record:
    """The record of a line; the newline is optional.

    Raises LineTorn, CrcMismatch, UnknownVersion (written by a newer ipamd) or NotARecord, in this order.
    """
    verify_crc(line)
    if not line.startswith(_CURRENT):
        check_version(line)
    return decode_checked(line)


def decode_checked(line: bytes) -> Record:
    """The record of a line whose CRC and version were checked already. Raises NotARecord."""
    try:
        return _decode(line)
    except msgspec.MsgspecError as error:
        raise NotARecord(f"not a record of format {FORMAT}: {error}") from error


def check_version(line: bytes) -> None:
    """Refuses what this code cannot read: UnknownVersion, or NotARecord for a line without a version."""
    found = _HEAD.match(line)
    if found is None or int(found[1]) < 1:
        raise NotARecord('the line does not begin with a format version ({"v":1,)')
    v = int(found[1])
    if v > FORMAT:
        raise UnknownVersion(
            f"written in format {v}, this ipamd reads up to format {FORMAT}; "
            "use the ipamd that wrote it or a newer one, or move the journal away and begin afresh"
        )


def head(line: bytes) -> Head | None:
    """The first members of a line, or None where the line does not begin like a record. Checks no CRC."""
    found = _HEAD.match(line)
    if found is None or found[2] is None:
        return None
    node = found[4].decode("utf-8", "replace")
    if "\\" in node:
        node = msgspec.json.decode(b'"%b"' % found[4], type=str)
    return Head(int(found[1]), int(found[2]), int(found[3]), node)
