"""A moment as a screen: pure, so that what stands on it is tested without a terminal."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import msgspec

from ipamd.core.commands import Imported
from ipamd.core.events import AssignRefused, Event, Record
from ipamd.core.types import SECOND, Instant
from ipamd.core.windows_events import PodWaits

from ..lines import cause_text, event_text
from ..output import span_text, time_text
from . import cells
from .moment import Moment, Reach
from .plans import plan_rows
from .spans import Kind, Line, Span, cut, facts, line, wrapped

_EVENT_ROWS_MAX: Final = 8
"""Rows of one event on the screen: some carry all settings."""
_CONTAINER: Final = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


class Sizes(msgspec.Struct, frozen=True):
    """Columns of the whole screen and of the text in each panel."""

    whole: int
    pool: int
    record: int
    plan: int


class Screen(msgspec.Struct, frozen=True):
    """What stands where. `pool` is cells, or the list of pods; `nodes` is empty but for a controller."""

    head: tuple[Line, Line]
    slider: tuple[Line, Line]
    legend: Line
    pool_title: str
    nodes: tuple[Line, ...]
    pool: tuple[Line, ...]
    record_title: str
    record: tuple[Line, ...]
    plan_title: str
    plan: tuple[Line, ...]


class Choice(msgspec.Struct, frozen=True):
    """What the person at the keys chose to see."""

    pods: bool = False
    """The list of pods instead of cells."""
    node: int = 0
    """Of a controller's nodes."""
    following: bool = False


def screen_of(
    moment: Moment, reach: Reach, source: str, marks: Collection[int], choice: Choice, sizes: Sizes
) -> Screen:
    """The screen. `source` is how the journal is called, `marks` are records of refusals."""
    pool = cells.groups(moment, choice.node)
    if choice.pods:
        shown = _pods(moment, choice.node, sizes.pool)
    else:
        shown = cells.lines(pool, cells.touched(moment.record), sizes.pool)
    return Screen(
        head=_head(moment, reach, source, choice, sizes.whole),
        slider=slider(moment.seq, reach, marks, sizes.whole),
        legend=cells.legend(pool),
        pool_title=_pool_title(moment, choice),
        nodes=tuple(_nodes(moment, choice, sizes.pool)),
        pool=tuple(shown or [line("no pods" if choice.pods else "no ENIs yet", "faint")]),
        record_title=f"record {moment.seq}" + (f": {cause_text(moment.record.cause)}" if moment.record else ""),
        record=tuple(_record(moment.record, sizes.record)),
        plan_title="plan" if not moment.nodes else f"plan of {chosen(moment, choice).name}",
        plan=tuple(facts(plan_rows(moment, choice.node), sizes.plan)),
    )


def chosen(moment: Moment, choice: Choice) -> Any:
    """The node of a controller that is looked at."""
    return moment.nodes[min(choice.node, len(moment.nodes) - 1)]


def is_refusal(record: Record) -> bool:
    """Whether somebody that asked rightly got no address; a Windows pod then waits."""
    return any(
        isinstance(event, PodWaits) or (isinstance(event, AssignRefused) and event.reason != "invalid")
        for event in record.events
    )


# ---- head and slider -------------------------------------------------------------------------------------------


def _head(moment: Moment, reach: Reach, source: str, choice: Choice, width: int) -> tuple[Line, Line]:
    if moment.nodes:
        nodes = "1 Windows node" if len(moment.nodes) == 1 else f"{len(moment.nodes)} Windows nodes"
        what = f"controller of {nodes}"
    else:
        phase = f"{moment.phase}, terminating" if moment.terminating else moment.phase
        what = f"{moment.node.instance} {moment.node.instance_type}  {phase}"
    where = cut(source, max(width - len(what) - 14, 8))
    first = (Span("ipamd tui  ", "faint"), Span(where, "strong"), Span(f"  {what}"))
    day, _, clock = time_text(moment.at).partition("T")
    newest = ", the newest" if moment.seq == reach.last_seq else ""
    spans = [
        Span(f"{day} "), Span(clock.rstrip("Z"), "strong"), Span(" UTC", "faint"),
        Span(f"  record {moment.seq} of {reach.last_seq}{newest}"),
    ]  # fmt: skip
    if moment.record is not None and moment.at > moment.record.at:
        spans.append(Span(f"  +{span_text(moment.at - moment.record.at)}", "faint"))
    if choice.following:
        spans.append(Span("  following", "cursor"))
    return first, tuple(spans)


def slider(seq: int, reach: Reach, marks: Collection[int], width: int) -> tuple[Line, Line]:
    """The journal from end to end by records, with refusals as `!` and the cursor as `●`; below, both ends' times."""
    inner = max(width - 4, 8)
    refused = {place(mark, reach, inner) for mark in marks if reach.first_seq <= mark <= reach.last_seq}
    here = place(seq, reach, inner)
    spans = [Span(" ├", "faint")]
    for column in range(inner):
        if column == here:
            spans.append(Span("●", "alarm" if seq in marks else "cursor"))
        else:
            spans.append(Span("!", "alarm") if column in refused else Span("─", "faint"))
    spans.append(Span("┤", "faint"))
    left, right = (f"{time_text(at)[:19].replace('T', ' ')}" for at in (reach.first_at, reach.last_at))
    return _joined(spans), (Span(f"  {left}", "faint"), Span(f"{right:>{max(inner - len(left), 1)}}", "faint"))


