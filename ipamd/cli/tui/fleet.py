"""The Windows nodes of a controller as views: their groups with what each address does, who waits, and the plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ipamd.core.state import State
from ipamd.core.types import CidrText, Instant
from ipamd.core.windows_state import Pool, WindowsNode, expand
from ipamd.server.controller_pools import plan_of_node

from .spans import Kind


class GroupView(msgspec.Struct, frozen=True):
    """A /28, or one address. `cells`: (address, what it does) in order."""

    group: CidrText
    eni: str
    cells: tuple[tuple[str, Kind], ...]


class WaitView(msgspec.Struct, frozen=True):
    """A pod without address. `due` in ns; 0: when its node is ready."""

    pod: str
    why: str
    due: Instant


class NodeView(msgspec.Struct, frozen=True):
    """One node. `plan` is what the controller's `/v1/plan/NAME` tells."""

    name: str
    phase: str
    prefixes: bool
    capacity: int
    groups: tuple[GroupView, ...]
    pods: tuple[tuple[str, str], ...]
    """(namespace/name, address)."""
    waiting: tuple[WaitView, ...]
    plan: dict[str, Any]

    def count(self, kind: Kind) -> int:
        """Addresses that do so."""
        return sum(what == kind for group in self.groups for _, what in group.cells)


def node_views(state: State, now: Instant) -> tuple[NodeView, ...]:
    """Every known node, by name."""
    named = sorted(state.windows.nodes.items(), key=lambda item: item[0])
    return tuple(_node(state, node, now) for _, node in named)


def _node(state: State, node: WindowsNode, now: Instant) -> NodeView:
    known = state.windows.pods.get(node.name, {})
    names = {uid: f"{pod.namespace}/{pod.name}" for uid, pod in known.items()}
    waiting = tuple(
        WaitView(names.get(uid, uid), row.why, row.due)
        for (where, uid), row in state.windows.waiting.items()
        if where == node.name
    )
    held = [
        (names.get(uid, uid), address) for pool in node.pools.values() for uid, (_, address) in pool.used.items()
    ]
    plan = plan_of_node(state, node.name, now)
    return NodeView(
        node.name, node.phase, node.prefix_mode, node.capacity,
        tuple(group for pool in node.pools.values() for group in _groups(pool)), tuple(held), waiting, plan or {},
    )  # fmt: skip


def _groups(pool: Pool) -> Iterator[GroupView]:
    """Attached groups, then those that are being released."""
    does: dict[str, Kind] = {address.partition("/")[0]: "assigned" for _, address in pool.used.values()}
    does |= {address.partition("/")[0]: "cooling" for address, _, _ in pool.cooling}
    warm = {address.partition("/")[0] for free in pool.warm.values() for address in free}
    for homes, other in ((pool.home, False), (pool.leaving, True)):
        for group, eni in homes.items():
            addresses = [address.partition("/")[0] for address in expand(group)]
            cells = tuple((a, does.get(a, "free" if a in warm and not other else "reserved")) for a in addresses)
            yield GroupView(group, eni, cells)
