"""One watch: a stream of JSON lines, from a version on or from what there is, with bookmarks, until its time is up.

A watch keeps its place in the history, not a queue of its own: one that reads slowly costs nothing, and once its
place is forgotten it is told so with 410, as by a real server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final

from . import reads, selectors
from .catalog import Kind, Object
from .refusal import Refusal
from .shapes import line
from .storage import Storage

SECONDS_DEFAULT: Final = 1800
SECONDS_MAX: Final = 24 * 3600

Shape = Callable[[Object], Object]


class Watch:
    """What one watch asked for. `lines` yields it."""

    def __init__(
        self, storage: Storage, kind: Kind, namespace: str, query: reads.Query, shape: Shape, bookmark_seconds: float
    ) -> None:
        self._storage = storage
        self._kind = kind
        self._chosen: selectors.Test | None = reads.test_of(kind, namespace, query)
        self._query = query
        self._shape = shape
        self._bookmarks = bookmark_seconds if query.allow_watch_bookmarks else 0.0
        reads.check_query(kind, query)
        self._asked = reads.version_of(query.resource_version)
        self._woken = asyncio.Event()
        self._ended = False

    def end(self) -> None:
        """Close the stream, as if its time were up."""
        self._ended = True
        self._woken.set()

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """One JSON line an event, until the time is up or `end` is called."""
        loop = asyncio.get_running_loop()
        seconds = min(self._query.timeout_seconds or SECONDS_DEFAULT, SECONDS_MAX)
        deadline = loop.time() + seconds
        woken = self._woken
        silence = self._storage.listen(lambda key: woken.set() if key == self._kind.key else None)
        try:
            place, first = self._begin()
            for ready in first:
                yield ready
            marked, bookmark_at = place, loop.time() + self._bookmarks
            while not self._ended:
                woken.clear()
                lines, place = self._since(place)
                for ready in lines:
                    yield ready
                if place < 0:
                    return
                now = loop.time()
                due = self._bookmarks and (now >= bookmark_at or now >= deadline)
                if due and place > marked:
                    yield self._bookmark(place)
                    marked = place
                if due:
                    bookmark_at = now + self._bookmarks
                if now >= deadline:
                    return
                await _heard(woken, (min(deadline, bookmark_at) if self._bookmarks else deadline) - now)
        finally:
            silence()

    def _begin(self) -> tuple[int, list[bytes]]:
        """(place in the history, the lines to begin with)."""
        streamed = self._query.send_initial_events
        if streamed is False or (self._asked and not streamed):
            return self._asked or self._storage.version, []
        place = self._storage.version
        lines = [_line("ADDED", self._shape(obj)) for obj in reads.initial(self._storage, self._kind, self._chosen)]
        if streamed:
            lines.append(self._bookmark(place, {reads.INITIAL_END: "true"}))
        return place, lines

    def _since(self, place: int) -> tuple[list[bytes], int]:
        """(the lines of what happened after a place, the new place); -1 after an error, which is the last line."""
        if place > self._storage.version:
            return [], place
        try:
            changes = self._storage.history(self._kind.key).since(place)
        except Refusal as refusal:
            return [_line("ERROR", refusal.status)], -1
        seen = (reads.seen_by(self._chosen, change) for change in changes)
        return [_line(type_, self._shape(obj)) for type_, obj in filter(None, seen)], self._storage.version

    def _bookmark(self, version: int, annotations: dict[str, str] | None = None) -> bytes:
        more = {"annotations": annotations} if annotations else {}
        metadata = {"resourceVersion": str(version), "creationTimestamp": None, **more}
        return _line("BOOKMARK", {"kind": self._kind.kind, "apiVersion": self._kind.api_version, "metadata": metadata})


def _line(type_: str, obj: Object) -> bytes:
    return line({"type": type_, "object": obj}) + b"\n"


async def _heard(woken: asyncio.Event, seconds: float) -> None:
    """Wait until there is something new, or the time is up."""
    try:
        await asyncio.wait_for(woken.wait(), max(0.0, seconds))
    except TimeoutError:
        pass
