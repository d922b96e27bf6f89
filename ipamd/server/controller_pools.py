"""The controller's pools as upstream's introspection shows them, and ours with the why (WIN-131..133).

    /resources/all          resource -> node -> POOL
    /resources/summary      resource -> node -> counts
    /node/NAME              resource -> POOL; a provider that does not know the node shows {}
    /v1/plan, /v1/plan/NAME what each pool of a node would do next, with the figures it decides by
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

from ipamd.core import pool_windows
from ipamd.core.branch_calls import POD_ENI, Branch
from ipamd.core.branch_decide import annotation_of
from ipamd.core.branch_state import Trunk
from ipamd.core.cluster_calls import PRIVATE_IPV4
from ipamd.core.pool_windows import Create, Delete, deviation, figures, reconcile, repaired
from ipamd.core.state import State
from ipamd.core.types import SECOND, CidrText, Instant
from ipamd.core.windows_config import PoolKind
from ipamd.core.windows_state import Cluster, Pool, WindowsNode

from .introspection import time_text

Document: TypeAlias = dict[str, Any]

FROM_PREFIX: Final = "vpc.amazonaws.com/PrivateIPv4AddressFromPrefix"
RESOURCES: Final[dict[str, PoolKind]] = {PRIVATE_IPV4: "secondary", FROM_PREFIX: "prefix"}


def resources_all(state: State) -> Document:
    """Every pool, whole."""
    cluster = state.windows
    pools = {
        resource: {name: _pool(pool) for name, pool in _pools(cluster, kind)} for resource, kind in RESOURCES.items()
    }
    return {**pools, POD_ENI: {name: _trunk(trunk) for name, trunk in _trunks(state)}}


def resources_summary(state: State) -> Document:
    """Every pool in counts. WIN-133: warm counts groups, also those without a free address."""
    cluster = state.windows
    pools = {
        resource: {
            name: {
                "UsedResourcesCount": len(pool.used),
                "WarmResourcesCount": len(pool.warm),
                "CoolingResourcesCount": len(pool.cooling),
            }
            for name, pool in _pools(cluster, kind)
        }
        for resource, kind in RESOURCES.items()
    }
    trunks = {
        name: {
            "TrunkENIID": trunk.facts.trunk,
            "InstanceID": trunk.instance,
            "BranchENICount": trunk.in_use,
            "DeleteQueueLen": trunk.ending,
        }
        for name, trunk in _trunks(state)
    }
    return {**pools, POD_ENI: trunks}


def node_resources(state: State, name: str) -> Document:
    """One node's pools."""
    pools = {
        resource: _pool(pool) if (pool := state.windows.pool(name, kind)) is not None else {}
        for resource, kind in RESOURCES.items()
    }
    trunk = state.trunks.nodes.get(name)
    return {**pools, POD_ENI: _trunk(trunk) if trunk is not None and trunk.facts.trunk else {}}


def _trunks(state: State) -> list[tuple[str, Trunk]]:
    return [(name, trunk) for name, trunk in sorted(state.trunks.nodes.items()) if trunk.facts.trunk]


def _trunk(trunk: Trunk) -> Document:
    """WIN-132: an interface has the keys of the annotation."""
    held = {uid: _branches(holder.branches) for uid, holder in sorted(trunk.pods.items()) if holder.branches}
    queue = _branches([row.branch for row in (*trunk.queue, *trunk.dropping.values())])
    return {
        "TrunkENIID": trunk.facts.trunk, "InstanceID": trunk.instance, "PodToBranchENI": held,
        "DeleteQueue": queue or None,
    }  # fmt: skip


def _branches(branches: list[Branch]) -> list[Document]:
    rows: list[Document] = msgspec.json.decode(annotation_of(branches))
    return rows


def _pools(cluster: Cluster, kind: PoolKind) -> list[tuple[str, Pool]]:
    return [
        (name, node.pools[kind]) for name, node in sorted(cluster.nodes.items(), key=lambda item: item[0])
        if kind in node.pools
    ]  # fmt: skip


