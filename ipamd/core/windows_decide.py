"""A controller of Windows nodes, for whoever drives it: one State, many nodes, the same journal as everything else.

What to send (all through `decide`, every record to disk before a call of it is performed or its answer given):

    OpenController   first of all, at each start and each time leadership is won
    ConfigSeen       the ConfigMap's raw data, on every event of it; LegacySeen likewise. Before the first NodeSeen
    PodSeen/PodGone  pods with a node that request PRIVATE_IPV4 (any count means one address). After a start all pods
                     are to be listed and seen before the first NodeSeen, for pools are rebuilt from annotations
    NodeSeen/NodeGone  every event and every periodic listing. After a start: NodeGone for each of `unseen` that
                     is not in the list
    WindowsDue       when `windows_state.next_due(state.windows)` has come, again and again until it lies ahead
    Settle           the outcome of each call

What comes out: `CallStarted` with `node` set. `lane` names the workers (WIN-125; how many there are is the driver's):

    lane "node"       10 workers  ReadInstance (Init), AdvertiseCapacity
    lane "secondary"  2           AssignPrivateIpAddresses, UnassignPrivateIpAddresses, ReadInstance (re-sync)
    lane "prefix"     2           the same
    lane "pod"        20          AnnotatePod

ReadInstance settles with `InstanceFacts`: L and `nitro` are the driver's, from its table of types; L 0 means unknown.
AssignPrivateIpAddresses settles with what EC2 granted and shows (WIN-107: `Granted` may be short). The rest settle
with `Done`. Retries of WIN-40 (conflict) and WIN-113 (three attempts, token bucket) are the performer's.
`Announced` events are Kubernetes events to post, best effort, once their record is durable.

PodSeen is answered by `PodAnswer`; everything else by None.
"""

from __future__ import annotations

from . import windows_events as we
from . import windows_nodes, windows_pods
from .calls import (
    INSUFFICIENT_CIDR_BLOCKS,
    AssignPrivateIpAddresses,
    Failed,
    Granted,
    Outcome,
    Succeeded,
    UnassignPrivateIpAddresses,
)
from .cluster_calls import AdvertiseCapacity, AnnotatePod, InstanceFacts, ReadInstance
from .events import CallEnded
from .state import Running, State
from .steps import text_of
from .types import Instant
from .windows_commands import (
    ConfigSeen,
    LegacySeen,
    NodeGone,
    NodeSeen,
    OpenController,
    PodAnswer,
    PodGone,
    PodSeen,
    WindowsCommand,
    WindowsDue,
)
from .windows_config import PoolKind
from .windows_draft import Draft
from .windows_fold import groups_of
from .windows_state import COOLDOWN, Cluster, WindowsNode, next_due


def decide(state: State, command: WindowsCommand, now: Instant) -> tuple[Draft, PodAnswer | None]:
    """One command of a controller; the events are the draft's."""
    draft = Draft(state, now)
    answer = None
    match command:
        case PodSeen():
            answer = windows_pods.pod_seen(draft, command)
        case WindowsDue():
            _due(draft)
        case PodGone():
            windows_pods.pod_gone(draft, command)
        case NodeSeen():
            windows_nodes.node_seen(draft, command)
        case NodeGone():
            windows_nodes.node_gone(draft, command)
        case ConfigSeen() | LegacySeen():
            windows_nodes.config_seen(draft, command)
        case OpenController():
            for call_id in state.calls:
                draft.note(CallEnded(call_id, "lost", message="the process ended"))
            draft.note(we.ControllerOpened(command.seed, command.prefix_delegation, command.quirks, command.cleaner))
    return draft, answer


def unseen(cluster: Cluster) -> list[str]:
    """Nodes known from before the process began that no NodeSeen has named since."""
    return [node.name for node in cluster.nodes.values() if node.phase == "unseen"]


def _due(draft: Draft) -> None:
    """The earliest moment, if it has come."""
    cluster = draft.cluster
    at = next_due(cluster)
    if at is None or at > draft.now:
        return
    moment = cluster.dues[0]
    node = cluster.nodes.get(moment.node)
    if moment.what == "pod":
        pod = cluster.pods.get(moment.node, {}).get(moment.uid)
        waiting = cluster.waiting.get((moment.node, moment.uid))
        if pod is None or node is None or node.phase != "ready":
            draft.note(we.PodWaits(moment.node, moment.uid, windows_pods.NODE))
        else:
            windows_pods.serve(draft, node, pod, waiting)
        return
    tick(draft, moment.node, "prefix" if moment.what == "prefix" else "secondary")


