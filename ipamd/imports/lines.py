"""Bytes of a log to messages: JSON of zap (v1.6 on), seelog text (to v1.5), logrus, klog; with wrappers and breaks.

A line may stand behind the name of a pod (`kubectl logs --prefix`) or a container runtime's time and stream; a JSON
line that somebody's terminal broke goes on in the next line. What cannot be read is counted, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import BinaryIO, Final, NamedTuple

import msgspec

from ipamd.core.types import MS, SECOND, Instant

from .archive import LINE_MAX, Refused

_JOINED_MAX: Final = 8
"""Physical lines that one JSON line may have been broken into."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS: Final = range(2000, 2200)
_WRAPPER: Final = re.compile(
    rb"(?:\[pod/[^\]\s]+\]\s+)?(?:\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d) std(?:out|err) [FP] )?"
)
_SEELOG: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z)\s+\[(\w+)\]\s+(.*)", re.DOTALL)
_LOGRUS: Final = re.compile(r'time="([^"]+)" level=(\w+) msg="((?:[^"\\]|\\.)*)"')
_KLOG: Final = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+\s+\d+ [^\]]+\] (.*)", re.DOTALL)
_KLOG_LEVELS: Final = {"I": "info", "W": "warn", "E": "error", "F": "fatal"}


class Said(NamedTuple):
    """One message. `at` is None where the line tells no time; `number` is its first physical line, from 1."""

    number: int
    at: Instant | None
    level: str
    msg: str


class Unread(NamedTuple):
    """A line that is none of the known shapes, or is damaged; `blank` ones count for nothing."""

    number: int
    blank: bool


class _Zap(msgspec.Struct):
    msg: str
    level: str = ""
    ts: str | float = ""


_zap: Final = msgspec.json.Decoder(_Zap, strict=False).decode


def said(stream: BinaryIO, name: str) -> Iterator[Said | Unread]:
    """The messages of one log. Raises `Refused` for a line beyond LINE_MAX, and whatever the stream raises."""
    pending: list[bytes] = []
    began = 0
    for number, raw in physical(stream, name):
        line = _WRAPPER.sub(b"", raw, count=1).strip()
        if pending and not line.startswith(b'{"'):
            pending.append(line)
            joined = _one(b"".join(pending), began)
            if isinstance(joined, Said):
                yield joined
                yield from (Unread(began + i, True) for i in range(1, len(pending)))
                pending = []
            elif len(pending) == _JOINED_MAX:
                yield from (Unread(began + i, False) for i in range(len(pending)))
                pending = []
            continue
        yield from (Unread(began + i, False) for i in range(len(pending)))
        pending = []
        one = _one(line, number)
        if isinstance(one, Unread) and line.startswith(b'{"') and not line.endswith(b"}"):
            pending, began = [line], number
        else:
            yield one
    yield from (Unread(began + i, False) for i in range(len(pending)))


def physical(stream: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    """Numbered lines, each at most LINE_MAX bytes. Raises `Refused` for a longer one."""
    number = 0
    while line := stream.readline(LINE_MAX + 1):
        number += 1
        if len(line) > LINE_MAX:
            raise Refused(name, LINE_MAX, f"line {number} is longer than {LINE_MAX} bytes")
        yield number, line


def _one(line: bytes, number: int) -> Said | Unread:
    if not line:
        return Unread(number, True)
    if line.startswith(b"{"):
        try:
            found = _zap(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            found = None
        if found is not None:
            return Said(number, instant(found.ts), found.level, found.msg)
        return Unread(number, False)
    text = line.decode("utf-8", "replace")
    if shape := _SEELOG.fullmatch(text):
        return Said(number, instant(shape[1]), shape[2].lower(), shape[3])
    if shape := _LOGRUS.match(text):
        return Said(number, instant(shape[1]), shape[2], shape[3].replace('\\"', '"'))
    if shape := _KLOG.fullmatch(text):
        return Said(number, None, _KLOG_LEVELS[shape[1]], shape[2])
    return Unread(number, False)


def instant(text: str | float) -> Instant | None:
    """Ns since the epoch of an ISO 8601 text (`Z`, +02:00 or +0200) or of seconds; None for anything else."""
    if isinstance(text, float | int):
        return int(text * 1000) * MS if 0 < text < 7e9 else None
    if len(text) == 24 and text.endswith("Z") and text[20:23].isdigit():
        second = _second(text[:19])
        return None if second is None else second + int(text[20:23]) * MS
    try:
        read = datetime.fromisoformat(text[:40])
        read = read if read.tzinfo else read.replace(tzinfo=UTC)
        since = read - _EPOCH
    except (ValueError, OverflowError):
        return None
    if read.year not in _YEARS:
        return None
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds * 1000


@lru_cache(maxsize=64)
def _second(text: str) -> Instant | None:
    try:
        read = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return (read - _EPOCH) // timedelta(seconds=1) * SECOND if read.year in _YEARS else None
