"""What is known of a cluster's Windows nodes: one part of State, a fold like the rest of it.

    Cluster
      nodes   name -> WindowsNode -> pools: kind -> Pool
      pods    node -> uid -> WindowsPod      outlives its node's pools: they are rebuilt from it (WIN-68)
      waiting (node, uid) -> Waiting         pods without address, with the moment of their next try
      dues    heap of moments                an index over `waiting` and the pools' ticks

The heap makes the next moment cost the same with 10 nodes and with 1,000. Moments that are no longer true are left
in it and dropped when they come to its top; `settle_dues` does so after every change.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Literal, NamedTuple

import msgspec

from .cluster_calls import InstanceFacts
from .settings import WindowsQuirks
from .types import PREFIX_SIZE, SECOND, CidrText, EniId, Instant, ip4, ip4_text
from .windows_commands import WindowsPod
from .windows_config import Conditions, ConfigData, PoolKind, Targets, conditions

COOLDOWN = 30 * SECOND
"""WIN-67: a constant, not configurable."""
TICK = 30 * SECOND
"""WIN-100."""


class Pool:
    """One of a node's two pools (WIN-74). A group is one address, or one /28 with 16 of them."""

    __slots__ = (
        "asked", "base", "built_at", "capacity", "cooling", "foreign", "home", "kind", "leaving", "pending_create",
        "pending_delete", "resync", "resyncing", "suffix", "targets", "tick_at", "used", "warm",
    )  # fmt: skip

    def __init__(self, kind: PoolKind, capacity: int, targets: Targets, built_at: Instant) -> None:
        self.kind: PoolKind = kind
        self.capacity = capacity
        self.targets = targets
        self.built_at = built_at
        """Ticks come every 30 s from here."""
        self.used: dict[str, tuple[CidrText, CidrText]] = {}
        """uid -> (group, address)."""
        self.warm: dict[CidrText, list[CidrText]] = {}
        """group -> assignable addresses, in numeric order of groups; an exhausted group keeps an empty list."""
        self.cooling: deque[tuple[CidrText, CidrText, Instant]] = deque()
        """(address, group, freed at), oldest first."""
        self.home: dict[CidrText, EniId] = {}
        """Every group that is attached and not being released, whatever its addresses do."""
        self.leaving: dict[CidrText, EniId] = {}
        """Groups being released: they hold their slots until EC2 says so, and may be granted again before it does."""
        self.foreign: dict[EniId, int] = {}
        """Slots that the other kind held when the pool was built (WIN-110)."""
        self.asked: dict[EniId, int] = {}
        """Groups being created, by interface."""
        self.pending_create = 0
        """pc, in addresses."""
        self.pending_delete = 0
        """pd, in addresses."""
        self.resync = False
        self.resyncing = False
        """A ReadInstance for this pool is on its way."""
        self.suffix = "/32"
        """What a bare address is written with: the subnet's mask in secondary mode."""
        self.tick_at: Instant = 0
        """The next tick that has something to do; 0 when none has."""

    @property
    def size(self) -> int:
        """Addresses in a group."""
        return PREFIX_SIZE if self.kind == "prefix" else 1

    def copy(self) -> Pool:
        """An independent copy, to try events on."""
        twin = Pool(self.kind, self.capacity, self.targets, self.built_at)
        twin.used = self.used.copy()
        twin.warm = {group: free.copy() for group, free in self.warm.items()}
        twin.cooling = self.cooling.copy()
        twin.home = self.home.copy()
        twin.leaving = self.leaving.copy()
        twin.foreign = self.foreign
        twin.asked = self.asked.copy()
        twin.pending_create, twin.pending_delete = self.pending_create, self.pending_delete
        twin.resync, twin.resyncing = self.resync, self.resyncing
        twin.suffix, twin.tick_at = self.suffix, self.tick_at
        return twin


def expand(group: CidrText) -> list[CidrText]:
    """The addresses of a group as pods are given them: a prefix yields 16 of /32, a single address itself (WIN-75)."""
    address, _, length = group.partition("/")
    if length != "28":
        return [group]
    base = ip4(address)
    return [f"{ip4_text(base + offset)}/32" for offset in range(PREFIX_SIZE)]


def numeric(group: CidrText) -> int:
    """Order of groups where upstream's is that of a hash map."""
    return ip4(group.partition("/")[0])


