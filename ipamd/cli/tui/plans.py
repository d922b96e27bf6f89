"""The plan at a moment and its why, as names and values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from ipamd.core.types import SECOND, Instant

from ..output import span_text
from .fleet import NodeView
from .moment import Moment
from .spans import Kind

Row: TypeAlias = tuple[str, str, Kind]
_DOING = {
    "Init": "starting the node", "Fill": "adding addresses", "Grow": "adding an ENI",
    "Trim": "giving addresses back to EC2", "Free": "looking for an ENI to free", "Shed": "freeing an ENI",
    "Resync": "comparing with instance metadata", "Turn": "looking at the next card",
}  # fmt: skip


def plan_rows(moment: Moment, node: int = 0) -> list[Row]:
    """What is being done, what is wanted next and by which figures; of a controller, for its node number `node`."""
    if moment.nodes:
        return list(_of_node(moment.nodes[min(node, len(moment.nodes) - 1)], moment.at))
    return [*_doing(moment), *_verdicts(moment), *_next(moment), *_figures(moment)]


def _doing(moment: Moment) -> Iterator[Row]:
    loop = moment.loop
    words = _DOING.get(loop.work, loop.work)
    idle = "waiting for its next look at the pool" if loop.wanted else "nothing"
    yield "doing", f"{words} (step {loop.step})" if loop.step else words or idle, "plain"
    for call in loop.calls:
        yield "in flight", f"{call.call} for {span_text(max(moment.at - call.started_at, 0))}", "cursor"
    if loop.wanted:
        yield "wants", ", ".join(loop.wanted), "cursor"
    for eni, row in moment.pending_enis.items():
        yield "ENI in no store", f"{eni}: {'coming' if row.token else 'being freed'}", "plain"


def _verdicts(moment: Moment) -> Iterator[Row]:
    if moment.plan is None:
        for card, figures in moment.loop.why.items():
            yield _named("verdict", card, moment), _verdict(figures), "strong"
    else:
        for card, told in moment.plan["cards"].items():
            lacks = f", short {told['short']}" if told["short"] else f", over {told['over']}" if told["over"] else ""
            yield _named("verdict", int(card), moment), f"{told['verdict']}{lacks}", "strong"
            yield "why", f"{told['because']} ({', '.join(told['rules'])})", "plain"
            for reason in told["held_back_by"]:
                yield "held back", reason, "alarm"
        told = moment.plan["if_no_address_is_free"]
        if told:
            yield "if none is free", f"{told['reason']}: {told['fact']}; {told['remedy']}", "plain"
    if moment.loop.stopped is not None:
        yield "grows no more", f"{moment.loop.stopped.fact}; {moment.loop.stopped.remedy}", "alarm"
    if moment.loop.trouble:
        yield "trouble", moment.loop.trouble, "alarm"


def _verdict(figures: dict[str, int]) -> str:
    if figures.get("short"):
        return f"short {figures['short']}"
    return f"over {figures['over']}" if figures.get("over") else "rest"


def _named(name: str, card: int, moment: Moment) -> str:
    return name if len(moment.loop.why) < 2 else f"{name}, card {card}"


def _next(moment: Moment) -> Iterator[Row]:
    for due in moment.loop.next:
        if due.lane == "pool":
            yield "looks next", f"in {span_text(max(due.at - moment.at, 0))}", "plain"


def _figures(moment: Moment) -> Iterator[Row]:
    for card, figures in moment.loop.why.items():
        yield _named("figures", card, moment), " ".join(f"{k}={v}" for k, v in figures.items()), "faint"


def _of_node(node: NodeView, now: Instant) -> Iterator[Row]:
    yield "node", f"{node.phase}, advertises {node.capacity} addresses", "plain"
    for row in node.waiting:
        when = f"tries again in {span_text(max(row.due - now, 0))}" if row.due else "tries when the node is ready"
        yield "waits", f"{row.pod}: {row.why}; {when}", "alarm"
    for call in node.plan.get("in_flight", []):
        name = call["call"].get("type", "call")
        yield "in flight", f"{name} for {span_text(max(now - call['started_at'], 0))}", "cursor"
    for kind, pool in node.plan.get("pools", {}).items():
        yield from _of_pool(kind, pool)


def _of_pool(kind: str, pool: dict[str, Any]) -> Iterator[Row]:
    yield f"{kind} pool", f"{pool['next']}; deviation {pool['deviation']}, room {pool['room']}", "strong"
    yield "a pod now gets", str(pool["a_pod_now_gets"]), "plain"
    for name in ("targets", "figures"):
        yield name, " ".join(f"{key}={value}" for key, value in pool[name].items()), "faint"
    if pool["tick_in_seconds"] is not None:
        yield "next tick", f"in {span_text(int(pool['tick_in_seconds'] * SECOND))}", "plain"
