"""Clocks: time never runs back, and stands still only when a test says so."""

from __future__ import annotations

import asyncio

import pytest

from ipamd.core.types import SECOND
from ipamd.runtime.clock import ManualClock, SystemClock
from tests.runtime.rig import EPOCH


class Hands:
    """A wall clock and a steady one, moved by hand."""

    def __init__(self, wall: int) -> None:
        self.wall = wall
        self.steady = 500

    def pass_(self, ns: int) -> None:
        self.wall += ns
        self.steady += ns

    def clock(self) -> SystemClock:
        return SystemClock(lambda: self.wall, lambda: self.steady)


def test_the_system_clock_shows_the_wall_clock() -> None:
    """As long as nobody turns it, and when it is put forward."""
    hands = Hands(EPOCH)
    clock = hands.clock()

    hands.pass_(3 * SECOND)
    after_three = clock.now()
    hands.wall += 60 * SECOND

    assert after_three == EPOCH + 3 * SECOND
    assert clock.now() == EPOCH + 63 * SECOND


def test_a_clock_set_back_goes_on_at_its_pace() -> None:
    """Time neither runs back nor stands still: beats of the pool are due as before."""
    hands = Hands(EPOCH)
    clock = hands.clock()

    hands.wall -= 3600 * SECOND
    at_once = clock.now()
    hands.pass_(5 * SECOND)

    assert at_once == EPOCH
    assert clock.now() == EPOCH + 5 * SECOND


def test_a_journal_from_the_future_moves_the_clock_ahead() -> None:
    """`now` is never before the last record, and it goes on from there."""
    hands = Hands(EPOCH)
    clock = hands.clock()

    clock.not_before(EPOCH + 900 * SECOND)
    hands.pass_(SECOND)

    assert clock.now() == EPOCH + 901 * SECOND


@pytest.mark.asyncio
async def test_the_system_clock_calls_back_once_and_not_after_cancel() -> None:
    """Timers are the event loop's; a past instant is called soon, but not within the call."""
    clock = SystemClock()
    rung = asyncio.Event()
    cancelled: list[int] = []

    clock.call_at(clock.now(), lambda: cancelled.append(1)).cancel()
    clock.call_at(clock.now() - SECOND, rung.set)

    assert not rung.is_set()
    await asyncio.wait_for(rung.wait(), 10)
    assert cancelled == []


@pytest.mark.asyncio
async def test_the_manual_clock_rings_in_order_one_at_a_time() -> None:
    """Alarms ring at their instants, equal ones in the order in which they were set; then it stands where told."""
    clock = ManualClock(EPOCH)
    rung: list[tuple[str, int]] = []
    clock.call_at(EPOCH + 2 * SECOND, lambda: rung.append(("b", clock.now())))
    clock.call_at(EPOCH + 1 * SECOND, lambda: rung.append(("a", clock.now())))
    clock.call_at(EPOCH + 2 * SECOND, lambda: rung.append(("c", clock.now())))
    clock.call_at(EPOCH + 1 * SECOND, lambda: rung.append(("never", 0))).cancel()

    steps = []
    while clock.advance(EPOCH + 10 * SECOND):
        steps.append(len(rung))

    assert rung == [("a", EPOCH + SECOND), ("b", EPOCH + 2 * SECOND), ("c", EPOCH + 2 * SECOND)]
    assert steps == [1, 2, 3]
    assert clock.now() == EPOCH + 10 * SECOND


@pytest.mark.asyncio
async def test_sleepers_wake_when_the_manual_clock_is_moved() -> None:
    """A sleep lasts as long as the clock says; a cancelled one leaves no alarm."""
    clock = ManualClock(EPOCH)
    sleeper = asyncio.create_task(clock.sleep(1.5))
    other = asyncio.create_task(clock.sleep(9))
    await asyncio.sleep(0)

    clock.advance(EPOCH + SECOND)
    still = sleeper.done()
    while clock.advance(EPOCH + 2 * SECOND):
        await asyncio.sleep(0)
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)

    assert not still
    assert sleeper.done()
    assert clock.next_alarm is None
