"""What the life of a controller's nodes came to, record by record: addresses held and wasted, waits, EC2 calls.

One meter measures the recorded past and every variant of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from ipamd.core import events as ev
from ipamd.core import windows_events as we
from ipamd.core.events import Record
from ipamd.core.state import State
from ipamd.core.types import NEVER, Instant

from .meter import Course, share
from .windows_engine import QUIET, actions
from .windows_node import WindowsSettled, pools_of

_CLOCKS = (we.PodWaits, we.Announced, we.ResyncWanted, we.PoolResynced, ev.CallStarted, ev.CallEnded)


class WindowsLife(msgspec.Struct, frozen=True):
    """What `whatif --json` prints for each side: the pools as `simulate` has them, summed and by node."""

    prefixes: int
    ips: int
    used: int
    warm: int
    cooling: int
    unused_prefixes: int
    capacity: int
    nodes: dict[str, WindowsSettled]
    virtual_seconds: float
    ec2_calls: dict[str, int]
    settled: bool
    """Whether nothing changed in the last seconds."""
    refused: int
    """Times that a pod was told to wait; each of its tries counts."""
    refusals: dict[str, int]
    arrivals: int
    unserved: int
    """Pods that never got an address."""
    address_hours: float
    assigned_hours: float
    wasted_address_hours: float
    wait_p50_seconds: float
    """Of the pods that were served, from the first sight of the pod on its node to its address."""
    wait_p99_seconds: float
    wait_max_seconds: float
    held_max: int


@dataclass
class _Pod:
    came_at: Instant
    served_at: Instant = NEVER


class WindowsMeter(Course):
    """See the module."""

    def __init__(self, begin: Instant, end: Instant) -> None:
        super().__init__(begin, end)
        self._pods: dict[str, _Pod] = {}
        self._of_node: dict[str, tuple[int, int]] = {}
        """Addresses held and used."""

    def hear(self, record: Record, state: State) -> None:
        """A record and the State after it."""
        self.pass_to(record.at)
        touched: set[str] = set()
        for event in record.events:
            node = getattr(event, "node", "")
            if node:
                touched.add(node)
            self._heard(event, record.at)
        if any(isinstance(event, we.ControllerOpened | we.ConfigMapChanged) for event in record.events):
            touched |= self._of_node.keys() | state.windows.nodes.keys()
        if self._of_node.keys() != state.windows.nodes.keys():
            touched |= self._of_node.keys() ^ state.windows.nodes.keys()
        for name in touched:
            self._count(name, state)
        self.note(record.at)

    def _heard(self, event: ev.Event, at: Instant) -> None:
        match event:
            case we.PodKnown(pod=pod) if not pod.annotation and not pod.done:
                self._pods.setdefault(pod.uid, _Pod(at))
            case we.WindowsAssigned(uid=uid):
                pod_ = self._pods.setdefault(uid, _Pod(at))
                pod_.served_at = pod_.served_at or at
            case we.PodWaits(why=why):
                self.refusals[why] += 1
            case ev.CallStarted():
                self.calls.update(actions(event))
            case _:
                pass
        if not isinstance(event, _CLOCKS) and not (isinstance(event, we.Ticked) and not event.cooled):
            self._changed_at = at

    def _count(self, name: str, state: State) -> None:
        known = state.windows.nodes.get(name)
        held, used = self._of_node.pop(name, (0, 0))
        self._held -= held
        self._assigned -= used
        if known is None:
            return
        pools = known.pools.values()
        counted = (sum(len(p.home) * p.size for p in pools), sum(len(p.used) for p in pools))
        self._of_node[name] = counted
        self._held += counted[0]
        self._assigned += counted[1]

    def life(self, state: State, busy: bool) -> WindowsLife:
        """The result, once everything until `end` was heard. `busy`: something is in flight."""
        self.pass_to(self.end)
        known = sorted(state.windows.nodes.items())
        nodes = {name: pools_of(state, name, node.capacity) for name, node in known}
        waits = sorted(pod.served_at - pod.came_at for pod in self._pods.values() if pod.served_at)
        held, assigned = self.hours
        return WindowsLife(
            **{name: sum(getattr(node, name) for node in nodes.values()) for name in WindowsSettled.__struct_fields__},
            nodes=nodes,
            virtual_seconds=self.seconds,
            ec2_calls=dict(sorted(self.calls.items())),
            settled=not busy and self.end - self._changed_at >= QUIET,
            refused=self.refusals.total(),
            refusals=self.most_refused,
            arrivals=len(self._pods),
            unserved=sum(not pod.served_at for pod in self._pods.values()),
            address_hours=round(held, 3),
            assigned_hours=round(assigned, 3),
            wasted_address_hours=round(held - assigned, 3),
            wait_p50_seconds=share(waits, 0.5),
            wait_p99_seconds=share(waits, 0.99),
            wait_max_seconds=share(waits, 1.0),
            held_max=self._held_max,
        )
