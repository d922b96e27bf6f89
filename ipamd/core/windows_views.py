"""A cluster's Windows nodes as tables: pure functions of State to values that encode to JSON as they stand."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from . import windows_events as we
from .pool_windows import Create, Delete, Resync, deviation, figures, reconcile
from .state import State
from .types import PREFIX_SIZE, CidrText, Instant
from .windows_config import PoolKind
from .windows_state import COOLDOWN, Pool


class WindowsPoolView(msgspec.Struct, frozen=True):
    """One pool, in addresses; `groups` are addresses or /28s. `wants` is the job that a reconcile would ask for now."""

    pool: PoolKind
    draining: bool
    capacity: int
    groups: int
    used: int
    warm: int
    cooling: int
    full: int
    creating: int
    deleting: int
    deviation: int
    wants: str
    next_tick: Instant


class WindowsNodeView(msgspec.Struct, frozen=True):
    """One node. `capacity` is what its Node object shows."""

    node: str
    instance: str
    instance_type: str
    phase: str
    prefix_mode: bool
    capacity: int
    waiting: int
    pools: tuple[WindowsPoolView, ...]


class WindowsPodView(msgspec.Struct, frozen=True):
    """A pod with its address, or with why it has none and when it is tried again (ns; 0: when its node is ready)."""

    node: str
    namespace: str
    name: str
    uid: str
    address: CidrText = ""
    waits: str = ""
    next_try: Instant = 0


class WindowsView(msgspec.Struct, frozen=True):
    """All of it. `config` is the ConfigMap's raw data."""

    config: dict[str, str] | None
    ipam: bool
    prefix_delegation: bool
    nodes: tuple[WindowsNodeView, ...]
    pods: tuple[WindowsPodView, ...]
    cooling: tuple[tuple[str, CidrText, Instant], ...]
    """Node, address, and the instant from which the next tick makes it assignable."""


def view(state: State) -> WindowsView:
    """The Windows side of State, nodes and pods by name."""
    cluster = state.windows
    nodes, cooling = [], []
    waiting: dict[str, int] = {}
    for node, _ in cluster.waiting:
        waiting[node] = waiting.get(node, 0) + 1
    for name, known in sorted(cluster.nodes.items()):
        pools = tuple(_pool(state, pool) for pool in known.pools.values())
        instance_type = known.facts.instance_type if known.facts is not None else ""
        nodes.append(
            WindowsNodeView(
                name, known.instance, instance_type, known.phase, known.prefix_mode, known.capacity,
                waiting.get(name, 0), pools,
            )
        )  # fmt: skip
        cooling += [(name, address, since + COOLDOWN) for p in known.pools.values() for address, _, since in p.cooling]
    conditions = cluster.conditions
    return WindowsView(
        cluster.data, conditions.ipam, conditions.prefix_delegation, tuple(nodes), _pods(state), tuple(cooling)
    )


def _pool(state: State, pool: Pool) -> WindowsPoolView:
    quirks = state.windows.quirks
    now = figures(pool)
    match reconcile(pool, quirks):
        case Create(groups=count):
            wants = f"create {count}"
        case Delete(groups=gone):
            wants = f"delete {len(gone)}"
        case Resync():
            wants = "re-sync"
        case _:
            wants = ""
    return WindowsPoolView(
        pool.kind, pool.targets.draining, now.capacity, len(pool.home), now.used, now.warm, now.cooling, now.full,
        now.pending_create, now.pending_delete, deviation(pool.kind, pool.targets, now, quirks), wants, pool.tick_at,
    )  # fmt: skip


def _pods(state: State) -> tuple[WindowsPodView, ...]:
    cluster = state.windows
    found = []
    for node, pods in sorted(cluster.pods.items()):
        known = cluster.nodes.get(node)
        pools = known.pools.values() if known is not None else ()
        held = {uid: address for pool in pools for uid, (_, address) in pool.used.items()}
        for pod in sorted(pods.values(), key=lambda pod: (pod.namespace, pod.name)):
            waiting = cluster.waiting.get((node, pod.uid))
            address = held.get(pod.uid, "") or pod.annotation
            why, due = (waiting.why, waiting.due) if waiting is not None else ("", 0)
            found.append(WindowsPodView(node, pod.namespace, pod.name, pod.uid, address, why, due))
    return tuple(found)


def shortfall(events: Iterable[object]) -> list[str]:
    """WIN-120, WIN-121: nodes that were initialised with pods of the other mode: what is advertised, what is left."""
    events = list(events)
    told = []
    for ready in (event for event in events if isinstance(event, we.NodeInitialised)):
        other = "secondary" if ready.prefix_mode else "prefix"
        held = {
            taken.group for event in events
            if isinstance(event, we.PoolBuilt) and event.node == ready.node and event.pool == other
            for taken in event.taken
        }  # fmt: skip
        if held:
            size = PREFIX_SIZE if ready.prefix_mode else 1
            slots = ready.facts.ips_per_eni - 1
            what = "secondary addresses" if ready.prefix_mode else "prefixes"
            told.append(
                f"node {ready.node}: advertises {slots * size}, but {len(held)} {what} of running pods leave room for "
                f"{max(slots - len(held), 0) * size}; move the workload to a new node group"
            )
    return told
