"""The Windows part of State as facts that encode to JSON, and back."""

from __future__ import annotations

from collections import deque
from typing import Literal

import msgspec

from .cluster_calls import InstanceFacts
from .settings import WindowsQuirks
from .types import CidrText, EniId, Instant
from .windows_commands import WindowsPod
from .windows_config import PoolKind, Targets
from .windows_state import Cluster, Pool, Waiting, WindowsNode, reindex


class FrozenPool(msgspec.Struct, omit_defaults=True):
    kind: PoolKind
    capacity: int
    targets: Targets
    built_at: Instant
    suffix: str
    used: dict[str, tuple[CidrText, CidrText]] = {}
    warm: dict[CidrText, list[CidrText]] = {}
    cooling: list[tuple[CidrText, CidrText, Instant]] = []
    home: dict[CidrText, EniId] = {}
    leaving: dict[CidrText, EniId] = {}
    foreign: dict[EniId, int] = {}
    asked: dict[EniId, int] = {}
    pending_create: int = 0
    pending_delete: int = 0
    resync: bool = False
    resyncing: bool = False
    tick_at: Instant = 0


class FrozenNode(msgspec.Struct, omit_defaults=True):
    name: str
    instance: str
    os: str
    phase: Literal["unseen", "unmanaged", "init", "ready"]
    pools: list[FrozenPool] = []
    trunk: bool = False
    facts: InstanceFacts | None = None
    prefix_mode: bool = False
    available: bool = True
    capacity: int = 0
    advertised: int = 0
    remembered: dict[CidrText, tuple[str, Instant]] = {}


class FrozenCluster(msgspec.Struct, omit_defaults=True):
    """All facts of a Cluster; the heap of moments is built again."""

    opened: bool = False
    prefix_flag: bool = True
    quirks: WindowsQuirks = WindowsQuirks()
    data: dict[str, str] | None = None
    legacy: bool = False
    nodes: list[FrozenNode] = []
    pods: dict[str, dict[str, WindowsPod]] = {}
    waiting: list[tuple[str, str, Waiting]] = []
    order: int = 0


_POOL = ("pending_create", "pending_delete", "resync", "resyncing", "tick_at", "suffix")
_NODE = ("name", "instance", "os", "phase", "trunk", "facts", "prefix_mode", "available", "capacity", "advertised")


def freeze(cluster: Cluster) -> FrozenCluster | None:
    """The facts, independent of the cluster; None where no controller ever ran."""
    if not cluster.opened and not cluster.nodes and cluster.data is None:
        return None
    return FrozenCluster(
        cluster.opened,
        cluster.prefix_flag,
        cluster.quirks,
        cluster.data,
        cluster.legacy,
        [_freeze_node(node) for node in cluster.nodes.values()],
        {node: dict(pods) for node, pods in cluster.pods.items()},
        [(node, uid, waiting) for (node, uid), waiting in cluster.waiting.items()],
        cluster.order,
    )


def _freeze_node(node: WindowsNode) -> FrozenNode:
    pools = [_freeze_pool(pool) for pool in node.pools.values()]
    return FrozenNode(**{name: getattr(node, name) for name in _NODE}, pools=pools, remembered=dict(node.remembered))


def _freeze_pool(pool: Pool) -> FrozenPool:
    return FrozenPool(
        pool.kind,
        pool.capacity,
        pool.targets,
        pool.built_at,
        used=dict(pool.used),
        warm={group: list(free) for group, free in pool.warm.items()},
        cooling=list(pool.cooling),
        home=dict(pool.home),
        leaving=dict(pool.leaving),
        foreign=pool.foreign,
        asked=dict(pool.asked),
        **{name: getattr(pool, name) for name in _POOL},
    )


def thaw(frozen: FrozenCluster | None) -> Cluster:
    """The Cluster of frozen facts."""
    cluster = Cluster()
    if frozen is None:
        return cluster
    cluster.opened, cluster.prefix_flag, cluster.quirks = frozen.opened, frozen.prefix_flag, frozen.quirks
    cluster.data, cluster.legacy, cluster.order = frozen.data, frozen.legacy, frozen.order
    cluster.conditions = cluster.judged(frozen.data, frozen.legacy)
    cluster.pods = {node: dict(pods) for node, pods in frozen.pods.items()}
    cluster.waiting = {(node, uid): waiting for node, uid, waiting in frozen.waiting}
    for kept in frozen.nodes:
        node = WindowsNode(kept.name, kept.instance, kept.os)
        for name in _NODE:
            setattr(node, name, getattr(kept, name))
        node.remembered = dict(kept.remembered)
        node.pools = {pool.kind: _thaw_pool(pool) for pool in kept.pools}
        cluster.nodes[kept.name] = node
    reindex(cluster)
    return cluster


def _thaw_pool(kept: FrozenPool) -> Pool:
    pool = Pool(kept.kind, kept.capacity, kept.targets, kept.built_at)
    for name in _POOL:
        setattr(pool, name, getattr(kept, name))
    pool.used = {uid: (group, address) for uid, (group, address) in kept.used.items()}
    pool.warm = {group: list(free) for group, free in kept.warm.items()}
    pool.cooling = deque((address, group, since) for address, group, since in kept.cooling)
    pool.home, pool.leaving = dict(kept.home), dict(kept.leaving)
    pool.foreign, pool.asked = dict(kept.foreign), dict(kept.asked)
    return pool
