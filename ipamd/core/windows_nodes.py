"""Nodes: which are managed, how their pools are built, what follows from a new configuration (WIN-24..49, 68..71,
WIN-114..121).

Providers run in the order secondary, prefix, which upstream leaves to a hash map.
"""

from __future__ import annotations

from typing import Final

from . import windows_events as we
from .calls import Failed, Outcome, Succeeded
from .cluster_calls import PRIVATE_IPV4, AdvertiseCapacity, InstanceFacts, ReadInstance
from .pool_windows import capacity
from .windows_commands import ConfigSeen, LegacySeen, NodeGone, NodeSeen
from .windows_config import DRAINING, Conditions, PoolKind, Targets, pool_config
from .windows_draft import Draft
from .windows_fold import build_pool
from .windows_pods import serve_waiting
from .windows_state import WindowsNode, expand

WINDOWS: Final = "windows"

VERSION_NOTICE: Final = "ControllerVersionNotice"
UNSUPPORTED: Final = "Unsupported"
INSUFFICIENT_CIDR_BLOCKS: Final = "InsufficientCidrBlocks"
INSUFFICIENT_TEXT: Final = (
    "InsufficientCidrBlocks: The specified subnet does not have enough free cidr blocks to satisfy the request"
)
"""WIN-45: the controller's own words, not EC2's; clients match them."""


def node_seen(draft: Draft, seen: NodeSeen) -> None:
    """WIN-24..29."""
    known = draft.cluster.nodes.get(seen.node)
    if seen.auto:
        return
    managed = _managed(draft.conditions, seen.os, seen.instance, seen.trunk)
    fresh = known is None or known.phase == "unseen" or known.instance != seen.instance
    facts = (seen.instance, seen.os, managed, seen.capacity, seen.trunk)
    same = known is not None and not fresh and facts == (
        known.instance, known.os, known.phase != "unmanaged", known.capacity, known.trunk,
    )  # fmt: skip
    if not same:
        draft.note(we.NodeKnown(seen.node, *facts))
    if not managed:
        return
    if fresh or known is None or known.phase == "unmanaged":
        _begin(draft, seen.node, seen.instance)
    elif known.phase == "ready":
        update(draft, known, seen.capacity)


def _managed(conditions: Conditions, os: str, instance: str, trunk: bool) -> bool:
    return bool(os and instance) and ((os == WINDOWS and conditions.ipam) or trunk)


def _begin(draft: Draft, node: str, instance: str) -> None:
    """WIN-31: Init. The driver puts the controller's version into the notice."""
    draft.note(we.Announced(node, VERSION_NOTICE, "this node is managed by ipamd controller"))
    draft.call(node, "node", ReadInstance(instance))


def node_gone(draft: Draft, gone: NodeGone) -> None:
    """WIN-30: forgotten, without a call on EC2."""
    if gone.node in draft.cluster.nodes:
        draft.note(we.NodeForgotten(gone.node))


def config_seen(draft: Draft, seen: ConfigSeen | LegacySeen) -> None:
    """WIN-18, WIN-20, WIN-22: what changed reaches every node that is known."""
    cluster = draft.cluster
    data, legacy = cluster.data, cluster.legacy
    if isinstance(seen, ConfigSeen):
        if seen.data == data:
            return
        data = seen.data
        draft.note(we.ConfigMapChanged(data))
    else:
        if seen.present == legacy:
            return
        legacy = seen.present
        draft.note(we.LegacyChanged(legacy))
    draft.data = data
    draft.conditions = cluster.judged(data, legacy)
    if draft.conditions == cluster.conditions:
        return
    for node in cluster.nodes.values():
        if node.phase != "unseen":
            _reconsider(draft, node)


def _reconsider(draft: Draft, node: WindowsNode) -> None:
    managed = _managed(draft.conditions, node.os, node.instance, node.trunk)
    if managed == (node.phase == "unmanaged"):
        draft.note(we.NodeKnown(node.name, node.instance, node.os, managed, node.capacity, node.trunk))
    if managed and node.phase == "unmanaged":
        _begin(draft, node.name, node.instance)
    elif managed and node.phase == "ready":
        update(draft, node, node.capacity)


# ---- Init ----------------------------------------------------------------------------------------------------


