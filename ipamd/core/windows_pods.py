"""Pods: who is served when, what a refusal leads to, how an address comes back (WIN-54..73).

A pod that waits for its node is served at the moment the node is ready; upstream asks once a second (WIN-55).
"""

from __future__ import annotations

from typing import Final

from . import pool_windows
from . import windows_events as we
from .calls import Outcome, Succeeded
from .cluster_calls import PRIVATE_IPV4, AnnotatePod
from .steps import text_of
from .types import MS, SECOND, Instant
from .windows_commands import PodAnswer, PodGone, PodSeen, WindowsPod
from .windows_config import PoolKind
from .windows_draft import Draft
from .windows_state import Waiting, WindowsNode

RETRY_EMPTY: Final = 600 * MS
RETRY_COOLING: Final = 20 * SECOND
RETRY_NO_CIDR: Final = 120 * SECOND
BACKOFF_START: Final = 5 * MS
BACKOFF_CAP: Final = 1000 * SECOND
"""WIN-58: an error, rather than an answer that names its delay."""

ALLOCATED: Final = "ResourceAllocated"
FAILED: Final = "ResourceAllocationFailed"

NODE: Final = "node not ready"
NO_POOL: Final = "no pool"
ANNOTATE: Final = "annotation failed"

_WAITS: Final = {
    pool_windows.COOLING: (RETRY_COOLING, f"{PRIVATE_IPV4} addresses are cooling down; next try in 20s"),
    pool_windows.CREATING: (RETRY_EMPTY, f"the warm pool of {PRIVATE_IPV4} is currently empty; next try in 600ms"),
    pool_windows.EMPTY: (RETRY_EMPTY, f"the warm pool of {PRIVATE_IPV4} is currently empty; next try in 600ms"),
    pool_windows.NO_CIDR: (
        RETRY_NO_CIDR, f"the subnet does not have enough free cidr blocks for {PRIVATE_IPV4}; next try in 2m0s",
    ),
}  # fmt: skip


def pod_seen(draft: Draft, seen: PodSeen) -> PodAnswer:
    """WIN-55, WIN-59: keep what is new of the pod, then serve it or take its address back."""
    pod, name = seen.pod, seen.node
    known = draft.cluster.pods.get(name, {}).get(pod.uid)
    if known is not None and known.annotation and not pod.annotation:
        pod = WindowsPod(pod.uid, pod.namespace, pod.name, known.annotation, pod.done)  # older news than our write
    if pod != known:
        draft.note(we.PodKnown(name, pod))
    node = draft.cluster.nodes.get(name)
    if node is not None and node.phase == "unmanaged":
        return PodAnswer("ignored", "the node is not managed")
    if pod.done:
        if known is None or not known.done:
            release(draft, node, pod)
        return PodAnswer("done")
    waiting = draft.cluster.waiting.get((name, pod.uid))
    if pod.annotation:
        return PodAnswer("annotated")  # its pool is rebuilt from it, or knows it
    if node is None or node.phase != "ready":
        if waiting is None:
            draft.note(we.PodWaits(name, pod.uid, NODE))
        return PodAnswer("waiting", NODE)
    if waiting is not None and waiting.due > draft.now:
        return PodAnswer("waiting", waiting.why, waiting.due)
    return serve(draft, node, pod, waiting)


def serve(draft: Draft, node: WindowsNode, pod: WindowsPod, waiting: Waiting | None) -> PodAnswer:
    """WIN-59, WIN-60."""
    delegated = draft.conditions.prefix_delegation and draft.pool(node.name, "prefix") is not None
    kind: PoolKind = "prefix" if delegated else "secondary"
    pool = draft.pool(node.name, kind)
    if pool is None:
        return _fail(draft, node.name, pod.uid, NO_POOL, waiting)
    holder = owner(draft, node.name, pod.uid)
    if holder is not None and holder != kind:  # the mode changed before its annotation was written
        kind, pool = holder, draft.pool(node.name, holder) or pool
    got = pool_windows.assign(pool, pod.uid, node.available, draft.quirks)
    if isinstance(got, pool_windows.Pick):
        draft.change(we.WindowsAssigned(node.name, kind, pod.uid, got.address, got.group))
        _annotate(draft, node.name, pod, got.address)
        draft.reconcile(node.name, kind)
        return PodAnswer("annotating")
    if got == pool_windows.ALREADY:
        return _again(draft, node.name, pod, pool.used[pod.uid][1])
    if got == pool_windows.EMPTY:
        draft.reconcile(node.name, kind)
    if got == pool_windows.MAX_CAPACITY:
        return _fail(draft, node.name, pod.uid, got, waiting)
    delay, message = _WAITS[got]
    draft.note(we.Announced(node.name, FAILED, message, True, pod.namespace, pod.name, pod.uid))
    draft.note(we.PodWaits(node.name, pod.uid, got, draft.now + delay))
    return PodAnswer("waiting", got, draft.now + delay)


