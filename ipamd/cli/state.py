"""`ipamd state`: the State after any record of a journal, folded and shown."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from ipamd.config.errors import shown
from ipamd.core import views
from ipamd.core.settings import Settings
from ipamd.core.state import State
from ipamd.core.types import Instant
from ipamd.journal.lock import holder
from ipamd.journal.reading import bounds, seq_at
from ipamd.journal.segments import locate
from ipamd.sim.past import fold_to

from . import output, state_windows
from .output import time_text

PROG: Final = "ipamd state"
_EPILOG = """\
Cooldowns and due times are judged at the moment shown: TIME, or the instant of
the record shown. AGE, such as 10m, counts back from the newest record.
Exit code: 0 ok, 1 the journal is damaged, 2 wrong usage.
"""
_VARIABLES: Final = {
    "ipv6": "ENABLE_IPv6",
    "multi_nic": "ENABLE_MULTI_NIC",
    "prefix_delegation": "ENABLE_PREFIX_DELEGATION",
    "leaked_cleanup_disabled": "DISABLE_LEAKED_ENI_CLEANUP",
    "quirks": "UPSTREAM_PARITY",
    "subnet_discovery": "ENABLE_SUBNET_DISCOVERY",
    "provisioning_disabled": "DISABLE_NETWORK_RESOURCE_PROVISIONING",
    "manage_enis_non_schedulable": "AWS_MANAGE_ENIS_NON_SCHEDULABLE",
    "network_policy_mode": "NETWORK_POLICY_ENFORCING_MODE",
    "external_snat": "AWS_VPC_K8S_CNI_EXTERNALSNAT",
    "exclude_snat_cidrs": "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS",
}
"""Settings whose variable is not their own name in capitals."""
_WORK: Final = {
    "Init": "starting the node",
    "Fill": "adding addresses",
    "Grow": "adding an ENI",
    "Trim": "giving addresses back to EC2",
    "Free": "looking for an ENI to free",
    "Shed": "freeing an ENI",
    "Resync": "comparing with instance metadata",
}


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
        description="Fold a journal and show the pool, its pods and what it is doing.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("journal", metavar="JOURNAL", help="a state directory, a journal directory or a journal file")
    made.add_argument("--at", metavar="SEQ|TIME|AGE", help="after this record, or at this moment (default: now)")
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
        output.write_json(state_windows.document(state, at) if state.windows.opened else document(state, at))
    elif state.seq == 0:
        print("as of record 0: before the first record, so there is nothing yet")
    elif state.windows.opened:
        state_windows.show(state, at)
    else:
        newest = bounds(args.journal)
        writer = holder(locate(args.journal).directory) if args.at is None else None
        _show(state, at, newest.last_seq, writer, args.at is not None)
    return output.OK


def _moment(journal: str, text: str | None) -> tuple[int | None, Instant | None]:
    """The record to fold up to (None: the newest) and the moment to judge by (None: that record's)."""
    if text is None:
        return None, None
    kept = bounds(journal)
    moment = output.moment(text).since(kept.last_at)
    if moment.seq is not None:
        return moment.seq, None
    assert moment.at is not None
    seq = seq_at(journal, moment.at)
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


def _show(state: State, now: Instant, newest: int, writer: str | None, earlier: bool) -> None:
    """`writer`: who writes the journal at present, "" nobody, None unknown; `earlier`: a moment was asked for."""
    out = output.console()
    pool = views.pool(state, now)
    loop = views.loop(state, now)
    out.print(output.facts(_facts(state, pool, now, newest, writer, earlier)))
    out.print()
    for title, columns, rows, optional in _tables(state, pool, loop, now):
        if rows:
            columns, cells = output.without_blank_columns(columns, rows, optional)
            out.print(output.table(title, columns, cells, whole=("ENI", "address", "block")))
    out.print(output.facts(_doing(state, loop, now, alive=earlier or writer != "")))


def _facts(
    state: State, pool: views.PoolView, now: Instant, newest: int, writer: str | None, earlier: bool
) -> list[tuple[str, object]]:
    node = state.node
    phase = f"{state.phase}, terminating" if state.terminating else state.phase
    counts = f"{pool.total_ips}: {pool.assigned} assigned, {pool.unused} unused, {pool.cooling} of them cooling"
    record = f"record {state.seq}" + (", the newest" if state.seq == newest else f" of {newest}")
    if now > state.at:
        record += f", made at {time_text(state.at)}"
    if not earlier and writer is not None:
        record += f"; {writer or 'no process'} writes this journal"
    return [
        ("as of", f"{time_text(now)}: {record}"),
        ("node", f"{node.instance} {node.instance_type}: {phase}"),
        ("settings", _chosen(state.settings) or "all as by default"),
        ("addresses for pods", counts),
    ]


def _chosen(settings: Settings) -> str:
    """The variables of settings that differ from upstream's code defaults."""
    plain = Settings()
    names = [name for name in settings.__struct_fields__ if getattr(settings, name) != getattr(plain, name)]
    return " ".join(
        f"{variable_of(name)}={shown(getattr(settings, name))}" for name in names if name != "quirks"
    )


def variable_of(name: str) -> str:
    """The variable that a member of `Settings` is read from."""
    return _VARIABLES.get(name, name.upper())


def _tables(
    state: State, pool: views.PoolView, loop: views.LoopView, now: Instant
) -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[object]], tuple[str, ...]]]:
    """(title, columns, rows, columns to leave out where all is 0 or empty); a table without rows is not shown."""
    enis = [
        (eni.device, eni.eni, eni.primary_ip, eni.prefixes, eni.ips, eni.pods, "yes" if eni.excluded else "",
         eni.stays or "-")
        for eni in pool.enis
    ]  # fmt: skip
    heads = ("dev", "ENI", "primary", "prefixes", "IPs", "pods", "excluded", "why it stays")
    yield "ENIs", heads, enis, ("prefixes", "IPs", "excluded")
    blocks = [
        (eni.device, block.cidr, block.pods, block.cooling, block.size - block.pods - block.cooling)
        for eni in pool.enis
        for block in eni.blocks
    ]
    yield "blocks", ("dev", "block", "pods", "cooling", "free"), blocks, ("cooling",)
    pods = [
        (f"{pod.namespace}/{pod.name}", pod.address, pod.device, f"{time_text(pod.assigned_at)[:19]}Z",
         pod.container[:12])
        for pod in views.pods(state)
    ]  # fmt: skip
    yield "pods", ("pod", "address", "dev", "since", "container"), pods, ()
    cooling = [(view.address, view.eni, time_text(view.until)) for view in views.cooling(state, now)]
    yield "cooling", ("address", "ENI", "free again after"), cooling, ()
    calls = [(call.call_id, call.call, call.lane, time_text(call.started_at)) for call in loop.calls]
    yield "calls in flight", ("call", "action", "for", "since"), calls, ()
    pending = [
        (eni, row.primary_ip, f"coming, {row.attachment or 'not attached'}" if row.token else "being freed")
        for eni, row in state.pending.items()
    ]
    yield "ENIs in no store", ("ENI", "primary", "is"), pending, ()
    held = [(cidr, time_text(until)) for cidr, until in state.held.items()]
    yield "given back to EC2, not learnt again from metadata", ("block", "until"), held, ()


def _doing(state: State, loop: views.LoopView, now: Instant, alive: bool) -> list[tuple[str, object]]:
    """`alive`: something may come of it; else what would be due next is not told."""
    words = _WORK.get(loop.work, loop.work)
    doing = f"{words} (step {loop.step})" if loop.step else words
    if not doing:
        still = "the pool is as its targets want it" if loop.stopped is None else "the pool cannot grow"
        doing = "waiting for its next look at the pool" if loop.wanted else f"nothing; {still}"
    rows: list[tuple[str, object]] = [("doing", doing if alive else f"{doing} (at that moment)")]
    if loop.wanted:
        rows.append(("will call", ", ".join(loop.wanted)))
    if loop.stopped is not None:
        rows.append(("grows no more", f"{loop.stopped.fact}; {loop.stopped.remedy}"))
    if alive:
        for due in loop.next:
            if due.lane == "pool":
                rows.append(("looks next", f"at the pool at {'once' if due.at <= now else time_text(due.at)}"))
    for card, figures in loop.why.items():
        name = "figures" if len(loop.why) == 1 else f"figures, network card {card}"
        rows.append((name, " ".join(f"{key}={value}" for key, value in figures.items())))
    return [*rows, ("trouble", loop.trouble)] if loop.trouble else rows
