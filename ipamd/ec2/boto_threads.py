"""Threads for a library that blocks: one a request, none of which keeps the process from ending.

`concurrent.futures` joins its threads when the interpreter ends, so a socket that hangs would hold up SIGTERM;
these are daemon threads. A node asks EC2 a few times a minute, and a thread costs 0.1 ms.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Final, TypeVar

_T = TypeVar("_T")

MOST: Final = 16
"""Requests at once; more wait. As many connections as a client keeps."""


class Threads:
    """Runs blocking work beside the event loop."""

    def __init__(self, most: int = MOST) -> None:
        self._slots = asyncio.Semaphore(most)

    async def run(self, work: Callable[[], _T], name: str) -> _T:
        """What `work` returns or raises. A caller that is cancelled leaves the thread to end by itself."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_T] = loop.create_future()

        def settle(result: _T | None, error: BaseException | None) -> None:
            if done.done():
                return  # nobody waits any more
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type] # _T may be None itself

        def body() -> None:
            result: _T | None = None
            error: BaseException | None = None
            try:
                result = work()
            except BaseException as raised:
                error = raised
            try:
                loop.call_soon_threadsafe(settle, result, error)
            except RuntimeError:
                pass  # the loop is closed: the process ends

        async with self._slots:
            threading.Thread(target=body, name=f"ec2 {name}", daemon=True).start()
            return await done
