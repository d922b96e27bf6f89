"""`ipamd diff`: what changed in a journal between two moments, by ENI, block and pod."""

from __future__ import annotations

import argparse
from typing import Final

from ipamd.core.difference import Difference, difference
from ipamd.core.state import State
from ipamd.core.types import Instant
from ipamd.journal.reading import bounds, seq_at
from ipamd.sim.past import fold_to

from . import output
from .output import time_text
from .state import variable_of

PROG: Final = "ipamd diff"
_EPILOG: Final = """\
SEQ is a record's number (0: before the first), TIME such as
2026-08-21T10:15:00Z, AGE such as 10m counts back from the newest record.
Exit code: 0 ok, 1 the journal is damaged, 2 wrong usage.

example: ipamd diff 10m 5m /var/lib/ipamd
"""


def main(argv: list[str]) -> int:
    """Run the command; its exit code."""
    args = parser().parse_args(argv)
    return output.guarded(PROG, lambda: _diff(args))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    raw = argparse.RawDescriptionHelpFormatter
    text = "What changed between two moments of a journal."
    made = argparse.ArgumentParser(prog=PROG, description=text, epilog=_EPILOG, formatter_class=raw)
    made.add_argument("first", metavar="A", help="SEQ|TIME|AGE: the earlier moment")
    made.add_argument("second", metavar="B", help="SEQ|TIME|AGE: the later moment")
    made.add_argument("journal", metavar="JOURNAL", help="a state directory, a journal directory or a journal file")
    made.add_argument("--json", action="store_true", help="one line of JSON")
    return made


def _diff(args: argparse.Namespace) -> int:
    before, since = _state(args.journal, args.first)
    after, until = _state(args.journal, args.second)
    if before.seq > after.seq:
        raise output.Usage(f"{args.first} is after {args.second}: name the earlier moment first")
    told = difference(before, after, (since, until))
    if args.json:
        output.write_json(told)
    else:
        _show(told)
    return output.OK


def _state(journal: str, text: str) -> tuple[State, Instant]:
    """The State of a moment and the instant to judge it by."""
    kept = bounds(journal)
    moment = output.moment(text).since(kept.last_at)
    if moment.seq is not None:
        state = fold_to(journal, moment.seq)
        return state, state.at
    assert moment.at is not None
    return fold_to(journal, seq_at(journal, moment.at)), moment.at


def _show(told: Difference) -> None:
    out = output.console()
    rows: list[tuple[str, object]] = [
        (name, f"{time_text(at)}: record {seq}")
        for name, at, seq in zip(("from", "to"), told.moments, told.seqs, strict=True)
    ]
    for name, pair in (
        ("addresses for pods", told.total_ips), ("assigned", told.assigned), ("cooling", told.cooling)
    ):  # fmt: skip
        rows.append((name, _arrow(pair)))
    rows += [(variable_of(name), _arrow(pair)) for name, pair in told.settings.items()]
    out.print(output.facts(rows))
    if told.enis:
        enis = [(e.change, e.device, e.eni, _arrow(e.prefixes), _arrow(e.ips), _arrow(e.pods)) for e in told.enis]
        out.print(output.table("ENIs", ("", "dev", "ENI", "prefixes", "IPs", "pods"), enis, whole=("ENI",)))
    if told.blocks:
        blocks = [(b.change, b.cidr, b.eni, _arrow(b.pods), _arrow(b.cooling)) for b in told.blocks]
        out.print(output.table("blocks", ("", "block", "ENI", "pods", "cooling"), blocks, whole=("ENI", "block")))
    if told.pods:
        pods = [(p.change, p.pod, p.before or "-", p.after or "-", p.container[:12]) for p in told.pods]
        out.print(output.table("pods", ("", "pod", "before", "after", "container"), pods))
    if not (told.enis or told.blocks or told.pods or told.settings):
        out.print("no ENI, block or pod differs")


def _arrow(pair: tuple[object, object]) -> str:
    return str(pair[1]) if pair[0] == pair[1] else f"{pair[0]} -> {pair[1]}"
