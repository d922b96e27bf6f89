"""Time as the runtime sees it: what instant it is, and to be called at an instant.

The rest of the runtime never asks `time` or `asyncio` for it, so a test can put a clock of its own in their place
and let an hour pass at once.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from typing import Protocol

from ipamd.core.types import SECOND, Instant


class Timer(Protocol):
    """Something that will be called once, unless it is cancelled before."""

    def cancel(self) -> None:
        """Not called any more; a second cancel does nothing."""
        ...


class Clock(Protocol):
    """The time of one process. `now` never runs back."""

    def now(self) -> Instant:
        """The present instant, ns since the epoch, UTC."""
        ...

    def call_at(self, at: Instant, callback: Callable[[], object]) -> Timer:
        """Call back at `at` or shortly after; at once, but not within this call, if that is past."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        ...

    def not_before(self, at: Instant) -> None:
        """From now on it is at least `at`: the journal's last record was made then."""
        ...


class SystemClock:
    """The machine's clock, made monotonic.

    When the wall clock is set back, this one goes on at the pace of the monotonic clock instead of standing still,
    for the pool's beats would stand still with it; a new process sees the wall clock again unless records are ahead.
    """

    def __init__(self, wall: Callable[[], int] = time.time_ns, steady: Callable[[], int] = time.monotonic_ns) -> None:
        self._wall = wall
        self._steady = steady
        self._last = wall()
        self._at = steady()

    def now(self) -> Instant:
        """The wall clock, or what it would show had it not been set back."""
        at = self._steady()
        self._last = max(self._wall(), self._last + at - self._at)
        self._at = at
        return self._last

    def call_at(self, at: Instant, callback: Callable[[], object]) -> Timer:
        """By the event loop; may come a few microseconds early, so the callee compares again."""
        return asyncio.get_running_loop().call_later(max(at - self.now(), 0) / SECOND, callback)

    async def sleep(self, seconds: float) -> None:
        """As asyncio does."""
        await asyncio.sleep(seconds)

    def not_before(self, at: Instant) -> None:
        """A journal from the future (its machine's clock was ahead) moves this clock ahead too."""
        self._last = max(self._last, at)


class _Alarm:
    """A timer of the manual clock."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """A clock that stands until it is told to go; for tests and for whoever drives the runtime step by step."""

    def __init__(self, now: Instant) -> None:
        self._now = now
        self._alarms: list[tuple[Instant, int, _Alarm]] = []
        self._order = 0

    def now(self) -> Instant:
        """Where it stands."""
        return self._now

    def call_at(self, at: Instant, callback: Callable[[], object]) -> Timer:
        """Called by `advance`, never by itself."""
        self._order += 1
        alarm = _Alarm(callback)
        heapq.heappush(self._alarms, (at, self._order, alarm))
        return alarm

    async def sleep(self, seconds: float) -> None:
        """Wakes when the clock was moved that far."""
        if seconds <= 0:
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        alarm = self.call_at(self._now + round(seconds * SECOND), wake)
        try:
            await woken
        finally:
            alarm.cancel()

    def not_before(self, at: Instant) -> None:
        """Jump ahead without ringing."""
        self._now = max(self._now, at)

    @property
    def next_alarm(self) -> Instant | None:
        """When it would ring next; None: never."""
        while self._alarms and self._alarms[0][2].callback is None:
            heapq.heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else None

    def advance(self, until: Instant) -> bool:
        """Go to the next alarm up to `until` and ring it, or to `until` if there is none; whether it rang.

        One alarm at a time, so that the caller can let the event loop do what follows from it.
        """
        at = self.next_alarm
        if at is None or at > until:
            self._now = max(self._now, until)
            return False
        alarm = heapq.heappop(self._alarms)[2]
        self._now = max(self._now, at)
        callback, alarm.callback = alarm.callback, None
        assert callback is not None, "next_alarm leaves out what was cancelled"
        callback()
        return True
