"""`ipamd tui`: a journal on a terminal, to be stepped through: pool, record, plan and its why at any moment."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .. import output

if TYPE_CHECKING:
    from .sources import Source

PROG: Final = "ipamd tui"
_EPILOG: Final = """\
JOURNAL is a state directory, a journal directory or a journal file; while a
daemon writes it the screen follows. With --url a daemon's introspection is
asked instead: it folds, here is only the screen. Keys: press ?
NO_COLOR=1 in the environment: no colours. Needs textual: pip install
'ipamd-emulator[tui]'
Exit code: 0 ok, 1 the journal is damaged or the daemon does not answer, 2 wrong
usage.

examples: ipamd tui /var/lib/ipamd
          ipamd tui examples/incidents/cooling-shortage.jsonl --at 81
          ipamd tui --url http://127.0.0.1:61679
"""


def main(argv: list[str]) -> int:
    """Run the command; its exit code."""
    args = parser().parse_args(argv)
    return output.guarded(PROG, lambda: _tui(args))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog=PROG,
        description="Step through a journal on a terminal.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("journal", metavar="JOURNAL", nargs="?", help="what to look at")
    made.add_argument("--url", metavar="URL", help="ask a daemon: http://HOST:PORT or unix:PATH")
    made.add_argument("--at", metavar="SEQ|TIME|AGE", help="begin at this record or moment (default: the newest)")
    return made


def _tui(args: argparse.Namespace) -> int:
    if (args.journal is None) == (args.url is None):
        raise output.Usage("want a JOURNAL, or --url of a daemon, and not both")
    if find_spec("textual") is None:
        output.complain(PROG, "textual is not installed: pip install 'ipamd-emulator[tui]', or use ipamd state and log")
        return output.FINDING
    if not all(end.isatty() for end in (sys.stdin, sys.stdout, sys.stderr)):
        want = "want a terminal at input, output and errors; ipamd state and ipamd log print what a pipe can take"
        raise output.Usage(want)
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    from .app import Tui
    from .door import DoorError

    try:
        source = _source(args)
        reach = source.reach
        asked = output.moment(args.at).since(reach.last_at) if args.at else output.Moment(seq=reach.last_seq)
        first = source.to(asked.seq) if asked.seq is not None else source.at(asked.at or 0)
        app = Tui(source, first, follow=source.live and not args.at)
        app.run()
    except DoorError as error:
        output.complain(PROG, str(error))
        return output.FINDING
    return app.return_code or output.OK


def _source(args: argparse.Namespace) -> Source:
    from .door import DoorSource
    from .sources import JournalSource

    if args.url is not None:
        return DoorSource(args.url)
    with output.progress("records") as report:
        return JournalSource(Path(args.journal), report)
