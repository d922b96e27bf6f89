"""`ipamd replay`: every recorded decision made again; the first one that comes out differently is shown."""

from __future__ import annotations

import argparse

from ipamd.sim.past import Divergence, Replay, replay

from . import output
from .lines import event_text

PROG = "ipamd replay"
_EPILOG = """\
Begins at the oldest kept record, or at the snapshot before it. A divergence
means that the code has changed since the record was made, or that a decision
depended on something that the record does not hold.
Exit code: 0 no divergence, 1 a divergence or a damaged journal, 2 wrong usage.
"""


def main(argv: list[str]) -> int:
    """Run the command; its exit code."""
    args = parser().parse_args(argv)
    return output.guarded(PROG, lambda: _replay(args))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog=PROG,
        description="Decide every recorded cause again and compare the events with those recorded.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("journal", metavar="JOURNAL", help="a state directory, a journal directory or a journal file")
    made.add_argument("--json", action="store_true", help='one line: {"records":n,"divergence":null or an object}')
    return made


def _replay(args: argparse.Namespace) -> int:
    with output.progress("records") as report:
        found = replay(args.journal, report, lambda text: output.complain(PROG, f"warning: {text}"))
    if args.json:
        told = {"records": found.records, "divergence": found.divergence}
        output.write_json(told | ({"imported": found.imported} if found.imported else {}))
    else:
        _show(found)
    return output.OK if found.divergence is None else output.FINDING


def _show(found: Replay) -> None:
    if found.imported:
        print(f"{found.imported} records are imported: nothing to re-decide, they were folded as they stand")
    if found.divergence is None:
        if found.records or not found.imported:
            print(f"{found.records} records decided again: no divergence")
        return
    divergence: Divergence = found.divergence
    print(f"record {divergence.seq} comes out differently ({found.records - 1} records before it agree)")
    for title, events in (("recorded", divergence.recorded), ("decided", divergence.decided)):
        print(f"  {title}:")
        for event in events:
            print(f"    {event_text(event)}")
        if not events:
            print("    nothing")
