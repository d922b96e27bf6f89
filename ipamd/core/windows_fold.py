"""What the events of Windows nodes mean. `evolve` hands them here; a recorded fact is never refused.

`change_pool` is also how `windows_decide` tries events on a copy, so that each decision sees what it just decided.
"""

from __future__ import annotations

from typing import assert_never

from . import windows_events as we
from .calls import AssignPrivateIpAddresses, Call, UnassignPrivateIpAddresses
from .cluster_calls import AdvertiseCapacity, InstanceFacts, ReadInstance
from .pool_windows import reconcile
from .settings import WindowsQuirks
from .types import Instant
from .windows_config import Conditions
from .windows_state import (
    COOLDOWN,
    TICK,
    Cluster,
    Pool,
    Waiting,
    WindowsNode,
    expand,
    numeric,
    remind_pod,
    remind_tick,
    settle_dues,
)


def change(cluster: Cluster, event: we.WindowsEvent, at: Instant) -> None:
    """Change the cluster by one event."""
    match event:
        case we.PodKnown():
            cluster.pods.setdefault(event.node, {})[event.pod.uid] = event.pod
            if event.pod.annotation or event.pod.done:
                cluster.waiting.pop((event.node, event.pod.uid), None)
        case we.PodWaits():
            cluster.order += 1
            waiting = Waiting(event.why, event.due, cluster.order, event.failures)
            cluster.waiting[event.node, event.uid] = waiting
            remind_pod(cluster, event.node, event.uid, waiting)
        case we.PodAnnotated():
            _annotated(cluster, event)
        case we.PodForgotten():
            cluster.pods.get(event.node, {}).pop(event.uid, None)
            cluster.waiting.pop((event.node, event.uid), None)
        case we.PrefixesAvailable() | we.CapacityAdvertised() | we.ModeRemembered() | we.NodeInitialised():
            _node_changed(cluster, event)
        case we.PoolBuilt():
            _built(cluster, event, at)
        case we.NodeKnown() | we.NodeForgotten():
            _node_comes_or_goes(cluster, event)
        case we.ConfigMapChanged():
            cluster.data = event.data
            cluster.conditions = cluster.judged(event.data, cluster.legacy)
        case we.LegacyChanged():
            cluster.legacy = event.present
            cluster.conditions = cluster.judged(cluster.data, event.present)
        case we.ControllerOpened():
            _opened(cluster, event)
        case we.Announced() | we.ReleaseRefused():
            pass
        case _:
            _pool_event(cluster, event, at)
    settle_dues(cluster)


def _pool_event(cluster: Cluster, event: we.PoolEvent, at: Instant) -> None:
    pool = cluster.pool(event.node, event.pool)
    if pool is None:
        return
    change_pool(pool, event, at)
    if isinstance(event, we.WindowsAssigned):
        cluster.waiting.pop((event.node, event.uid), None)
    schedule(cluster, event.node, pool, at)


def change_pool(pool: Pool, event: we.PoolEvent, at: Instant) -> None:
    """Change one pool by one event; its tick is not touched."""
    match event:
        case we.WindowsAssigned():
            free = pool.warm.get(event.group)
            if free is not None and event.address in free:
                free.remove(event.address)
                pool.used[event.uid] = (event.group, event.address)
        case we.WindowsReleased():
            group, address = pool.used.pop(event.uid, ("", ""))
            if group:
                pool.cooling.append((address, group, at))
        case we.Ticked():
            for _ in range(min(event.cooled, len(pool.cooling))):
                address, group, _since = pool.cooling.popleft()
                if group in pool.home:
                    give(pool, group, [address])
        case we.GroupsGained():
            for held in event.held:
                pool.home[held.group] = held.eni
                give(pool, held.group, expand(held.group))
        case we.GroupsKept():
            for group in event.groups:
                home = pool.leaving.pop(group, "") or pool.leaving.pop(group + pool.suffix, "")
                pool.home.setdefault(group, home)
                give(pool, group, expand(group))
        case we.GroupsLost():
            for group in event.groups:
                pool.leaving.pop(group, None)
        case we.ResyncWanted():
            pool.resync = True
        case we.PoolResynced():
            _resynced(pool, event)
        case we.PoolConfigured():
            pool.targets = event.targets
        case _:
            assert_never(event)


def give(pool: Pool, group: str, addresses: list[str]) -> None:
    """Addresses become assignable, at the tail of their group's list (WIN-79)."""
    free = pool.warm.get(group)
    if free is not None:
        free += [address for address in addresses if address not in free]
        return
    pool.warm[group] = addresses
    pool.warm = dict(sorted(pool.warm.items(), key=lambda item: numeric(item[0])))


