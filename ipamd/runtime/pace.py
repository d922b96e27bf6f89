"""How fast the controller may go: EC2's client-side rate (WIN-113), and worker lanes (WIN-125).

A `Bucket` holds `burst` tokens and gains `per_second`; a request takes one and waits its turn for it, first come
first served. A `Lanes` runs work with so many workers a lane, shared by all nodes; what waits, waits in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from ipamd.core.types import SECOND, Instant

from .clock import Clock

EC2_QPS: Final = 12.0
EC2_BURST: Final = 18
WORKERS: Final[Mapping[str, int]] = {"prefix": 2, "secondary": 2, "pod-eni": 30, "node": 10, "pod": 20}
"""WIN-125; `pod` are the workers of pod events (WIN-55), which annotate."""


class Bucket:
    """A token bucket on a clock. Whoever takes before the bucket is full again waits until its token is there."""

    def __init__(self, clock: Clock, per_second: float, burst: int) -> None:
        if per_second <= 0 or burst < 1:
            raise ValueError(f"rate {per_second:g}/s, burst {burst}: want a rate above 0 and a burst of 1 at least")
        self._clock = clock
        self._gap = max(round(SECOND / per_second), 1)
        self._burst = burst
        self._full_at: Instant = clock.now()
        """When the bucket is full again; each token taken moves it on by one gap."""

    def due(self) -> Instant:
        """Take a token; the instant from which it may be used, which is past or present if there was one."""
        now = self._clock.now()
        self._full_at = max(self._full_at, now) + self._gap
        return self._full_at - self._burst * self._gap

    async def take(self) -> None:
        """Take a token and wait for it."""
        wait = self.due() - self._clock.now()
        if wait > 0:
            await self._clock.sleep(wait / SECOND)


class Lanes:
    """Work by lane, so many at once in each."""

    def __init__(
        self, spawn: Callable[[Coroutine[Any, Any, None], str], None], workers: Mapping[str, int] = WORKERS
    ) -> None:
        self._spawn = spawn
        self._free = dict(workers)
        self._waiting: dict[str, deque[tuple[str, Callable[[], Coroutine[Any, Any, None]]]]] = {
            lane: deque() for lane in workers
        }

    def submit(self, lane: str, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` when the lane has a worker for it."""
        self._waiting[lane].append((name, work))
        self._next(lane)

    def waiting(self, lane: str) -> int:
        """How much of a lane has not begun."""
        return len(self._waiting[lane])

    def _next(self, lane: str) -> None:
        while self._free[lane] and self._waiting[lane]:
            self._free[lane] -= 1
            name, work = self._waiting[lane].popleft()
            self._spawn(self._run(lane, work), name)

    async def _run(self, lane: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        finally:
            self._free[lane] += 1
        self._next(lane)
