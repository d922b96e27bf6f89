"""What must hold of every Windows node, from the facts alone."""

from __future__ import annotations

from .calls import AssignPrivateIpAddresses, UnassignPrivateIpAddresses
from .state import State
from .types import PREFIX_SIZE
from .windows_fold import groups_of
from .windows_state import Cluster, Pool, WindowsNode, expand, numeric


def check(state: State) -> None:
    """Assert every invariant. Cost: linear in addresses and waiting pods."""
    cluster = state.windows
    holders: dict[str, str] = {}
    for node in cluster.nodes.values():
        for pool in node.pools.values():
            _addresses(node, pool, holders)
        _slots(node)
    _pending(state)
    _moments(cluster)


def check_node(state: State, name: str) -> None:
    """Assert what concerns one node alone: what a long run checks after each of its records."""
    node = state.windows.nodes.get(name)
    if node is not None:
        for pool in node.pools.values():
            _addresses(node, pool, {})
        _slots(node)


def _addresses(node: WindowsNode, pool: Pool, holders: dict[str, str]) -> None:
    """Each address is used, warm or cooling, once, and belongs to a group; no address belongs to two nodes' pods."""
    where = f"{node.name} {pool.kind}"
    used = {address: uid for uid, (_, address) in pool.used.items()}
    assert len(used) == len(pool.used), f"{where}: one address for two pods"
    resting = [address for address, _, _ in pool.cooling]
    warm = [address for free in pool.warm.values() for address in free]
    for name, some in (("cooling", resting), ("warm", warm)):
        assert len(set(some)) == len(some), f"{where}: an address is {name} twice"
    assert not set(used) & set(resting), f"{where}: an address is used and cooling"
    assert not (set(used) | set(resting)) & set(warm), f"{where}: a warm address is taken"
    for group, free in pool.warm.items():
        assert group in pool.home, f"{where}: warm group {group} is not attached"
        assert set(free) <= set(expand(group)), f"{where}: {group} offers addresses that are not its own"
    assert list(pool.warm) == sorted(pool.warm, key=numeric), f"{where}: groups out of order"
    times = [since for _, _, since in pool.cooling]
    assert times == sorted(times), f"{where}: cooling queue out of order"
    for address, uid in used.items():
        bare = address.partition("/")[0]
        assert bare not in holders, f"{bare} is held by {holders[bare]} and by {uid}"
        holders[bare] = uid


def _slots(node: WindowsNode) -> None:
    """No interface holds more than its slots, as far as its own two pools know."""
    if node.facts is None or not node.pools:
        return
    held: dict[str, int] = {}
    for pool in node.pools.values():
        for eni in pool.home.values():
            held[eni] = held.get(eni, 0) + 1
    for eni, count in held.items():
        assert count <= node.facts.ips_per_eni - 1, f"{node.name} {eni}: {count} groups on {node.facts.ips_per_eni - 1}"


def _pending(state: State) -> None:
    """pc and pd are just what the calls in flight ask for."""
    creates: dict[tuple[str, str], int] = {}
    deletes: dict[tuple[str, str], int] = {}
    for running in state.calls.values():
        key = (running.node, running.lane)
        size = PREFIX_SIZE if running.lane == "prefix" else 1
        match running.call:
            case AssignPrivateIpAddresses() if running.node:
                groups = running.call.prefixes or running.call.secondary_ips
                creates[key] = creates.get(key, 0) + groups * size
            case UnassignPrivateIpAddresses() if running.node:
                pool = state.windows.pool(running.node, "prefix" if running.lane == "prefix" else "secondary")
                groups = len(groups_of(pool, running.call)) if pool is not None else 0
                deletes[key] = deletes.get(key, 0) + groups * size
            case _:
                pass
    for node in state.windows.nodes.values():
        for pool in node.pools.values():
            key = (node.name, pool.kind)
            assert pool.pending_create == creates.get(key, 0), f"{key}: pc {pool.pending_create}, asked {creates}"
            assert pool.pending_delete == deletes.get(key, 0), f"{key}: pd {pool.pending_delete}, asked {deletes}"


def _moments(cluster: Cluster) -> None:
    """Every pod's next try and every tick stands in the heap; a pod does not wait and hold an address."""
    standing = {(moment.node, moment.what, moment.uid, moment.due) for moment in cluster.dues}
    for (node, uid), waiting in cluster.waiting.items():
        assert not waiting.due or (node, "pod", uid, waiting.due) in standing, f"{node} {uid}: its next try is lost"
        for known in cluster.nodes[node].pools.values() if node in cluster.nodes else ():
            assert uid not in known.used, f"{node} {uid}: waits and holds an address"
    for known_node in cluster.nodes.values():
        for pool in known_node.pools.values():
            due = pool.tick_at
            assert not due or (known_node.name, pool.kind, "", due) in standing, f"{known_node.name}: its tick is lost"