def _resynced(pool: Pool, event: we.PoolResynced) -> None:
    """WIN-98: EC2's addresses are added, ours that EC2 lacks go; what pods use is never touched."""
    pool.resync = False
    pool.home = {held.group: held.eni for held in event.held}
    taken = {address for _, address in pool.used.values()} | {address for address, _, _ in pool.cooling}
    kept = {address for group in pool.home for address in expand(group)}
    for group, free in list(pool.warm.items()):
        pool.warm[group] = [address for address in free if address in kept]
        if (free and not pool.warm[group]) or group not in pool.home:
            del pool.warm[group]
    for group in pool.home:
        known = pool.warm.get(group, [])
        missing = [address for address in expand(group) if address not in taken and address not in known]
        if missing:
            give(pool, group, missing)
    resting = [entry for entry in pool.cooling if entry[0] in kept]
    pool.cooling.clear()
    pool.cooling.extend(resting)


# ---- jobs ----------------------------------------------------------------------------------------------------


def job_began(pool: Pool, call: Call) -> None:
    """pc and pd, from the moment the job is queued (WIN-82)."""
    match call:
        case AssignPrivateIpAddresses():
            groups = call.prefixes or call.secondary_ips
            pool.pending_create += groups * pool.size
            pool.asked[call.eni] = pool.asked.get(call.eni, 0) + groups
        case UnassignPrivateIpAddresses():
            groups_gone = groups_of(pool, call)
            pool.pending_delete += len(groups_gone) * pool.size
            for group in groups_gone:
                pool.warm.pop(group, None)
                pool.leaving[group] = pool.home.pop(group, call.eni)
        case ReadInstance():
            pool.resyncing = True
        case _:
            pass  # no job of a pool


def job_ended(pool: Pool, call: Call) -> None:
    """pc and pd fall by what was asked for, whatever came of it (WIN-96)."""
    match call:
        case AssignPrivateIpAddresses():
            groups = call.prefixes or call.secondary_ips
            pool.pending_create -= groups * pool.size
            pool.asked[call.eni] = pool.asked.get(call.eni, 0) - groups
            if not pool.asked[call.eni]:
                del pool.asked[call.eni]
        case UnassignPrivateIpAddresses():
            pool.pending_delete -= len(groups_of(pool, call)) * pool.size
        case ReadInstance():
            pool.resyncing = False
        case _:
            pass


def groups_of(pool: Pool, call: UnassignPrivateIpAddresses) -> tuple[str, ...]:
    """The groups that a delete job names."""
    return call.prefixes or tuple(address + pool.suffix for address in call.addresses)


def call_started(cluster: Cluster, node: str, lane: str, call: Call, at: Instant) -> None:
    """A call of a node or of one of its pools was journaled."""
    known = cluster.nodes.get(node)
    if known is None:
        return
    if isinstance(call, AdvertiseCapacity):
        known.advertised = call.value
    pool = known.pools.get("prefix" if lane == "prefix" else "secondary")
    if lane in ("prefix", "secondary") and pool is not None:
        job_began(pool, call)
        schedule(cluster, node, pool, at)
        settle_dues(cluster)


def call_ended(cluster: Cluster, node: str, lane: str, call: Call, at: Instant) -> None:
    """It came back, or is lost. A capacity that was written is told by `CapacityAdvertised` beside this."""
    known = cluster.nodes.get(node)
    if known is not None and isinstance(call, AdvertiseCapacity):
        known.advertised = known.capacity
    pool = cluster.pool(node, "prefix" if lane == "prefix" else "secondary")
    if lane in ("prefix", "secondary") and pool is not None:
        job_ended(pool, call)
        schedule(cluster, node, pool, at)
        settle_dues(cluster)


def schedule(cluster: Cluster, node: str, pool: Pool, at: Instant) -> None:
    """The next tick that has something to do (WIN-100); those that would do nothing are not kept.

    A resting address is due at the first tick at which it is old enough (WIN-67). A reconcile is due at the next tick
    if it would act, which after a job only a tick finds out (WIN-84).
    """
    due = 0
    if pool.resync or reconcile(pool, cluster.quirks) is not None:
        due = _tick_after(pool, at + 1)
    elif pool.cooling:
        due = max(_tick_after(pool, pool.cooling[0][2] + COOLDOWN), _tick_after(pool, at))
    if due != pool.tick_at:
        pool.tick_at = due
        remind_tick(cluster, node, pool)