def tick(draft: Draft, node: str, kind: PoolKind) -> None:
    """WIN-81, WIN-100: what has rested 30 s is assignable again; then a reconcile."""
    pool = draft.pool(node, kind)
    if pool is None:
        return
    cooled = 0
    for _, _, since in pool.cooling:
        if draft.now - since < COOLDOWN:
            break
        cooled += 1
    draft.change(we.Ticked(node, kind, cooled))
    draft.reconcile(node, kind)


# ---- calls that came back ------------------------------------------------------------------------------------


def settle(state: State, running: Running, ended: CallEnded, outcome: Outcome, now: Instant) -> Draft:
    """A call of a node, of one of its pools or of a pod came back."""
    draft = Draft(state, now)
    draft.ended(ended, running)
    node = state.windows.nodes.get(running.node)
    if node is None:
        return draft
    match running.call:
        case AnnotatePod():
            windows_pods.annotated(draft, node, running.call, outcome)
        case AdvertiseCapacity():
            if isinstance(outcome, Succeeded):
                draft.note(we.CapacityAdvertised(node.name, running.call.value))
        case ReadInstance() if running.lane == "node":
            if node.phase != "init" or node.instance != running.call.instance:
                return draft  # an older Init of a node that was seen anew
            windows_nodes.instance_read(draft, node, outcome)
        case _ if running.lane == "prefix" or running.lane == "secondary":
            _job_ended(draft, node, running, running.lane, outcome)
        case _:
            pass  # no other call is a node's
    return draft


def _job_ended(draft: Draft, node: WindowsNode, running: Running, kind: PoolKind, outcome: Outcome) -> None:
    pool = draft.pool(node.name, kind)
    if pool is None:
        return
    match running.call:
        case ReadInstance():
            if isinstance(outcome, Succeeded) and isinstance(outcome.result, InstanceFacts):
                draft.change(_found(node, kind, outcome.result))
        case AssignPrivateIpAddresses():
            _create_ended(draft, node, running.call, kind, outcome)
        case UnassignPrivateIpAddresses():
            groups = groups_of(pool, running.call)
            if isinstance(outcome, Succeeded):
                draft.change(we.GroupsLost(node.name, kind, groups))
            else:
                kept = running.call.addresses if draft.quirks.windows_failed_delete_loses_mask else ()
                draft.change(we.GroupsKept(node.name, kind, kept or groups))
                draft.fail(node.name, kind, text_of(outcome))
            _available(draft, node, kind, True)
            if isinstance(outcome, Succeeded) and pool.resync:
                draft.reconcile(node.name, kind)
        case _:
            pass


def _found(node: WindowsNode, kind: PoolKind, facts: InstanceFacts) -> we.PoolResynced:
    mask = facts.subnet_cidr.partition("/")[2]
    held = []
    for interface in facts.interfaces:
        groups = interface.prefixes if kind == "prefix" else tuple(f"{a}/{mask}" for a in interface.addresses)
        held += [we.Held(interface.eni, group) for group in groups]
    return we.PoolResynced(node.name, kind, tuple(held))


def _create_ended(
    draft: Draft, node: WindowsNode, call: AssignPrivateIpAddresses, kind: PoolKind, outcome: Outcome
) -> None:
    """WIN-45, WIN-96, WIN-106: what came is kept; less than was asked for is a failure."""
    wanted = call.prefixes or call.secondary_ips
    granted = outcome.result if isinstance(outcome, Succeeded) and isinstance(outcome.result, Granted) else Granted()
    pool = draft.pool(node.name, kind)
    assert pool is not None
    groups = granted.prefixes if kind == "prefix" else tuple(a + pool.suffix for a in granted.addresses)
    if groups:
        draft.change(we.GroupsGained(node.name, kind, tuple(we.Held(call.eni, group) for group in groups)))
    no_cidr = kind == "prefix" and isinstance(outcome, Failed) and outcome.code == INSUFFICIENT_CIDR_BLOCKS
    if no_cidr and not draft.quirks.windows_insufficient_cidr_missed:
        _available(draft, node, kind, False)
        text, reason = windows_nodes.INSUFFICIENT_TEXT, windows_nodes.INSUFFICIENT_CIDR_BLOCKS
        draft.note(we.Announced(node.name, reason, text, warning=True))
        return
    _available(draft, node, kind, True)
    if len(groups) < wanted:
        draft.fail(node.name, kind, text_of(outcome) or f"wanted {wanted}, got {len(groups)}")
    elif pool.resync:
        draft.reconcile(node.name, kind)


def _available(draft: Draft, node: WindowsNode, kind: PoolKind, available: bool) -> None:
    if kind == "prefix" and node.available != available:
        draft.note(we.PrefixesAvailable(node.name, available))
