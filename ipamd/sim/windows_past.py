"""What one pass over a controller's journal keeps: what it was told of nodes and pods, and how EC2 answered.

    past = recall(path, watch)      # `windows_relive.Branch` lives it again
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Final, TypeAlias, get_args

import msgspec

from ipamd.core import events as ev
from ipamd.core import snapshot
from ipamd.core.branch_events import BranchEvent
from ipamd.core.calls import AssignPrivateIpAddresses, Call, Failed, Outcome, Succeeded, UnassignPrivateIpAddresses
from ipamd.core.cluster_calls import InstanceFacts, ReadInstance
from ipamd.core.commands import Settle
from ipamd.core.events import Record
from ipamd.core.evolve import fold
from ipamd.core.state import State
from ipamd.core.types import CallId, Instant
from ipamd.core.windows_commands import (
    ConfigSeen,
    LegacySeen,
    NodeGone,
    NodeSeen,
    OpenController,
    PodGone,
    PodSeen,
)
from ipamd.journal.reading import StrPath, bounds, read

from .cloud_facts import CloudFacts
from .past import Progress, Warn, begin, silent
from .windows_engine import WORKERS

Demand: TypeAlias = OpenController | ConfigSeen | LegacySeen | NodeSeen | NodeGone | PodSeen | PodGone
DEMAND: Final = get_args(Demand)
NO_INSTANCE: Final = "InvalidInstanceID.NotFound"


class Told(msgspec.Struct, frozen=True):
    """One thing that the controller was told."""

    seq: int
    at: Instant
    cause: Demand


class WindowsFacts(CloudFacts):
    """Answer times, refusals and instances, out of the records of a controller."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: dict[str, list[tuple[int, InstanceFacts]]] = {}
        """Instance -> what EC2 said of it, by record."""
        self._queues: dict[str, deque[CallId]] = {lane: deque() for lane in WORKERS}
        self._running: Counter[str] = Counter()
        self._began: dict[CallId, Instant] = {}
        """When a worker took a call up; before that it waited for the worker, and EC2 had no part in it."""

    def hear(self, state: State, record: Record) -> None:
        """A record, and the State before it."""
        cause = record.cause
        if isinstance(cause, OpenController):
            self._forget()
        elif isinstance(cause, Settle) and cause.call_id in state.calls:
            running = state.calls[cause.call_id]
            began = self._began.pop(cause.call_id, running.started_at)
            self._came_back(running.call, began, record, cause.outcome)
            self._running[running.lane] -= 1
            self._take_up(running.lane, record.at)
        for event in record.events:
            if isinstance(event, ev.CallStarted) and event.lane in self._queues:
                self._queues[event.lane].append(event.call_id)
                self._take_up(event.lane, record.at)

    def _forget(self) -> None:
        self._running.clear()
        self._began.clear()
        for queue in self._queues.values():
            queue.clear()

    def _take_up(self, lane: str, at: Instant) -> None:
        queue = self._queues.get(lane)
        while queue and self._running[lane] < WORKERS[lane]:
            self._running[lane] += 1
            self._began[queue.popleft()] = at

    def _came_back(self, call: Call, began: Instant, record: Record, outcome: Outcome) -> None:
        found = outcome.result if isinstance(outcome, Succeeded) else None
        if isinstance(call, ReadInstance) and isinstance(found, InstanceFacts):
            self.reads.setdefault(call.instance, []).append((record.seq, found))
        unknown = isinstance(outcome, Failed) and outcome.code == NO_INSTANCE
        weather = isinstance(call, ReadInstance | AssignPrivateIpAddresses | UnassignPrivateIpAddresses)
        said = outcome if weather and not unknown else Succeeded()
        self._answered(action_of(call), began, record, said)


def action_of(call: Call) -> str:
    """The request that a call's answer time is kept under."""
    return "DescribeInstances" if isinstance(call, ReadInstance) else type(call).__name__


class WindowsPast(msgspec.Struct):
    """`begin_state` is the one before the oldest kept record."""

    path: StrPath
    first_seq: int
    last_seq: int
    begin_at: Instant
    end_at: Instant
    demand: list[Told]
    answers: dict[CallId, tuple[Instant, Outcome]]
    facts: WindowsFacts
    begin_state: State
    end_state: State
    branches: bool = False
    """Whether pods with branch interfaces occur."""


def of_controller(path: StrPath) -> bool:
    """Whether the journal is a controller's; False for an empty one."""
    if begin(path, None, oldest=True, warn=silent).windows.opened:
        return True
    first = next(iter(read(path, 0)), None)
    return first is not None and isinstance(first.cause, OpenController)


Watch = Callable[[Record, State], object]


def recall(path: StrPath, watch: Watch = silent, progress: Progress = silent, warn: Warn = silent) -> WindowsPast:
    """Read the whole kept journal once."""
    kept = bounds(path)
    state = begin(path, None, oldest=True, warn=warn)
    first, facts = snapshot.fork(state), WindowsFacts()
    past = WindowsPast(path, state.seq + 1, kept.last_seq, kept.first_at, kept.last_at, [], {}, facts, first, state)
    for record in read(path, state.seq + 1):
        if record.seq > kept.last_seq:
            break
        cause = record.cause
        if isinstance(cause, DEMAND):
            past.demand.append(Told(record.seq, record.at, cause))
        elif isinstance(cause, Settle):
            past.answers[cause.call_id] = (record.at, cause.outcome)
        past.branches = past.branches or any(isinstance(event, get_args(BranchEvent)) for event in record.events)
        facts.hear(state, record)
        fold(state, record)
        watch(record, state)
        if record.seq % 1024 == 0:
            progress(record.seq, kept.last_seq)
    facts.finish(state)
    return past
