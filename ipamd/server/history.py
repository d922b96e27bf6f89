"""`/v1/journal` and `/v1/state`: what was recorded, a page or a stream of it, and what it added up to at a moment.

The journal itself is read by a `History` that the composition root gives; its methods block and run in a thread,
two of them at a time at most. Container and interface names are blanked, as introspection does everywhere (HTTP-5).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Final, Protocol, TypeVar

import msgspec
from aiohttp import web

from ipamd.core.state import State
from ipamd.core.types import Instant

from .guard import Refusal, json_response, one, parameters, whole

LIMIT: Final = 100
LIMIT_MAX: Final = 1000
"""Records of a page."""
FOLLOWERS_MAX: Final = 8
READERS_MAX: Final = 2
BEAT_SECONDS: Final = 15.0
"""A stream without news says so this often, so that proxies and clients know that it lives."""
WRITE_SECONDS: Final = 5.0
"""HTTP-1: a reader that does not read for so long is let go."""
_FILTERS: Final = ("pod", "ip", "eni", "type", "prefix")
_T = TypeVar("_T")


class BadQuestion(ValueError):
    """A parameter that can mean nothing."""


class NotKnown(LookupError):
    """A moment or record that the journal does not reach."""


class Unreadable(Exception):
    """The journal cannot be read: damaged, or the disk refuses."""


class Wanted(msgspec.Struct, frozen=True):
    """Which records, by the filters; `since` is SEQ, TIME or an age, "" the oldest, or for a stream the next one."""

    since: str = ""
    limit: int = LIMIT
    pod: tuple[str, ...] = ()
    ip: tuple[str, ...] = ()
    eni: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()


class Page(msgspec.Struct, frozen=True):
    """Journal lines, the record to ask from next, and whether there are records from there on already."""

    lines: tuple[bytes, ...]
    next: int
    more: bool


class History(Protocol):
    """The journal's readers. All may raise `BadQuestion`, `NotKnown` or `Unreadable`."""

    def page(self, wanted: Wanted) -> Page:
        """Blocks for a second or so at most, and then gives what it has."""
        ...

    def state_at(self, at: str) -> tuple[State, Instant]:
        """The State after record SEQ, or at TIME, and the moment to judge it by. Blocks while it folds."""
        ...

    def follow(self, wanted: Wanted) -> AsyncGenerator[tuple[int, bytes] | None, None]:
        """Record number and line of each wanted record as it comes, for ever; None now and then while none comes."""
        ...


