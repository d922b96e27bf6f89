"""Moments asked of a running daemon over its introspection: `/v1/state`, `/v1/journal` and `/v1/plan`.

The daemon folds; here nothing but HTTP. It blanks containers, so records cannot be folded on this side anyway.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from typing import Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from ipamd.core.events import Record
from ipamd.core.types import Instant

from ..output import Usage, time_text
from .moment import Moment, Reach
from .search import Query
from .sources import Direction, Stop, Stopped, nearest

TIMEOUT: Final = 15.0
"""Seconds: the daemon may have to fold."""
_PAGE: Final = 1000
_ANSWER_MAX: Final = 256 << 20
_T = TypeVar("_T")


class DoorError(OSError):
    """The daemon did not answer, or not with what it should."""


class _Page(msgspec.Struct):
    records: list[Record]
    next: int
    more: bool


class _Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class DoorSource:
    """A daemon's introspection. `url` is `http://HOST:PORT` or `unix:PATH`."""

    live = True

    def __init__(self, url: str) -> None:
        """Raises Usage for a URL that is none, DoorError where no daemon with a journal answers."""
        parts = urlsplit(url)
        if not (parts.scheme == "unix" and parts.path) and not (parts.scheme == "http" and parts.hostname):
            want = "want http://HOST:PORT or unix:PATH, the --introspection of ipamd run"
            raise Usage(f'--url "{url[:80]}": {want}')
        self.name = url
        self._parts = parts
        oldest = self._page(limit=1).records
        if not oldest:
            raise DoorError(f"{url}: its journal holds no record yet")
        self._first = oldest[0]
        newest = self._state()
        self._reach = Reach(self._first.seq, newest.seq, self._first.at, newest.at)
        self._reach = self._reached()

    @property
    def reach(self) -> Reach:
        return self._reach

    def refresh(self) -> bool:
        before = self._reach
        self._reach = self._reached()
        return self._reach != before

    def to(self, seq: int) -> Moment:
        wanted = min(max(seq, self._reach.first_seq), self._reach.last_seq)
        return self._with_record(self._state(str(wanted)))

    def at(self, instant: Instant) -> Moment:
        wanted = min(max(instant, self._reach.first_at), self._reach.last_at)
        return self._with_record(self._state(f"{time_text(wanted)[:19]}.{wanted % 10**9:09d}Z"))

    def find(self, asked: Query | None, seq: int, direction: Direction, stop: Stop) -> int | None:
        return nearest(lambda begin, end: self._matches(asked, begin, end, stop), self._reach, seq, direction)

    def refusals(self, since: int, stop: Stop) -> frozenset[int]:
        return frozenset(self._matches(None, max(since, self._reach.first_seq), self._reach.last_seq, stop))

    def _matches(self, asked: Query | None, begin: int, end: int, stop: Stop) -> Iterator[int]:
        from .screen import is_refusal

        by, text = ("type", "AssignRefused") if asked is None else (asked.by, asked.text)
        since, more = begin, begin <= end
        while more and since <= end:
            if stop():
                raise Stopped
            page = self._page(since=since, limit=_PAGE, **{by: text})
            for record in page.records:
                if record.seq > end:
                    return
                if asked is not None or is_refusal(record):
                    yield record.seq
            since, more = page.next, page.more

    # ---- HTTP ------------------------------------------------------------------------------------------------

    def _reached(self) -> Reach:
        newest = self._state().seq
        record = self._page(since=newest, limit=1).records
        oldest = self._page(limit=1).records[:1] or [self._first]
        self._first = oldest[0]
        at = record[0].at if record else self._reach.last_at
        return Reach(self._first.seq, newest, self._first.at, at)

    def _with_record(self, found: Moment) -> Moment:
        records = self._page(since=found.seq, limit=1).records
        record = records[0] if records and records[0].seq == found.seq else None
        plan: dict[str, Any] | None = None
        if found.seq == self._reach.last_seq:
            told = self._get("/v1/plan", {}, dict[str, Any])
            plan = told if told.get("seq") == found.seq and told.get("phase") == "ready" else None
        return msgspec.structs.replace(found, record=record, plan=plan)

    def _state(self, at: str = "") -> Moment:
        return self._get("/v1/state", {"at": at} if at else {}, Moment)

    def _page(self, **asked: object) -> _Page:
        return self._get("/v1/journal", asked, _Page)

    def _get(self, path: str, asked: dict[str, Any], kind: type[_T]) -> _T:
        target = f"{path}?{urlencode(asked)}" if asked else path
        where = f"{self.name} {path}"
        connection = self._connection()
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            body = answer.read(_ANSWER_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise DoorError(f"{where}: {error}; is the daemon running, and is this its --introspection?") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise DoorError(f"{where}: {answer.status} {_said(body)}")
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.MsgspecError as error:
            raise DoorError(f"{where}: not the answer of an ipamd with a journal ({error})") from error

    def _connection(self) -> http.client.HTTPConnection:
        if self._parts.scheme == "unix":
            return _Unix(self._parts.path)
        return http.client.HTTPConnection(self._parts.hostname or "", self._parts.port or 61679, timeout=TIMEOUT)


def _said(body: bytes) -> str:
    """What the daemon gave as the reason."""
    try:
        told = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return body[:200].decode("utf-8", "replace")
    return str(told.get("error", told))[:200] if isinstance(told, dict) else str(told)[:200]