class Waiting(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pod without address. `order`: who waits longer is served first among those due at once."""

    why: str
    due: Instant
    order: int
    failures: int = 0


class WindowsNode:
    """One node. `phase`: unseen since the process began, unmanaged, init (its instance is being read) or ready."""

    __slots__ = (
        "advertised", "available", "capacity", "facts", "instance", "name", "os", "phase", "pools", "prefix_mode",
        "remembered", "trunk",
    )  # fmt: skip

    def __init__(self, name: str, instance: str, os: str, trunk: bool = False) -> None:
        self.name = name
        self.instance = instance
        self.os = os
        self.trunk = trunk
        self.phase: Literal["unseen", "unmanaged", "init", "ready"] = "unmanaged"
        self.facts: InstanceFacts | None = None
        self.prefix_mode = False
        self.available = True
        """WIN-48: whether the subnet had a /28 when last asked."""
        self.capacity = 0
        """What the Node object shows."""
        self.advertised = 0
        """What was last asked of the API server."""
        self.pools: dict[PoolKind, Pool] = {}
        self.remembered: dict[CidrText, tuple[str, Instant]] = {}
        """address -> (uid or "", since): used and cooling before the process began anew; Init consumes it."""

    @property
    def nitro(self) -> bool:
        """WIN-36."""
        return self.facts is not None and self.facts.nitro


class Moment(NamedTuple):
    """A place in the heap: a pod's next try (`what` "pod") or a pool's tick."""

    due: Instant
    order: int
    node: str
    what: str
    uid: str


class Cluster:
    """Everything of the Windows side. Empty on a Linux node."""

    def __init__(self) -> None:
        self.opened = False
        self.prefix_flag = True
        self.quirks = WindowsQuirks()
        self.data: ConfigData = None
        self.legacy = False
        self.conditions = Conditions()
        self.nodes: dict[str, WindowsNode] = {}
        self.pods: dict[str, dict[str, WindowsPod]] = {}
        self.waiting: dict[tuple[str, str], Waiting] = {}
        self.order = 0
        self.dues: list[Moment] = []

    def judged(self, data: ConfigData, legacy: bool) -> Conditions:
        """The conditions if the ConfigMap and the legacy Deployment were these."""
        return conditions(data, legacy, self.prefix_flag, self.quirks)

    def pool(self, node: str, kind: PoolKind) -> Pool | None:
        """A node's pool; None when the node is unknown, not ready, or has none of the kind."""
        known = self.nodes.get(node)
        return known.pools.get(kind) if known is not None else None


def next_due(cluster: Cluster) -> Instant | None:
    """When `WindowsDue` is to be sent next; None while nothing is due ever."""
    return cluster.dues[0].due if cluster.dues else None


def holds(cluster: Cluster, moment: Moment) -> bool:
    """Whether a moment of the heap is still true."""
    if moment.what == "pod":
        waiting = cluster.waiting.get((moment.node, moment.uid))
        return waiting is not None and (waiting.due, waiting.order) == (moment.due, moment.order)
    node = cluster.nodes.get(moment.node)
    pool = node.pools.get("prefix" if moment.what == "prefix" else "secondary") if node is not None else None
    return pool is not None and pool.tick_at == moment.due


def settle_dues(cluster: Cluster) -> None:
    """Drop what is no longer true from the top of the heap."""
    while cluster.dues and not holds(cluster, cluster.dues[0]):
        heappop(cluster.dues)


def remind_pod(cluster: Cluster, node: str, uid: str, waiting: Waiting) -> None:
    """Put a waiting pod's next try into the heap."""
    if waiting.due:
        heappush(cluster.dues, Moment(waiting.due, waiting.order, node, "pod", uid))


def remind_tick(cluster: Cluster, node: str, pool: Pool) -> None:
    """Put a pool's tick into the heap."""
    if pool.tick_at:
        heappush(cluster.dues, Moment(pool.tick_at, 0, node, pool.kind, ""))


def reindex(cluster: Cluster) -> None:
    """The heap anew from the facts."""
    cluster.dues.clear()
    for (node, uid), waiting in cluster.waiting.items():
        remind_pod(cluster, node, uid, waiting)
    for known in cluster.nodes.values():
        for pool in known.pools.values():
            remind_tick(cluster, known.name, pool)