class Past:
    """Answers for the two paths. `document` makes of a State what is shown of it."""

    def __init__(
        self, history: History, state: Callable[[], State], document: Callable[[State, Instant], object],
        now: Callable[[], Instant],
    ) -> None:  # fmt: skip
        self._history = history
        self._state = state
        self._document = document
        self._now = now
        self._readers = 0
        self._followers = 0
        self._closing = asyncio.Event()

    async def close(self, _: web.Application) -> None:
        """Streams end."""
        self._closing.set()

    async def state(self, request: web.Request) -> web.Response:
        """`/v1/state?at=SEQ|TIME`: as of then, or as of now."""
        at = one(parameters(request, ("at",)), "at")
        if not at:
            return json_response(blanked(msgspec.to_builtins(self._document(self._state(), self._now()))))

        def told() -> object:
            state, moment = self._history.state_at(at)
            return blanked(msgspec.to_builtins(self._document(state, moment)))

        return json_response(await self._read(told))

    async def journal(self, request: web.Request) -> web.StreamResponse:
        """`/v1/journal?since=&limit=&pod=&ip=&eni=&type=`, or with `follow=1` the same as server-sent events."""
        found = parameters(request, ("since", "limit", "follow", *_FILTERS))
        since = one(found, "since")
        following = one(found, "follow") in ("1", "true") or "text/event-stream" in request.headers.get("Accept", "")
        last = request.headers.get("Last-Event-ID", "")
        if following and last.isascii() and last.isdigit():
            since = str(int(last[:20]) + 1)
        limit = whole(one(found, "limit", str(LIMIT)), "limit", 1, LIMIT_MAX)
        wanted = Wanted(since, limit, *(tuple(found[name]) for name in _FILTERS))
        if following and request.method == "GET":
            return await self._stream(request, wanted)

        def told() -> object:
            page = self._history.page(wanted)
            return {"records": [shown(line) for line in page.lines], "next": page.next, "more": page.more}

        return json_response(await self._read(told))

    async def _read(self, told: Callable[[], _T]) -> _T:
        """What a thread finds. Raises `Refusal`."""
        if self._readers >= READERS_MAX:
            raise Refusal(503, f"{READERS_MAX} others read the journal at this moment; ask again")
        self._readers += 1
        task = asyncio.create_task(asyncio.to_thread(told))
        task.add_done_callback(self._read_ended)
        with translated():
            return await asyncio.shield(task)

    def _read_ended(self, task: asyncio.Task[Any]) -> None:
        """Only now the thread is free, whether or not anybody still waits."""
        self._readers -= 1
        if not task.cancelled():
            task.exception()

    async def _stream(self, request: web.Request, wanted: Wanted) -> web.StreamResponse:
        """Server-sent events: `id` is the record's number, so a reader that comes again goes on where it was."""
        if self._followers >= FOLLOWERS_MAX:
            raise Refusal(503, f"{FOLLOWERS_MAX} others follow the journal; use `ipamd log follow`, or ask again")
        self._followers += 1
        try:
            async with aclosing(self._history.follow(wanted)) as records:
                with translated():
                    first = await anext(records)  # what is wrong with the question shows here
                headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
                response = web.StreamResponse(headers=headers)
                await response.prepare(request)
                await self._pass_on(request, response, records, first)
                return response
        finally:
            self._followers -= 1

    async def _pass_on(
        self,
        request: web.Request,
        response: web.StreamResponse,
        records: AsyncIterator[tuple[int, bytes] | None],
        item: tuple[int, bytes] | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        said = loop.time()
        try:
            await self._send(response, b"retry: 1000\n\n")
            while not self._closing.is_set() and request.transport is not None:
                if item is not None:
                    text = b"id: %d\nevent: record\ndata: %b\n\n" % (item[0], msgspec.json.encode(shown(item[1])))
                    await self._send(response, text)
                    said = loop.time()
                elif loop.time() - said >= BEAT_SECONDS:
                    await self._send(response, b": nothing new\n\n")
                    said = loop.time()
                with translated():
                    item = await anext(records)
        except Refusal as refusal:
            problem = msgspec.json.encode({"error": refusal.text})
            await self._send(response, b"event: problem\ndata: %b\n\n" % problem)
        except (TimeoutError, ConnectionError):
            pass  # the reader has gone, or does not read

    async def _send(self, response: web.StreamResponse, text: bytes) -> None:
        async with asyncio.timeout(WRITE_SECONDS):
            await response.write(text)


@contextmanager
def translated() -> Iterator[None]:
    """What a reader raises, as a `Refusal`."""
    try:
        yield
    except BadQuestion as error:
        raise Refusal(400, str(error)) from error
    except NotKnown as error:
        raise Refusal(404, str(error)) from error
    except Unreadable as error:
        raise Refusal(500, str(error)) from error


def shown(line: bytes) -> Any:
    """A journal line as a document: blanked, so its CRC would be wrong and is left out."""
    document = msgspec.json.decode(line)
    document.pop("crc", None)
    return blanked(document)


def blanked(value: Any) -> Any:
    """The same with every sandbox's container and interface emptied, in place."""
    if isinstance(value, dict):
        if "container" in value and "interface" in value:
            value["container"] = value["interface"] = ""
        for entry in value.values():
            if isinstance(entry, dict | list):
                blanked(entry)
    elif isinstance(value, list):
        for entry in value:
            if isinstance(entry, dict | list):
                blanked(entry)
    return value