def instance_read(draft: Draft, node: WindowsNode, outcome: Outcome) -> None:
    """WIN-33, WIN-34: both pools are built, then the node is ready and updated at once (WIN-31)."""
    facts = outcome.result if isinstance(outcome, Succeeded) else None
    if not isinstance(facts, InstanceFacts):
        code = outcome.code if isinstance(outcome, Failed) else ""
        text = outcome.message if isinstance(outcome, Failed) else "no answer"
        draft.note(we.NodeForgotten(node.name, f"instance {node.instance} could not be read: {code} {text}".strip()))
        return
    if facts.ips_per_eni <= 0:
        kind = facts.instance_type
        message = f"instance type {kind} is not supported yet by the vpc resource controller"
        draft.note(we.Announced(node.name, UNSUPPORTED, message, warning=True))
        draft.note(we.NodeForgotten(node.name, f"instance type {kind}: not in the table of limits"))
        return
    delegation = draft.conditions.prefix_delegation
    draft.note(we.NodeInitialised(node.name, facts, delegation))
    if node.os != WINDOWS:
        return
    ready = WindowsNode(node.name, node.instance, node.os, node.trunk)
    ready.phase, ready.facts, ready.prefix_mode = "ready", facts, delegation
    ready.capacity, ready.advertised = node.capacity, node.advertised
    ready.available = not draft.quirks.windows_prefixes_unavailable_at_first
    draft.initialised(ready)
    kinds: tuple[PoolKind, ...] = ("secondary", "prefix") if prefix_supported(draft, ready) else ("secondary",)
    for kind in kinds:
        active = (kind == "prefix") == delegation
        if not facts.nitro and not draft.quirks.windows_non_nitro_drains_at_first:
            active = True
        targets = pool_config(draft.data, kind, draft.quirks) if active else DRAINING
        _build(draft, ready, node, kind, targets)
        draft.reconcile(node.name, kind)
    update(draft, ready, node.capacity, fresh=True)
    serve_waiting(draft, node.name)


def prefix_supported(draft: Draft, node: WindowsNode) -> bool:
    """WIN-35, WIN-44: prefixes need the flag and a Nitro type; every refusal is announced."""
    if not draft.cluster.prefix_flag or node.facts is None:
        return False
    if not node.facts.nitro:
        message = f"instance type {node.facts.instance_type} is not supported for Windows prefix delegation"
        draft.note(we.Announced(node.name, UNSUPPORTED, message, warning=True))
    return node.facts.nitro


def _build(draft: Draft, ready: WindowsNode, before: WindowsNode, kind: PoolKind, targets: Targets) -> None:
    """WIN-68, WIN-69. What rested, or was a pod's that vanished meanwhile, rests (WIN-71 is upstream's way)."""
    facts = ready.facts
    assert facts is not None
    mask = facts.subnet_cidr.partition("/")[2]
    held = []
    for interface in facts.interfaces:
        groups = interface.prefixes if kind == "prefix" else tuple(f"{a}/{mask}" for a in interface.addresses)
        held += [we.Held(interface.eni, group) for group in groups]
    home = {address: item.group for item in held for address in expand(item.group)}
    taken: dict[str, we.Taken] = {}
    for pod in sorted(draft.cluster.pods.get(ready.name, {}).values(), key=lambda pod: (pod.namespace, pod.name)):
        if not pod.done and pod.annotation in home and pod.annotation not in taken:
            taken[pod.annotation] = we.Taken(pod.uid, pod.annotation, home[pod.annotation])
    resting = [
        we.Resting(address, home[address], since if not uid else draft.now)
        for address, (uid, since) in before.remembered.items()
        if address in home and address not in taken
    ]
    event = we.PoolBuilt(
        ready.name, kind, capacity(kind, facts.ips_per_eni), targets, tuple(held), tuple(taken.values()),
        tuple(sorted(resting, key=lambda rest: (rest.since, rest.address))),
    )  # fmt: skip
    draft.note(event)
    draft.built(ready.name, build_pool(event, facts, draft.now))


# ---- Update --------------------------------------------------------------------------------------------------


def update(draft: Draft, node: WindowsNode, shown: int, fresh: bool = False) -> None:
    """WIN-115 on Nitro; on any other type the secondary pool alone. `shown`: the Node's capacity now (WIN-40)."""
    if node.facts is None or node.os != WINDOWS:
        return
    delegation = draft.conditions.prefix_delegation
    limit = node.facts.ips_per_eni
    if draft.pool(node.name, "prefix") is None:
        if not fresh:
            prefix_supported(draft, node)
        configure(draft, node.name, "secondary")
        advertise(draft, node, capacity("secondary", limit), shown)
        return
    active: PoolKind = "prefix" if delegation else "secondary"
    other: PoolKind = "secondary" if delegation else "prefix"
    if node.prefix_mode != delegation:
        draft.note(we.ModeRemembered(node.name, delegation))
        configure(draft, node.name, other, DRAINING)
    configure(draft, node.name, active)
    advertise(draft, node, capacity(active, limit), shown)


def configure(draft: Draft, node: str, kind: PoolKind, targets: Targets | None = None) -> None:
    """WIN-101, WIN-102: replace the config, or read it anew (WIN-21), and reconcile."""
    pool = draft.pool(node, kind)
    if pool is None:
        return
    wanted = targets if targets is not None else pool_config(draft.data, kind, draft.quirks)
    if wanted != pool.targets:
        draft.change(we.PoolConfigured(node, kind, wanted))
    draft.reconcile(node, kind)


def advertise(draft: Draft, node: WindowsNode, value: int, shown: int) -> None:
    """WIN-40: written unless the Node shows it already, or the write is on its way."""
    on_its_way = node.advertised == value and shown == node.capacity
    if value != shown and not on_its_way:
        draft.call(node.name, "node", AdvertiseCapacity(node.name, PRIVATE_IPV4, value))
