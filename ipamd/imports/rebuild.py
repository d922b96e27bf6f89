"""The second reading: understood lines in the order of time, become records; dumps complete and check them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ipamd.core import events as ev
from ipamd.core.commands import Start
from ipamd.core.events import Event, Record
from ipamd.core.state import Eni
from ipamd.core.types import Instant

from .dumps import Dumps
from .facts import Limits
from .gather import Gathered
from .pool import Pool
from .retell import Retelling
from .sorting import Heard

_ALIVE: Final = frozenset("ADE")
"""Families whose lines say that the process serves, and so that its init is over."""
_INIT: Final = frozenset(("D13",))


def records(found: Gathered, limits: Limits = lambda _: None, instance_type: str = "") -> Iterator[Record]:
    """The records, one after another; `found.report` is complete when the last one was taken.

    `limits` knows instance types; `instance_type` is what the user says of it.
    """
    story = _Story(found, limits, instance_type)
    for heard in found.lines:
        story.take(heard)
        yield from story.taken()
    story.end()
    yield from story.taken()


class _Story:
    """Processes come and go; within one, lines are retold."""

    def __init__(self, found: Gathered, limits: Limits, instance_type: str) -> None:
        self._found = found
        self._limits, self._instance_type = limits, instance_type
        self._pool = Pool(found.facts, found.report, found.names)
        self._telling = Retelling(self._pool, (found.ipamd_from, found.ipamd_until))
        self._dumps = Dumps(found, self._pool)
        self._recovered = False
        self._at: Instant = 0
        self._moment: dict[object, int] = {}

    def taken(self) -> list[Record]:
        made, self._pool.made = self._pool.made, []
        return made

    def take(self, heard: Heard) -> None:
        """One line, unless another file told the very same one."""
        if self._repeated(heard):
            return
        pool = self._pool
        if heard.id == "F1":
            self._start(heard)
            return
        if pool.state.seq == 0:
            pool.assume("the log begins while the process runs: what was there before is known only as it is named")
            self._begin(heard)
            self._dumps.before(heard)
            self._ready(heard)
        if heard.id == "F2":
            self._recovered = self._recovered or heard.values.get("edge") == "Completed"
            return
        self._recovered = self._recovered or heard.id == "C8"
        if pool.state.phase == "init" and heard.id == "F9":
            pool.confirmed = None
        if pool.state.phase == "init" and (heard.id == "F9b" or (heard.id[0] in _ALIVE and heard.id not in _INIT)):
            self._ready(heard)
        self._telling.take(heard)

    def _repeated(self, heard: Heard) -> bool:
        if heard.at != self._at:
            self._at, self._moment = heard.at, {}
        key = (heard.id, tuple(heard.values.items()))
        first = self._moment.setdefault(key, heard.file)
        if first == heard.file or heard.rank:
            return False
        self._found.report.repeated += 1
        return True

    def _start(self, heard: Heard) -> None:
        """F1: a new process. What it does not tell again before it is ready is not there any more."""
        pool = self._pool
        for _, request in self._telling.requests.drop():
            pool.assume("an ADD that the end of a process left without an answer")
            refused = ev.AssignRefused("restart", "the process ended", request.sandbox, request.pod)
            pool.record(heard, [refused], request)
        if pool.state.phase == "init" and pool.state.seq:
            pool.assume("a process that never became ready")
        self._begin(heard)
        pool.confirmed = set()
        self._recovered = False

    def _begin(self, heard: Heard) -> None:
        tenure, assumed = self._found.facts.tenure(heard.at, self._limits, self._instance_type)
        for text in assumed:
            self._pool.assume(text)
        started = ev.Started(tenure.settings, tenure.node, tenure.seed)
        demand = Start(tenure.settings, tenure.node, tenure.seed)
        cards = tuple(sorted({*self._found.facts.stores_at(heard.at), *self._pool.state.cards}))
        stores = [ev.CardsManaged(cards)] if cards != (0,) else []
        self._pool.record(heard, [*self._telling.calls.drop(), started, *stores], demand)

    def _ready(self, heard: Heard) -> None:
        pool = self._pool
        gone = self._untold() if pool.confirmed is not None else []
        if gone:
            pool.assume("what a new process does not tell again is gone")
        pool.confirmed = None
        gone += self._stores(gone)
        pool.record(heard, [*gone, ev.NodeReady(), ev.WorkMoved(None, next="update")])

    def _stores(self, gone: list[Event]) -> list[Event]:
        """The network cards with a store: those that the process tells of, and those of the ENIs that are there."""
        state = self._pool.state
        left = {event.eni for event in gone if isinstance(event, ev.EniLeft)}
        there = {eni.card for eni in state.enis.values() if eni.eni not in left}
        cards = tuple(sorted(there.union(self._found.facts.stores_at(state.started_at))))
        return [ev.CardsManaged(cards)] if cards != state.cards else []

    def _untold(self) -> list[Event]:
        """Assignments only if the recovery was told at all: at level info it is not."""
        told = self._pool.confirmed or set()
        events: list[Event] = []
        if not any(" " in each for each in told):
            return events
        for eni in self._pool.state.enis.values():
            if eni.eni not in told:
                events.append(ev.EniLeft(eni.eni, "gone", eni.assigned))
                continue
            for block in eni.blocks.values():
                if f"{eni.eni} {block.cidr}" not in told:
                    events.append(ev.CidrRemoved(eni.eni, block.cidr, "restart", pods=block.assigned))
                elif self._recovered:
                    events += self._stale(eni, block.cidr, told)
        return events

    def _stale(self, eni: Eni, cidr: str, told: set[str]) -> list[Event]:
        block = eni.blocks[cidr]
        return [
            ev.AddressReleased(self._pool.address_of(record.sandbox), eni.eni, cidr, stale=True)
            for record in block.records.values()
            if record.sandbox is not None and record.sandbox.text not in told
        ]

    def end(self) -> None:
        """Every line was told: what the dumps say of the end, or of everything where there is no log."""
        pool = self._pool
        if pool.state.seq == 0:
            if not self._dumps.any:
                return
            at = self._dumps.at or 1
            heard = Heard(at, 0, at, -1, 0, "", {})
            pool.names.append("")
            self._begin(heard)
            self._dumps.before(heard)
            self._ready(heard)
        self._dumps.after()