def _tick_after(pool: Pool, instant: Instant) -> Instant:
    """The first tick at or after an instant."""
    return pool.built_at + max(-(-(instant - pool.built_at) // TICK), 1) * TICK


# ---- nodes ---------------------------------------------------------------------------------------------------


def _annotated(cluster: Cluster, event: we.PodAnnotated) -> None:
    pods = cluster.pods.get(event.node, {})
    pod = pods.get(event.uid)
    if pod is not None:
        pods[event.uid] = type(pod)(pod.uid, pod.namespace, pod.name, event.value, pod.done)
        cluster.waiting.pop((event.node, event.uid), None)


def _node_changed(
    cluster: Cluster, event: we.PrefixesAvailable | we.CapacityAdvertised | we.ModeRemembered | we.NodeInitialised
) -> None:
    node = cluster.nodes.get(event.node)
    if node is None:
        return
    match event:
        case we.PrefixesAvailable():
            node.available = event.available
        case we.CapacityAdvertised():
            node.capacity = node.advertised = event.value
        case we.ModeRemembered():
            node.prefix_mode = event.prefix_mode
        case we.NodeInitialised():
            node.phase = "ready"
            node.facts = event.facts
            node.prefix_mode = event.prefix_mode
            node.pools = {}
            node.remembered = {}
            node.available = not cluster.quirks.windows_prefixes_unavailable_at_first


def _built(cluster: Cluster, event: we.PoolBuilt, at: Instant) -> None:
    node = cluster.nodes.get(event.node)
    if node is None or node.facts is None:
        return
    pool = node.pools[event.pool] = build_pool(event, node.facts, at)
    schedule(cluster, event.node, pool, at)


def build_pool(event: we.PoolBuilt, facts: InstanceFacts, at: Instant) -> Pool:
    """The pool that a PoolBuilt describes; a group whose addresses are all taken has no key (WIN-69)."""
    pool = Pool(event.pool, event.capacity, event.targets, at)
    if event.pool == "secondary":
        pool.suffix = "/" + facts.subnet_cidr.partition("/")[2]
    pool.home = {held.group: held.eni for held in event.held}
    pool.used = {taken.uid: (taken.group, taken.address) for taken in event.taken}
    pool.cooling.extend((rest.address, rest.group, rest.since) for rest in event.resting)
    busy = {taken.address for taken in event.taken} | {rest.address for rest in event.resting}
    for group in sorted(pool.home, key=numeric):
        free = [address for address in expand(group) if address not in busy]
        if free:
            pool.warm[group] = free
    for interface in facts.interfaces:
        others = interface.addresses if event.pool == "prefix" else interface.prefixes
        pool.foreign[interface.eni] = len(others)
    return pool


def _node_comes_or_goes(cluster: Cluster, event: we.NodeKnown | we.NodeForgotten) -> None:
    if isinstance(event, we.NodeForgotten):
        cluster.nodes.pop(event.node, None)
        if not cluster.pods.get(event.node):
            cluster.pods.pop(event.node, None)
        return
    node = cluster.nodes.get(event.node)
    if node is None or node.instance != event.instance:
        node = cluster.nodes[event.node] = WindowsNode(event.node, event.instance, event.os, event.trunk)
    node.os, node.trunk, node.capacity = event.os, event.trunk, event.capacity
    node.advertised = event.capacity
    if not event.managed:
        node.phase = "unmanaged"
        node.pools = {}
        node.remembered = {}
    elif node.phase != "ready":
        node.phase = "init"


def _opened(cluster: Cluster, event: we.ControllerOpened) -> None:
    """Nodes and pods are to be seen anew. What addresses did is kept for their Init, unless that is forgotten."""
    cluster.opened = True
    cluster.prefix_flag = event.prefix_delegation
    cluster.quirks = event.quirks
    cluster.pods.clear()
    cluster.waiting.clear()
    cluster.data = None
    cluster.legacy = False
    cluster.conditions = Conditions()
    for node in cluster.nodes.values():
        _remember(node, event.quirks)
        node.pools = {}
        node.phase = "unseen"
    settle_dues(cluster)


def _remember(node: WindowsNode, quirks: WindowsQuirks) -> None:
    if quirks.restart_forgets:
        node.remembered = {}
        return
    for pool in node.pools.values():
        for uid, (_, address) in pool.used.items():
            node.remembered[address] = (uid, 0)
        for address, _, since in pool.cooling:
            node.remembered[address] = ("", since)
