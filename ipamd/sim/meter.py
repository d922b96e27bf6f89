"""What a life came to, told record by record: addresses held and wasted, waits, refusals, EC2 calls.

One meter measures the recorded past and every variant of it, so that two columns of a table mean the same.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, get_args

import msgspec

from ipamd.core import events as ev
from ipamd.core import views
from ipamd.core.calls import Ec2Call, ReadLinks, ReadMetadata
from ipamd.core.commands import Observed
from ipamd.core.events import Record
from ipamd.core.kube import KubeLook
from ipamd.core.state import State
from ipamd.core.types import SECOND, Instant
from ipamd.ec2.port import operation

from .kubelet import Arrivals
from .scenario import EniCount
from .settle import QUIET, changes

POINTS: Final = 600
"""Steps of a plot's line at most, so that memory does not grow with the journal."""
_RESHAPES: Final = (
    ev.CidrAdded, ev.CidrRemoved, ev.EniReady, ev.EniLeft, ev.EniExcluded, ev.Started,
)  # fmt: skip
_EC2: Final = get_args(Ec2Call)
_HOUR: Final = 3600 * SECOND


class Point(msgspec.Struct, frozen=True):
    """The pool from `at` on: addresses for pods, those assigned, tries refused so far."""

    at: Instant
    held: int
    assigned: int
    refused: int


class Life(msgspec.Struct, frozen=True):
    """What `whatif --json` prints for each side: the pool as `simulate` has it, and what the life was like."""

    enis: tuple[EniCount, ...]
    total_ips: int
    assigned: int
    unused: int
    unused_prefixes: int
    virtual_seconds: float
    ec2_calls: dict[str, int]
    settled: bool
    """Whether nothing changed in the last seconds."""
    refused: int
    """Tries refused; a pod's retries count each."""
    refusals: dict[str, int]
    arrivals: int
    unserved: int
    """Arrivals that never got an address."""
    address_hours: float
    assigned_hours: float
    wasted_address_hours: float
    wait_p50_seconds: float
    """Of the arrivals that were served, from first try to grant."""
    wait_p99_seconds: float
    wait_max_seconds: float
    held_max: int


class Course:
    """The course of a life as lines: addresses held and assigned, refusals, and the hours that they add up to."""

    def __init__(self, begin: Instant, end: Instant) -> None:
        """`begin` and `end` bound what is measured, in ns."""
        self.begin = begin
        self.end = end
        self.points: list[Point] = []
        self.refusals: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._bucket = max((end - begin) // POINTS, 1)
        self._held = self._assigned = self._held_max = 0
        self._held_time = self._assigned_time = 0
        self._at = begin
        self._changed_at = begin

    def pass_to(self, at: Instant) -> None:
        """Time passes; nothing changed until `at`."""
        span = max(at - self._at, 0)
        self._held_time += span * self._held
        self._assigned_time += span * min(self._assigned, self._held)
        self._at = max(at, self._at)

    def note(self, at: Instant) -> None:
        """What is held and assigned is so from `at` on."""
        self._held_max = max(self._held_max, self._held)
        point = Point(at, self._held, self._assigned, self.refusals.total())
        if self.points and at // self._bucket == self.points[-1].at // self._bucket and len(self.points) > 1:
            self.points[-1] = point
        else:
            self.points.append(point)

    @property
    def hours(self) -> tuple[float, float]:
        """Addresses held and assigned, times hours."""
        return self._held_time / _HOUR, self._assigned_time / _HOUR

    @property
    def seconds(self) -> float:
        """How long the life was."""
        exact = (self.end - self.begin) / SECOND
        return int(exact) if exact == int(exact) else round(exact, 3)

    @property
    def most_refused(self) -> dict[str, int]:
        """Refusals by reason, the most frequent first."""
        return dict(sorted(self.refusals.items(), key=lambda item: (-item[1], item[0])))


class Meter(Course):
    """See the module."""

    def __init__(self, begin: Instant, end: Instant) -> None:
        super().__init__(begin, end)
        self.arrivals = Arrivals()

    def hear(self, record: Record, state: State) -> None:
        """A record and the State after it."""
        self.pass_to(record.at)
        self.arrivals.hear(record)
        for event in record.events:
            if isinstance(event, ev.AssignRefused):
                self.refusals[event.reason] += 1
            elif isinstance(event, ev.CallStarted) and isinstance(event.call, _EC2):
                self.calls[operation(event.call)] += 1
        cause = record.cause
        if isinstance(cause, Observed) and not isinstance(cause.look, ReadMetadata | ReadLinks | KubeLook):
            self.calls[operation(cause.look)] += 1
        if any(isinstance(event, _RESHAPES) for event in record.events):
            self._held = views.serving(state)
        if changes(record.events):
            self._changed_at = record.at
        self._assigned = sum(len(store.owners) for store in state.stores.values())
        self.note(record.at)

    def life(self, state: State, busy: bool) -> Life:
        """The result, once everything until `end` was heard. `busy`: something is in flight."""
        self.pass_to(self.end)
        pool = views.pool(state, self.end)
        waits = sorted(a.wait for a in self.arrivals.all if a.wait is not None)
        held, assigned = self.hours
        return Life(
            enis=tuple(EniCount(eni.device, eni.prefixes, eni.ips, eni.pods, eni.card) for eni in pool.enis),
            total_ips=pool.total_ips,
            assigned=pool.assigned,
            unused=pool.unused,
            unused_prefixes=pool.unused_prefixes,
            virtual_seconds=self.seconds,
            ec2_calls=dict(sorted(self.calls.items())),
            settled=not busy and self.end - self._changed_at >= QUIET,
            refused=self.refusals.total(),
            refusals=self.most_refused,
            arrivals=len(self.arrivals.all),
            unserved=sum(a.wait is None for a in self.arrivals.all),
            address_hours=round(held, 3),
            assigned_hours=round(assigned, 3),
            wasted_address_hours=round(held - assigned, 3),
            wait_p50_seconds=share(waits, 0.5),
            wait_p99_seconds=share(waits, 0.99),
            wait_max_seconds=share(waits, 1.0),
            held_max=self._held_max,
        )


def share(waits: list[int], part: float) -> float:
    """The wait in seconds that `part` of all sorted waits do not exceed; 0 of none."""
    if not waits:
        return 0.0
    index = max(-(-len(waits) * int(part * 1000) // 1000) - 1, 0)
    return round(waits[index] / SECOND, 3)