def serve_waiting(draft: Draft, node_name: str) -> None:
    """The node is ready: whoever waited for it is served, in the order of arrival."""
    node = draft.node(node_name)
    if node is None:
        return
    pods = draft.cluster.pods.get(node_name, {})
    here = [
        (waiting.order, uid)
        for uid in pods
        if (waiting := draft.cluster.waiting.get((node_name, uid))) is not None and waiting.why == NODE
    ]
    for _, uid in sorted(here):
        serve(draft, node, pods[uid], None)


def _annotate(draft: Draft, node: str, pod: WindowsPod, address: str) -> None:
    draft.call(node, "pod", AnnotatePod(pod.namespace, pod.name, pod.uid, PRIVATE_IPV4, address))


def _again(draft: Draft, node: str, pod: WindowsPod, address: str) -> PodAnswer:
    """WIN-61: it has an address and no annotation. The write may still be on its way; if not, ours is sent again."""
    calls = draft.state.calls.values()
    pending = any(isinstance(run.call, AnnotatePod) and run.call.uid == pod.uid for run in calls)
    if not pending and not draft.quirks.windows_lost_annotation_stays_lost:
        _annotate(draft, node, pod, address)
    return PodAnswer("annotating", pool_windows.ALREADY)


def _fail(draft: Draft, node: str, uid: str, why: str, waiting: Waiting | None) -> PodAnswer:
    """WIN-58: exponential backoff, without end; no event on the pod."""
    failures = waiting.failures if waiting is not None else 0
    due: Instant = draft.now + min(BACKOFF_START << min(failures, 20), BACKOFF_CAP)
    draft.note(we.PodWaits(node, uid, why, due, failures + 1))
    return PodAnswer("waiting", why, due)


# ---- the annotation came back ---------------------------------------------------------------------------------


def annotated(draft: Draft, node: WindowsNode, call: AnnotatePod, outcome: Outcome) -> None:
    """WIN-62, WIN-63."""
    kind = owner(draft, node.name, call.uid)
    if kind is None:
        return  # the pod ended meanwhile, and its address rests
    pool = draft.pool(node.name, kind)
    assert pool is not None
    allocated = we.Announced(
        node.name, ALLOCATED, f"allocated {PRIVATE_IPV4} {call.value} to the pod", False,
        call.namespace, call.name, call.uid,
    )  # fmt: skip
    if isinstance(outcome, Succeeded):
        draft.note(we.PodAnnotated(node.name, call.uid, call.value))
        draft.note(allocated)
        return
    draft.change(we.WindowsReleased(node.name, kind, call.uid))
    if draft.quirks.windows_allocated_event_on_failure:
        draft.note(allocated)
    draft.reconcile(node.name, kind)
    if call.uid in draft.cluster.pods.get(node.name, {}):
        waiting = draft.cluster.waiting.get((node.name, call.uid))
        _fail(draft, node.name, call.uid, f"{ANNOTATE}: {text_of(outcome)}", waiting)


# ---- the pod ended --------------------------------------------------------------------------------------------


def pod_gone(draft: Draft, gone: PodGone) -> None:
    """WIN-65, WIN-66. On a node that is not managed nothing but the pod is forgotten (WIN-20)."""
    pod = draft.cluster.pods.get(gone.node, {}).get(gone.uid)
    if pod is None:
        return
    draft.note(we.PodForgotten(gone.node, gone.uid))
    if not pod.done:
        release(draft, draft.cluster.nodes.get(gone.node), pod)


def owner(draft: Draft, node: str, uid: str) -> PoolKind | None:
    """The pool that lists the pod (WIN-57)."""
    kinds: tuple[PoolKind, ...] = ("prefix", "secondary")
    for kind in kinds:
        pool = draft.pool(node, kind)
        if pool is not None and uid in pool.used:
            return kind
    return None


def release(draft: Draft, node: WindowsNode | None, pod: WindowsPod) -> None:
    """WIN-80: the address rests. A refusal is recorded and not tried again."""
    if node is None or node.phase != "ready":
        return
    kind = owner(draft, node.name, pod.uid)
    if kind is None:
        if pod.annotation:
            draft.note(we.ReleaseRefused(node.name, pod.uid, "does not exist"))
        return
    pool = draft.pool(node.name, kind)
    assert pool is not None
    if pod.annotation and pool.used[pod.uid][1] != pod.annotation:
        draft.note(we.ReleaseRefused(node.name, pod.uid, "wrong owner"))
        return
    draft.change(we.WindowsReleased(node.name, kind, pod.uid))
    draft.reconcile(node.name, kind)