def place(seq: int, reach: Reach, inner: int) -> int:
    """The column of a record on a slider of `inner` columns."""
    return (seq - reach.first_seq) * (inner - 1) // max(reach.last_seq - reach.first_seq, 1)


def record_at(column: int, reach: Reach, width: int) -> int:
    """The record that a column of the slider stands for: the first one of those that share it."""
    inner = max(width - 4, 8)
    spread = reach.last_seq - reach.first_seq
    return reach.first_seq + -(-min(max(column - 2, 0), inner - 1) * spread // (inner - 1))


def _joined(spans: Sequence[Span]) -> Line:
    made: list[Span] = []
    for span in spans:
        if made and made[-1].kind == span.kind:
            made[-1] = Span(made[-1].text + span.text, span.kind)
        else:
            made.append(span)
    return tuple(made)


# ---- pool ------------------------------------------------------------------------------------------------------


def _pool_title(moment: Moment, choice: Choice) -> str:
    view = "pods" if choice.pods else "pool"
    if moment.nodes:
        return f"{view} of {chosen(moment, choice).name}"
    pool = moment.pool
    free = pool.unused - pool.cooling
    return f"{view}: {pool.total_ips} addresses, {pool.assigned} assigned, {pool.cooling} cooling, {max(free, 0)} free"


def _nodes(moment: Moment, choice: Choice, width: int) -> Iterator[Line]:
    """One line a Windows node; the one looked at is marked."""
    for node in moment.nodes:
        here = node is chosen(moment, choice)
        mode = "prefixes" if node.prefixes else "secondary"
        counts = "  ".join(f"{node.count(kind)} {kind}" for kind in ("assigned", "cooling", "free"))
        text = f"{cut(node.name, 40)}  {node.phase}  {mode}  {counts}"
        text += f"  {len(node.waiting)} waiting" if node.waiting else ""
        yield (
            Span("▸ " if here else "  ", "cursor"),
            Span(cut(text, width - 2), "alarm" if node.waiting else "strong" if here else "plain"),
        )


def _pods(moment: Moment, node: int, width: int) -> list[Line]:
    """Who holds what, then what cools and until when."""
    if moment.nodes:
        windows = moment.nodes[min(node, len(moment.nodes) - 1)]
        held = [(pod, address.partition("/")[0], "") for pod, address in windows.pods]
    else:
        held = [
            (f"{pod.namespace}/{pod.name}", pod.address, f"dev {pod.device}  {_since(moment.at - pod.assigned_at)}")
            for pod in moment.pods
        ]
    names = cells.touched(moment.record)
    column = min(max((len(pod) for pod, _, _ in held), default=0), max(width // 2, 12))
    made: list[Line] = []
    for pod, address, note in held:
        label = line(f"{cut(pod, column):{column}}", "assigned")[0]
        made.append((_arrow(address in names), label, Span(f"  {address:15}"), Span(f"  {note}", "faint")))
    for row in moment.cooling:
        left = f"cooling, {span_text(max(row.until - moment.at, 0))} left"
        made.append((_arrow(row.address in names), Span(f"{left:{column}}", "cooling"), Span(f"  {row.address}")))
    return made


def _arrow(touched: bool) -> Span:
    return Span("▸ " if touched else "  ", "cursor")


def _since(ns: Instant) -> str:
    return f"for {span_text(max(ns, 0) // SECOND * SECOND)}"


# ---- record ----------------------------------------------------------------------------------------------------


def _record(record: Record | None, width: int) -> Iterator[Line]:
    if record is None:
        yield line("not told", "faint")
        return
    cause = record.cause.demand if isinstance(record.cause, Imported) and record.cause.demand else record.cause
    yield (Span(type(cause).__name__, "strong"), Span(f"  {time_text(record.at)[11:-1]}", "faint"))
    members = _shortened(event_text(cause).partition(" ")[2])  # type: ignore[arg-type]
    if members:
        yield from _cut_rows([(Span(f"  {row}", "faint"),) for row in wrapped(members, width - 2)])
    for event in record.events:
        yield from _event(event, width)


def _event(event: Event, width: int) -> list[Line]:
    kind: Kind = "alarm" if isinstance(event, AssignRefused | PodWaits) else "plain"
    name, _, members = _shortened(event_text(event)).partition(" ")
    rows: list[Line] = [(Span(name, "strong" if kind == "plain" else kind),)]
    if members:
        rows += [(Span(f"  {row}", kind),) for row in wrapped(members, width - 2)]
    return _cut_rows(rows)


def _shortened(text: str) -> str:
    """Container ids with their first digits only, as container tools print them."""
    return _CONTAINER.sub(r"\1…", text)


def _cut_rows(rows: list[Line]) -> list[Line]:
    if len(rows) <= _EVENT_ROWS_MAX:
        return rows
    left = len(rows) - _EVENT_ROWS_MAX + 1
    return [*rows[: _EVENT_ROWS_MAX - 1], line(f"  … {left} more lines: ipamd log show", "faint")]
