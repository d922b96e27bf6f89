"""Background work whose failure is never silent: what a task or a timer did not expect ends the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """Tasks that live until they end or the process does. `fail` hears of the first unexpected exception."""

    def __init__(self, fail: Callable[[BaseException], None]) -> None:
        self._fail = fail
        self._running: set[asyncio.Task[None]] = set()  # never iterated in an order that matters
        self._over = False

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run `work` beside everything else; after `cancel` it is dropped."""
        if self._over:
            work.close()
            return
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)

    @property
    def names(self) -> list[str]:
        """What is running, sorted."""
        return sorted(task.get_name() for task in self._running)

    async def cancel(self) -> None:
        """End all of them, for good, and wait until they have ended."""
        self._over = True
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)
