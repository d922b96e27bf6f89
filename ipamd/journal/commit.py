"""Group commit: one fsync serves every record staged while the one before was running.

    loop    stage stage stage | stage stage ........ | stage ...
    thread        idle        | write + fsync        | write + fsync
                              ^ these three          ^ these two, and whoever waited for them goes on

The event loop hands whole batches to one thread and hears of their end by a call back; nothing else is shared.
A batch leaves at the end of the loop's turn in which its first record was staged, so that callers who are served
in the same turn share it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

from .errors import JournalFailed


class _Batch:
    __slots__ = ("failure", "last", "lines", "waiters")

    def __init__(self, lines: list[bytes], last: int, waiters: list[asyncio.Future[None]]) -> None:
        self.lines, self.last, self.waiters = lines, last, waiters
        self.failure: Exception | None = None


class GroupCommit:
    """Takes lines on the event loop's thread; `append` runs on its own thread and may block.

    `staged` and `durable` are the newest seq taken and the newest seq on disk.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        append: Callable[[list[bytes]], None],
        durable: int,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._loop = loop
        self._append = append
        self._on_failure = on_failure
        self.staged = durable
        self.durable = durable
        self._lines: list[bytes] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._running: _Batch | None = None
        self._called = False
        self._failure: Exception | None = None
        self._inbox: SimpleQueue[_Batch | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def add(self, line: bytes) -> None:
        """Takes the next line. It leaves for the disk at the end of this turn, or after the batch on its way."""
        self._lines.append(line)
        self.staged += 1
        if self._running is None and not self._called:
            self._called = True
            self._loop.call_soon(self._dispatch)

    def wait(self, seq: int) -> asyncio.Future[None]:
        """Done once `seq` is durable, failed with JournalFailed when the disk refused."""
        assert self.durable < seq <= self.staged, f"waiting for {seq}, staged {self.staged}, durable {self.durable}"
        future: asyncio.Future[None] = self._loop.create_future()
        if self._failure is not None:
            future.set_exception(_fresh(self._failure))
        elif self._running is not None and seq <= self._running.last:
            self._running.waiters.append(future)
        else:
            self._waiters.append(future)
        return future

    def close(self) -> None:
        """Waits for the batch on its way, ends the thread and writes, here, what had not left yet.

        Who waits is answered; a failure goes to them and to `on_failure`, as always.
        """
        self._inbox.put(None)
        self._thread.join()
        if self._running is not None:
            self._finish(self._running)
        self._dispatch()
        if self._running is not None:
            self._attempt(self._running)
            self._finish(self._running)

    def _dispatch(self) -> None:
        self._called = False
        if self._running is None and self._lines and self._failure is None:
            self._running = _Batch(self._lines, self.staged, self._waiters)
            self._lines, self._waiters = [], []
            self._inbox.put(self._running)

    def _finish(self, batch: _Batch) -> None:
        if batch is not self._running:
            return
        self._running = None
        if batch.failure is not None:
            self._fail(batch, batch.failure)
            return
        self.durable = batch.last
        for future in batch.waiters:
            if not future.done():
                future.set_result(None)
        self._dispatch()

    def _fail(self, batch: _Batch, failure: Exception) -> None:
        self._failure = failure
        for future in batch.waiters + self._waiters:
            if not future.done():
                future.set_exception(_fresh(failure))
        self._lines, self._waiters = [], []
        self._on_failure(failure)

    def _attempt(self, batch: _Batch) -> None:
        try:
            self._append(batch.lines)
        except Exception as error:  # a bug too must reach those who wait
            batch.failure = error

    def _work(self) -> None:
        while (batch := self._inbox.get()) is not None:
            self._attempt(batch)
            try:
                self._loop.call_soon_threadsafe(self._finish, batch)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more


def _fresh(failure: Exception) -> Exception:
    """An exception of its own for each who waits: tracebacks are not shared."""
    return failure.again() if isinstance(failure, JournalFailed) else failure
