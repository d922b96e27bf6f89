"""`ipamd state` of a controller's journal: its Windows nodes, their pools and pods."""

from __future__ import annotations

import msgspec

from ipamd.core.state import State
from ipamd.core.types import Instant
from ipamd.core.windows_views import WindowsView, view

from . import output
from .output import time_text


class Document(msgspec.Struct):
    """What `--json` prints; instants in ns."""

    seq: int
    at: Instant
    windows: WindowsView


def document(state: State, now: Instant) -> Document:
    """State as `--json` prints it."""
    return Document(state.seq, now, view(state))


def show(state: State, now: Instant) -> None:
    """The same for people."""
    out = output.console()
    seen = view(state)
    config = " ".join(f"{key}={value}" for key, value in sorted((seen.config or {}).items())) or "absent"
    out.print(
        output.facts(
            [
                ("as of", f"{time_text(now)}: record {state.seq}"),
                ("ConfigMap", config),
                ("Windows IPAM", "on" if seen.ipam else "off"),
                ("prefix delegation", "on" if seen.prefix_delegation else "off"),
            ]
        )
    )
    pools = [
        (node.node, node.instance_type, node.phase, node.capacity, node.waiting, pool.pool, pool.groups, pool.used,
         pool.warm, pool.cooling, "draining" if pool.draining else pool.wants or "-")
        for node in seen.nodes
        for pool in node.pools
    ]  # fmt: skip
    heads = ("node", "type", "phase", "capacity", "waiting", "pool", "groups", "used", "warm", "cooling", "wants")
    out.print(output.table("pools", heads, pools))
    waiting = [
        (pod.node, f"{pod.namespace}/{pod.name}", pod.waits, time_text(pod.next_try) if pod.next_try else "-")
        for pod in seen.pods
        if pod.waits
    ]
    if waiting:
        out.print(output.table("pods that wait", ("node", "pod", "why", "next try"), waiting))
    pods = [(pod.node, f"{pod.namespace}/{pod.name}", pod.address) for pod in seen.pods if pod.address]
    if pods:
        out.print(output.table("pods", ("node", "pod", "address"), pods, whole=("address",)))
    cooling = [(node, address, time_text(until)) for node, address, until in seen.cooling]
    if cooling:
        out.print(output.table("cooling", ("node", "address", "free at the tick after"), cooling, whole=("address",)))
