"""A decision in the making: events so far, and copies of the pools they change, so that each step sees the last.

note       one event
call       one call, journaled before it is performed
reconcile  the job that a pool needs now (WIN-82), as calls on EC2
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from . import pool_windows, windows_fold
from . import windows_events as we
from .calls import AssignPrivateIpAddresses, Call, UnassignPrivateIpAddresses
from .cluster_calls import ReadInstance
from .events import CallEnded, CallStarted, Event
from .settings import WindowsQuirks
from .state import Running, State
from .types import CallId, Instant
from .windows_config import Conditions, ConfigData, PoolKind
from .windows_state import Cluster, Pool, WindowsNode

if TYPE_CHECKING:
    from typing import Literal

    NodeLane: TypeAlias = Literal["node", "pod", "secondary", "prefix"]


class Draft:
    """One command's events. `data` and `conditions` are those after the events so far."""

    def __init__(self, state: State, now: Instant) -> None:
        self.state = state
        self.cluster: Cluster = state.windows
        self.now = now
        self.events: list[Event] = []
        self.data: ConfigData = self.cluster.data
        self.conditions: Conditions = self.cluster.conditions
        self._next_call = state.next_call
        self._pools: dict[tuple[str, PoolKind], Pool] = {}
        self._built: dict[str, WindowsNode] = {}

    @property
    def quirks(self) -> WindowsQuirks:
        """The switches of this tenure."""
        return self.cluster.quirks

    def node(self, name: str) -> WindowsNode | None:
        """A node as it is after the events so far, where this decision initialised it."""
        return self._built.get(name) or self.cluster.nodes.get(name)

    def initialised(self, node: WindowsNode) -> None:
        """A copy of a node that becomes ready in this decision; its pools are added by `built`."""
        self._built[node.name] = node

    def built(self, name: str, pool: Pool) -> None:
        """A pool that this decision built."""
        self._pools[name, pool.kind] = pool
        self._built[name].pools[pool.kind] = pool

    def pool(self, node: str, kind: PoolKind) -> Pool | None:
        """A node's pool as it is after the events so far. Only to be read."""
        return self._pools.get((node, kind)) or (
            self._built[node].pools.get(kind) if node in self._built else self.cluster.pool(node, kind)
        )

    def _copy(self, node: str, kind: PoolKind) -> Pool | None:
        known = self._pools.get((node, kind))
        if known is None:
            live = self.pool(node, kind)
            if live is None:
                return None
            known = self._pools[node, kind] = live.copy()
        return known

    def note(self, event: Event) -> None:
        """Record an event."""
        self.events.append(event)

    def change(self, event: we.PoolEvent) -> None:
        """Record an event of one pool and try it on the copy."""
        self.events.append(event)
        pool = self._copy(event.node, event.pool)
        if pool is not None:
            windows_fold.change_pool(pool, event, self.now)

    def call(self, node: str, lane: NodeLane, call: Call) -> None:
        """Record the intention to call."""
        self.events.append(CallStarted(CallId(self._next_call), call, lane, node))
        self._next_call += 1
        if lane == "secondary" or lane == "prefix":
            pool = self._copy(node, lane)
            if pool is not None:
                windows_fold.job_began(pool, call)

    def ended(self, event: CallEnded, running: Running) -> None:
        """Record how a call came back."""
        self.events.append(event)
        lane = running.lane
        if lane == "secondary" or lane == "prefix":
            pool = self._copy(running.node, lane)
            if pool is not None:
                windows_fold.job_ended(pool, running.call)

    def reconcile(self, node: str, kind: PoolKind) -> None:
        """WIN-82: the job the pool needs now, if any, as calls; a create without room fails at once (WIN-106)."""
        pool, known = self.pool(node, kind), self.node(node)
        if pool is None or known is None or known.facts is None:
            return
        match pool_windows.reconcile(pool, self.quirks):
            case pool_windows.Create(groups=groups):
                self._create(known, pool, groups)
            case pool_windows.Delete(groups=gone):
                self._delete(known, pool, gone)
            case pool_windows.Resync():
                if not pool.resyncing:
                    self.call(node, kind, ReadInstance(known.instance))
            case None:
                pass

    def _create(self, node: WindowsNode, pool: Pool, groups: int) -> None:
        """WIN-106: one call for each interface with slots left."""
        assert node.facts is not None
        kind = pool.kind
        other = self.pool(node.name, "secondary" if kind == "prefix" else "prefix")
        short = groups
        for interface in node.facts.interfaces:
            room = pool_windows.slots(pool, other, interface.eni, node.facts.ips_per_eni, self.quirks)
            count = min(short, room)
            if count:
                ask = {"prefixes": count} if kind == "prefix" else {"secondary_ips": count}
                self.call(node.name, kind, AssignPrivateIpAddresses(interface.eni, **ask))
                short -= count
        if short:
            what = "prefixes" if kind == "prefix" else "addresses"
            self.fail(node.name, kind, f"no slots left for {short} of {groups} {what}")

    def _delete(self, node: WindowsNode, pool: Pool, groups: tuple[str, ...]) -> None:
        """WIN-109: one call for each interface, with the whole list."""
        by_eni: dict[str, list[str]] = {}
        for group in groups:
            by_eni.setdefault(pool.home[group], []).append(group)
        for eni, mine in by_eni.items():
            if pool.kind == "prefix":
                self.call(node.name, pool.kind, UnassignPrivateIpAddresses(eni, prefixes=tuple(mine)))
            else:
                bare = tuple(group.partition("/")[0] for group in mine)
                self.call(node.name, pool.kind, UnassignPrivateIpAddresses(eni, addresses=bare))

    def fail(self, node: str, kind: PoolKind, why: str) -> None:
        """WIN-96, WIN-97: a job failed: the pool asks EC2 how things stand as soon as nothing is pending."""
        pool = self.pool(node, kind)
        if pool is None:
            return
        self.change(we.ResyncWanted(node, kind, why))
        self.reconcile(node, kind)
