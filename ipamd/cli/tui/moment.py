"""What is known of one moment of a journal: all that a screen is made of. Whatever the source, it looks the same."""

from __future__ import annotations

from typing import Any

import msgspec

from ipamd.core import views
from ipamd.core.commands import Refused
from ipamd.core.events import Record
from ipamd.core.settings import Node, Settings
from ipamd.core.state import Pending, State
from ipamd.core.types import Instant
from ipamd.server.planned import plan_document

from .fleet import NodeView, node_views


class Reach(msgspec.Struct, frozen=True):
    """First and last record of a journal, and their instants in ns."""

    first_seq: int
    last_seq: int
    first_at: Instant
    last_at: Instant


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """The pool after record `seq`, judged at `at` (ns). Its members up to `loop` are those of `/v1/state`."""

    seq: int
    at: Instant
    phase: str
    terminating: bool
    node: Node
    settings: Settings
    pool: views.PoolView
    pods: list[views.PodView]
    cooling: list[views.CoolingView]
    pending_enis: dict[str, Pending] = {}
    loop: views.LoopView
    record: Record | None = None
    plan: dict[str, Any] | None = None
    """As `/v1/plan` tells it; None where only `loop` is known."""
    told: Refused | None = None
    """What a pod would be told now, were no address free."""
    nodes: tuple[NodeView, ...] = ()
    """Windows nodes of a controller."""


def moment_of(state: State, record: Record, now: Instant) -> Moment:
    """The moment at which a State is judged."""
    return Moment(
        seq=state.seq,
        at=now,
        phase=state.phase,
        terminating=state.terminating,
        node=state.node,
        settings=state.settings,
        pool=views.pool(state, now),
        pods=views.pods(state),
        cooling=views.cooling(state, now),
        pending_enis=dict(state.pending),
        loop=views.loop(state, now),
        record=record,
        plan=plan_document(state, now) if state.phase == "ready" else None,
        nodes=node_views(state, now),
    )
