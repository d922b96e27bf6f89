"""JSON lines as upstream's logger writes them: `level`, `ts`, `caller`, `msg`; to a stream or to a file that rotates.

Two kinds of writers share one destination: the standard library's loggers through `handler`, and the narrator, which
writes the lines of a whole record at once.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import msgspec

from ipamd.core.types import MS, SECOND, Instant

from .files import LogFile
from .line import Level, Line

LEVELS: Final[dict[Level, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
OURS: Final = "ipamd"
"""The logger above all of ours."""
_NAMES: Final = {number: level for level, number in LEVELS.items()}


class Out(Protocol):
    """Where whole lines go. Never raises: a log that cannot be written stops nothing."""

    def write(self, text: bytes) -> None:
        """Whole lines, each with its newline."""
        ...

    def close(self) -> None:
        """Nothing more will be written."""
        ...


class StreamOut:
    """Standard output or error, unbuffered."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, text: bytes) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # the reader went away, or the stream is closed: there is nobody to tell

    def close(self) -> None:
        pass


class _Entry(msgspec.Struct):
    level: str
    ts: str
    caller: str
    msg: str


_encode = msgspec.json.Encoder().encode


def line(level: str, at: Instant, caller: str, msg: str) -> bytes:
    """One line of JSON. Text that is not Unicode is escaped rather than lost."""
    entry = _Entry(level, timestamp(at), caller, msg)
    try:
        return _encode(entry) + b"\n"
    except UnicodeEncodeError:
        entry.msg = msg.encode("utf-8", "backslashreplace").decode()
        return _encode(entry) + b"\n"


def timestamp(at: Instant) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`: 2024-03-10T17:25:08.487Z."""
    seconds, rest = divmod(at, SECOND)
    return f"{_second(seconds)}.{rest // MS:03}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


class JsonLog:
    """A destination and the least level that reaches it."""

    def __init__(self, out: Out, level: Level) -> None:
        self._out = out
        self._least = LEVELS[level]
        self.handler: logging.Handler = _Handler(self)
        """For the standard library's root logger."""
        self.handler.setLevel(self._least)

    def write(self, at: Instant, caller: str, lines: Iterable[Line]) -> None:
        """Lines of one moment and one origin, in one go."""
        text = b"".join(line(said.level, at, caller, said.msg) for said in lines if LEVELS[said.level] >= self._least)
        if text:
            self._out.write(text)

    def say(self, level: Level, msg: str) -> None:
        """One line of now, of the log's own affairs."""
        self.write(time.time_ns(), "narrate/jsonlog", (Line(level, msg),))

    def raw(self, text: bytes) -> None:
        """A line that is already encoded."""
        self._out.write(text)

    def close(self) -> None:
        """End the destination; the root logger is left without it."""
        logging.getLogger().removeHandler(self.handler)
        self._out.close()


class _Handler(logging.Handler):
    """The standard library's records as the same lines."""

    def __init__(self, log: JsonLog) -> None:
        super().__init__()
        self._log = log
        self._exceptions = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._log.raw(self.encoded(record))
        except Exception:
            self.handleError(record)

    def encoded(self, record: logging.LogRecord) -> bytes:
        """`caller` is `directory/file.py:line`; a traceback follows the message, in the same string."""
        msg = record.getMessage()
        if record.exc_info:
            msg = f"{msg}\n{self._exceptions.formatException(record.exc_info)}"
        path = Path(record.pathname)
        caller = f"{path.parent.name}/{path.name}:{record.lineno}"
        level = _NAMES.get(record.levelno) or record.levelname.lower()
        return line(level, int(record.created * 1e9), caller, msg)


def open_log(file: str, level: Level) -> JsonLog:
    """The log of ENV-35 and ENV-36: `stdout` or `stderr` in any case, or a path.

    The standard library's loggers write to it too: ours from `level` on, those of libraries from warnings on.

    A path that cannot be written falls back to stderr, with a line that says so: a daemon without its log file still
    has to serve.
    """
    problem = ""
    out: Out
    match file.lower():
        case "stdout":
            out = StreamOut(sys.stdout.buffer)
        case "stderr":
            out = StreamOut(sys.stderr.buffer)
        case _:
            try:
                out = LogFile(Path(file))
            except OSError as error:
                out = StreamOut(sys.stderr.buffer)
                fact = error.strerror or str(error)
                problem = f"AWS_VPC_K8S_CNI_LOG_FILE={file[:200]!r}: {fact}; logging to stderr, name another path"
    log = JsonLog(out, level)
    root = logging.getLogger()
    root.addHandler(log.handler)
    root.setLevel(max(LEVELS[level], logging.WARNING))  # gRPC alone says several debug lines a request
    logging.getLogger(OURS).setLevel(LEVELS[level])
    if problem:
        log.say("warn", problem)
    return log