def _pool(pool: Pool) -> Document:
    """Upstream's field names; a list that is empty is null, as one that was never filled."""
    cooling = [
        {"Resource": _resource(group, address), "DeletionTimestamp": time_text(since)}
        for address, group, since in pool.cooling
    ]
    return {
        "UsedResources": {uid: _resource(group, address) for uid, (group, address) in sorted(pool.used.items())},
        "WarmResources": {g: [_resource(g, address) for address in free] for g, free in pool.warm.items()},
        "CoolingResources": cooling or None,
    }


def _resource(group: CidrText, address: CidrText) -> Document:
    return {"GroupID": group, "ResourceID": address}


# ---- ours ------------------------------------------------------------------------------------------------------


def plan_of_all(state: State, now: Instant) -> Document:
    """Every node's plan in one line each."""
    cluster = state.windows
    nodes = {
        name: {"phase": node.phase, "pools": {kind: _verdict(cluster, pool) for kind, pool in node.pools.items()}}
        for name, node in sorted(cluster.nodes.items(), key=lambda item: item[0])
    }
    return {"seq": state.seq, "at": now, "in_flight": len(state.calls), "waiting": len(cluster.waiting), "nodes": nodes}


def plan_of_node(state: State, name: str, now: Instant) -> Document | None:
    """What a node's pools would do next and why, who waits, and what is in flight; None for an unknown node."""
    cluster = state.windows
    node = cluster.nodes.get(name)
    if node is None:
        return None
    waiting = {
        uid: {"why": row.why, "retry_in_seconds": max(row.due - now, 0) / SECOND if row.due else None}
        for (where, uid), row in cluster.waiting.items()
        if where == name
    }
    running = [
        {"call_id": call_id, "lane": row.lane, "call": msgspec.to_builtins(row.call), "started_at": row.started_at}
        for call_id, row in state.calls.items()
        if row.node == name
    ]
    return {
        "seq": state.seq,
        "at": now,
        "node": name,
        "phase": node.phase,
        "instance": node.instance,
        "os": node.os,
        "instance_type": node.facts.instance_type if node.facts is not None else "",
        "prefix_delegation": node.prefix_mode,
        "capacity_shown": node.capacity,
        "pools": {kind: _why(cluster, node, pool, now) for kind, pool in node.pools.items()},
        "waiting": waiting,
        "in_flight": running,
    }


def _verdict(cluster: Cluster, pool: Pool) -> str:
    job = reconcile(pool, cluster.quirks)
    match job:
        case None:
            return "rest"
        case Create():
            return f"create {job.groups}"
        case Delete():
            return f"delete {len(job.groups)}"
        case _:
            return "compare with EC2"


def _why(cluster: Cluster, node: WindowsNode, pool: Pool, now: Instant) -> Document:
    """The figures of section 4 under their names, and what follows from them."""
    seen = figures(pool)
    wanted = repaired(pool.targets, pool.kind)
    promised = seen.used + seen.cooling + seen.pending_create + seen.pending_delete
    answer = pool_windows.assign(pool, "", node.available, cluster.quirks)
    return {
        "next": _verdict(cluster, pool),
        "deviation": deviation(pool.kind, pool.targets, seen, cluster.quirks),
        "room": max(seen.capacity - seen.warm - promised, 0),
        "targets": {
            "warm_ip": wanted.warm, "minimum_ip": wanted.minimum, "warm_prefix": wanted.prefix,
            "draining": wanted.draining,
        },
        "figures": msgspec.structs.asdict(seen),
        "resync_wanted": pool.resync,
        "tick_in_seconds": max(pool.tick_at - now, 0) / SECOND if pool.tick_at else None,
        "a_pod_now_gets": answer if isinstance(answer, str) else answer.address,
    }  # fmt: skip
