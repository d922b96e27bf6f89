"""When the machine moves: one timer, a tick or a look for each lane that is due, and what follows at once.

    start ---> agenda ---> timer ---> tick -----------> record? then whatever is due by now
                  ^                   look ... seen --->
                  |                   call ... settled ->
                  `---------------------------------------'

The agenda is read before waiting, not when the timer rings: at a beat's own instant it already names the next one.
A lane is asked to look once at a time; what comes back for a lane that moved on meanwhile is not heard (core).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from ipamd.core import events as ev
from ipamd.core.calls import Failed, Look, MetadataView, Outcome, View
from ipamd.core.commands import Command, Lane, Observed, Settle, Tick
from ipamd.core.observe import condense
from ipamd.core.plan import Due, agenda
from ipamd.core.types import CallId
from ipamd.journal.errors import JournalError

from .clock import Clock, Timer
from .datastore import Datastore

CHAIN_MAX: Final = 10_000
"""Steps that may follow one another at one instant; more would be a loop."""


class Looks(Protocol):
    """Whoever can look at the world."""

    async def look(self, look: Look) -> View | Failed:
        """Read once."""
        ...


class Driver:
    """Drives one datastore. Everything happens on the loop; only `apply` of the datastore changes State."""

    def __init__(
        self,
        datastore: Datastore,
        clock: Clock,
        looks: Looks,
        spawn: Callable[[Coroutine[Any, Any, None], str], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._datastore = datastore
        self._clock = clock
        self._looks = looks
        self._spawn = spawn
        self._fail = fail
        self._dues: list[Due] = []
        self._looking: set[Lane] = set()
        self._timer: Timer | None = None
        self._closed = False

    def tell(self, command: Command) -> None:
        """One command that nobody waits for, and what is due after it. A failing disk is reported, not raised."""
        self._move(command)

    def settled(self, call_id: CallId, outcome: Outcome) -> None:
        """A call came back."""
        self.tell(Settle(call_id, outcome))

    def on_record(self, record: ev.Record) -> None:
        """A door's command may have put a new moment on the agenda: an excluded ENI's last pod left (DM-32)."""
        if any(type(event) is ev.PurgeDue for event in record.events):
            self._move(None)

    def close(self) -> None:
        """Nothing happens any more; what is in flight answers nobody."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _move(self, command: Command | None) -> None:
        """What is overdue, then the command, then whatever is due by now; then wait for what is due next."""
        if self._closed:
            return
        try:
            self._catch_up()
            if command is not None:
                self._datastore.apply(command)
            self._pursue()
            self._arm()
        except JournalError:
            self.close()  # the process hears of it from the journal

    def _catch_up(self) -> None:
        """Do what the agenda named when the timer was set and what is due by now, whether or not it has rung.

        A beat that is due is not on the agenda any more, so it must not be forgotten for what came a moment earlier.
        """
        now = self._clock.now()
        overdue = [due for due in self._dues if due.at <= now]
        self._dues = [due for due in self._dues if due.at > now]
        for due in overdue:
            self._do(due)

    def _pursue(self) -> None:
        """Do everything that is due by now: chains of steps that take no time."""
        for _ in range(CHAIN_MAX):
            now = self._clock.now()
            due = next((due for due in self._agenda() if due.at <= now), None)
            if due is None or not self._do(due):
                return
        raise AssertionError(f"the agenda never empties: {self._agenda()}")

    def _agenda(self) -> list[Due]:
        now = max(self._clock.now(), self._datastore.state.at)
        return [due for due in agenda(self._datastore.state, now) if due.lane not in self._looking]

    def _do(self, due: Due) -> bool:
        """Tick or look; whether anything came of it."""
        if due.look is not None:
            self._looking.add(due.lane)
            self._spawn(self._look(due.lane, due.look), f"{due.lane}: {type(due.look).__name__}")
            return True
        before = self._datastore.state.seq
        self._datastore.apply(Tick(due.lane))
        return self._datastore.state.seq != before

    def _arm(self) -> None:
        """One timer for the earliest moment of all lanes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._dues = self._agenda()
        if self._dues:
            self._timer = self._clock.call_at(min(due.at for due in self._dues), self._ring)

    def _ring(self) -> None:
        """The timer. What goes wrong here has no task to be reported by."""
        self._timer = None
        try:
            self._move(None)
        except Exception as error:
            self._fail(error)

    async def _look(self, lane: Lane, wanted: Look) -> None:
        seen = await self._looks.look(wanted)
        self._looking.discard(lane)
        if isinstance(seen, MetadataView):
            seen = condense(self._datastore.state, seen, self._clock.now())
        self.tell(Observed(wanted, seen))
