"""What can be wrong with a journal. Every message names the thing, the fact and the remedy."""

from __future__ import annotations

import errno
from pathlib import Path


class JournalError(Exception):
    """Anything the journal refuses or cannot do."""


class LineError(JournalError):
    """One line is not a record. The subclasses say why."""


class LineTorn(LineError):
    """The line ends before its CRC does: a write that did not finish."""


class CrcMismatch(LineError):
    """The line is whole but its bytes are not those that were written."""


class NotARecord(LineError):
    """The CRC is right but the line is not JSON, or not a record of this format: another writer made it."""


class UnknownVersion(LineError):
    """A newer ipamd wrote the line."""


class JournalDamaged(JournalError):
    """A record that was durable cannot be read any more. `line` counts from 1; 0 when a whole file is meant.

    Nothing is changed on disk: the operator decides what becomes of the history.
    """

    def __init__(self, path: Path, line: int, fact: str, remedy: str, offset: int = 0) -> None:
        self.path, self.line, self.fact, self.remedy, self.offset = path, line, fact, remedy, offset
        place = f"{path} line {line}" if line else str(path)
        super().__init__(f"{place}: {fact}; {remedy}")


class JournalMissing(JournalError):
    """There is no journal where one was named, or what was being read of it is gone by now."""


class JournalLocked(JournalError):
    """Another process owns the journal."""


class JournalClosed(JournalError):
    """The journal was closed before this record was written."""


_REMEDIES = {
    errno.ENOSPC: "free some space or lower --journal-keep, then start again",
    errno.EDQUOT: "raise the quota or lower --journal-keep, then start again",
    errno.EFBIG: "raise the file size limit (ulimit -f) or choose smaller segments, then start again",
    errno.EIO: "check the disk (dmesg), copy the journal to a good one, then start again",
    errno.EROFS: "mount it writable, or name another --state-dir",
    errno.EACCES: "give this user access, or name another --state-dir",
    errno.EPERM: "give this user access, or name another --state-dir",
    errno.ENOTDIR: "a part of this path is a file: name another --state-dir",
}


class JournalFailed(JournalError):
    """The disk refused. From now on nothing is recorded, so nothing may be answered.

    Records already reported durable are on disk; whether those staged since then are, is unknown.
    """

    def __init__(self, path: Path, tried: str, code: int, text: str) -> None:
        self.path, self.tried, self.code, self.text = path, tried, code, text
        remedy = _REMEDIES.get(code, "put the disk right, then start again")
        super().__init__(f"{path}: {tried} failed: {text} ({errno.errorcode.get(code, code)}); {remedy}")

    @classmethod
    def of(cls, path: Path, tried: str, error: OSError) -> JournalFailed:
        """The same failure as the operating system reported it."""
        return cls(path, tried, error.errno or 0, error.strerror or str(error))

    def again(self) -> JournalFailed:
        """A fresh exception of the same failure, for the next caller: tracebacks are not shared."""
        return JournalFailed(self.path, self.tried, self.code, self.text)
