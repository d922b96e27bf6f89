"""What a cluster in virtual time recorded and announced."""

from __future__ import annotations

from typing import TypeVar

from ipamd.core import windows_events as we
from ipamd.core.commands import Command
from ipamd.core.decide import decide
from ipamd.core.events import FORMAT, Record
from ipamd.core.evolve import fold
from ipamd.sim.windows_engine import WindowsEngine

E = TypeVar("E")


def events(records: list[Record], kind: type[E]) -> list[E]:
    """The events of one kind."""
    return [event for record in records for event in record.events if isinstance(event, kind)]


def told(engine: WindowsEngine, command: Command, kind: type[E]) -> list[E]:
    """A command that nobody acts on: its record is folded, its events of one kind are returned."""
    decision = decide(engine.state, command, engine.now)
    record = Record(FORMAT, engine.state.seq + 1, engine.now, "n", command, decision.events)
    fold(engine.state, record)
    return events([record], kind)


def reasons(engine: WindowsEngine, reason: str) -> list[we.Announced]:
    """Kubernetes events with this reason."""
    return [event for _, event in engine.announced if event.reason == reason]
