"""A copy of one collection that keeps itself current: list, then watch; after 410 list again and tell the difference.

    list ──> watch from the list's version ──> the stream ends or breaks ──> watch from the last version seen
      ^                                                                              │
      └──────────────────────── 410: that version is forgotten ─────────────────────┘

Bookmarks carry the last version on while nothing of the selection changes, so a quiet watch does not end in 410.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Final, Generic, Literal, TypeVar

import msgspec

from .port import ClusterError, ClusterLost, Item, Source

T = TypeVar("T", bound=Item)

PAUSE_FIRST: Final = 0.8
PAUSE_MAX: Final = 30.0


class Changed(msgspec.Struct, Generic[T], frozen=True):
    """One difference between the copy before and after."""

    type: Literal["added", "modified", "deleted"]
    key: str
    before: T | None
    after: T | None


class Reflector(Generic[T]):
    """Runs until cancelled. `changed` is called for every change of the copy, after it."""

    def __init__(
        self,
        source: Source[T],
        changed: Callable[[Changed[T]], None] = lambda _: None,
        *,
        failed: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        seed: str = "",
    ) -> None:
        self.items: dict[str, T] = {}
        """Key -> item, as last seen."""
        self.version = ""
        """The version the copy stands at; "" asks for a list."""
        self.synced = asyncio.Event()
        """Set once the first list is in."""
        self.lists = 0
        """How many lists were read."""
        self._source = source
        self._changed = changed
        self._failed = failed
        self._sleep = sleep
        self._seed = seed
        self._failures = 0

    async def run(self) -> None:
        """List and watch for ever."""
        while True:
            try:
                if not self.version:
                    await self._list()
                await self._watch()
            except ClusterError as error:
                if error.expired:
                    self.version = ""
                    if self._failures == 0:
                        self._failures = 1
                        continue  # at once, but not twice without any progress
                elif error.code in (401, 403, 404):
                    self.version = ""
                await self._pause(str(error))
            except ClusterLost as lost:
                await self._pause(str(lost))

    async def _list(self) -> None:
        listed = await self._source.list()
        fresh = {item.key: item for item in listed.items}
        for key in [key for key in self.items if key not in fresh]:
            self._drop(key)
        for key, item in fresh.items():
            self._keep(key, item)
        self.version = listed.version
        self.lists += 1
        self.synced.set()

    async def _watch(self) -> None:
        stream = self._source.watch(self.version)
        try:
            async for seen in stream:
                self._failures = 0
                if seen.object is not None:
                    key = seen.object.key
                    if seen.type == "DELETED":
                        self._drop(key)
                    else:
                        self._keep(key, seen.object)
                self.version = seen.version or self.version
        finally:
            await stream.aclose()

    def _keep(self, key: str, item: T) -> None:
        before = self.items.get(key)
        if before is not None and before.version == item.version:
            return
        self.items[key] = item
        self._changed(Changed("added" if before is None else "modified", key, before, item))

    def _drop(self, key: str) -> None:
        before = self.items.pop(key, None)
        if before is not None:
            self._changed(Changed("deleted", key, before, None))

    async def _pause(self, why: str) -> None:
        self._failed(why)
        await self._sleep(pause(self._failures, self._seed))
        self._failures += 1


def pause(failures: int, seed: str) -> float:
    """Seconds to wait after so many failures in a row: doubled up to half a minute, spread by up to a half.

    The spread is a hash of the seed (the node's name), so that nodes do not come back all at once.
    """
    base: float = min(PAUSE_MAX, PAUSE_FIRST * 2 ** min(failures, 10))
    return base * (1 + zlib.crc32(f"{seed}/{failures}".encode()) / 2**33)
