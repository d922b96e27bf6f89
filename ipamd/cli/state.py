"""`ipamd state`: the State after any record of a journal, folded and shown."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from ipamd.core import views
from ipamd.core.settings import Settings
from ipamd.core.state import State
from ipamd.core.types import Instant
from ipamd.journal.reading import bounds, seq_at
from ipamd.sim.past import fold_to

from . import output
from .output import span_text, time_text

PROG: Final = "ipamd state"
_EPILOG = """\
Cooldowns and due times are judged at the moment shown: TIME, or the instant of the record shown.
Exit code: 0 ok, 1 the journal is damaged, 2 wrong usage.
"""


class Document(msgspec.Struct, frozen=True):
    """What `--json` prints. Instants in ns since the epoch."""

    seq: int
    at: Instant
    phase: str
    terminating: bool
    node: object
    settings: object
    pool: views.PoolView
    pods: list[views.PodView]
    cooling: list[views.CoolingView]
    held_back: dict[str, Instant]
    pending_enis: dict[str, object]
    loop: views.LoopView


def main(argv: list[str]) -> int:
    """Run the command; its exit code."""
    args = parser().parse_args(argv)
    return output.guarded(PROG, lambda: _state(args))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog=PROG,
        description="Fold a journal, from its nearest snapshot on, and show the pool, its pods and what it is doing.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("journal", metavar="JOURNAL", help="a state directory, a journal directory or a journal file")
    made.add_argument("--at", metavar="SEQ|TIME", help="after this record, or at this moment (default: the newest)")
    form = made.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one line of JSON")
    form.add_argument("--checkpoint", action="store_true", help="upstream's ipam.json as it would be, JSON")
    return made


def _state(args: argparse.Namespace) -> int:
    seq, now = _moment(args.journal, args.at)
    with output.progress("records") as report:
        state = fold_to(args.journal, seq, report, lambda text: output.complain(PROG, f"warning: {text}"))
    at = state.at if now is None else now
    if args.checkpoint:
        output.write_json(views.checkpoint(state))
    elif args.json:
        output.write_json(document(state, at))
    else:
        _show(state, at)
    return output.OK


def _moment(journal: str, text: str | None) -> tuple[int | None, Instant | None]:
    """The record to fold up to (None: the newest) and the moment to judge by (None: that record's)."""
    if text is None:
        return None, None
    moment = output.moment(text)
    if moment.seq is not None:
        return moment.seq, None
    assert moment.at is not None
    seq = seq_at(journal, moment.at)
    kept = bounds(journal)
    if seq < kept.first_seq:
        raise output.Usage(f"--at {text}: the oldest kept record, {kept.first_seq}, is of {time_text(kept.first_at)}")
    return seq, moment.at


def document(state: State, now: Instant) -> Document:
    """State as `--json` prints it."""
    return Document(
        seq=state.seq,
        at=now,
        phase=state.phase,
        terminating=state.terminating,
        node=state.node,
        settings=state.settings,
        pool=views.pool(state, now),
        pods=views.pods(state),
        cooling=views.cooling(state, now),
        held_back=state.held,
        pending_enis=dict(state.pending),
        loop=views.loop(state, now),
    )


# ---- for people ----------------------------------------------------------------------------------------------


def _show(state: State, now: Instant) -> None:
    out = output.console()
    pool = views.pool(state, now)
    loop = views.loop(state, now)
    out.print(output.facts(_facts(state, pool, now)))
    for title, columns, rows in _tables(state, pool, loop, now):
        if rows:
            out.print(output.table(title, columns, rows))
    out.print(output.facts(_doing(loop, now)))


def _facts(state: State, pool: views.PoolView, now: Instant) -> list[tuple[str, object]]:
    node = state.node
    phase = f"{state.phase}, terminating" if state.terminating else state.phase
    later = f", at {time_text(now)}" if now > state.at else ""
    counts = f"{pool.total_ips}: {pool.assigned} assigned, {pool.unused} unused, {pool.cooling} of them cooling"
    return [
        ("after record", f"{state.seq} of {time_text(state.at)}{later}"),
        ("node", f"{node.instance or '(none yet)'} {node.instance_type}: {phase}"),
        ("settings", _chosen(state.settings) or "all as by default"),
        ("addresses for pods", counts),
    ]


def _chosen(settings: Settings) -> str:
    """Settings that differ from upstream's code defaults."""
    plain = Settings()
    names = [name for name in settings.__struct_fields__ if getattr(settings, name) != getattr(plain, name)]
    return " ".join(f"{name}={getattr(settings, name)}" for name in names if name != "quirks")


def _tables(
    state: State, pool: views.PoolView, loop: views.LoopView, now: Instant
) -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[object]]]]:
    """(title, columns, rows); a table without rows is not shown."""
    enis = [
        (eni.device, eni.eni, eni.primary_ip, eni.prefixes, eni.ips, eni.pods, "yes" if eni.excluded else "", eni.stays)
        for eni in pool.enis
    ]
    yield "ENIs", ("device", "ENI", "primary", "prefixes", "IPs", "pods", "excluded", "stays because"), enis
    blocks = [
        (eni.device, block.cidr, block.pods, block.cooling, block.size - block.pods - block.cooling)
        for eni in pool.enis
        for block in eni.blocks
    ]
    yield "blocks", ("device", "block", "pods", "cooling", "free"), blocks
    pods = [
        (f"{pod.namespace}/{pod.name}", pod.address, pod.device, time_text(pod.assigned_at), pod.container[:12])
        for pod in views.pods(state)
    ]
    yield "pods", ("pod", "address", "device", "since", "container"), pods
    cooling = [(view.address, view.eni, span_text(max(view.until - now, 0))) for view in views.cooling(state, now)]
    yield "cooling", ("address", "ENI", "free again in"), cooling
    calls = [(call.call_id, call.call, call.lane, span_text(now - call.started_at)) for call in loop.calls]
    yield "calls in flight", ("call", "action", "lane", "for"), calls
    pending = [
        (eni, row.primary_ip, f"coming, {row.attachment or 'not attached'}" if row.token else "being freed")
        for eni, row in state.pending.items()
    ]
    yield "ENIs in no store", ("ENI", "primary", "is"), pending
    held = [(cidr, span_text(max(until - now, 0))) for cidr, until in state.held.items()]
    yield "given back to EC2, not learnt again from metadata", ("block", "for"), held
    why = [(card, *figures.values()) for card, figures in loop.why.items()]
    yield "why: the figures that the pool decides by", ("card", *(next(iter(loop.why.values()), {}))), why


def _doing(loop: views.LoopView, now: Instant) -> list[tuple[str, object]]:
    doing = f"{loop.work} ({loop.step})" if loop.step else loop.work
    rows: list[tuple[str, object]] = [("doing", doing or "nothing; it waits for its next beat")]
    if loop.wanted:
        rows.append(("wants", ", ".join(loop.wanted)))
    rows += [(f"next {due.lane}", f"in {span_text(max(due.at - now, 0))}") for due in loop.next]
    return [*rows, ("trouble", loop.trouble)] if loop.trouble else rows
