"""`ipamd log show|follow|verify|export`: records as lines or JSON, whether all are there, a copy to give away."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

from ipamd.journal import record as record_line
from ipamd.journal.follow import Follower
from ipamd.journal.reading import bounds, lines, seq_at
from ipamd.journal.verify import Report, verify
from ipamd.sim.past import fold_to

from . import output
from .export import EXPORT as _EXPORT
from .export import run_export
from .filters import Filter, add_options
from .lines import record_lines

PROG: Final = "ipamd log"
COMMANDS: Final = ("show", "follow", "verify", "export")
POLL_S: Final = 0.2
_JOURNAL: Final = "JOURNAL is a state directory, a journal directory or a journal file.\n"
_EXIT: Final = "Exit code: 0 ok, 1 the journal is damaged, 2 wrong usage.\n"
_EPILOG: Final = f"""\
{_JOURNAL}\
A record is printed whole when it meets every condition; of several values of
one option any will do. SEQ is a record's number, TIME such as
2026-08-21T10:15:00Z, and AGE, such as 90s, 10m, 2h or 1d, counts back from the
newest record. The life of one prefix: ipamd log --prefix 10.0.0.16/28 JOURNAL
{_EXIT}"""


def main(argv: list[str]) -> int:
    """Run the command; its exit code. An option, or a journal, where a word should stand means `show`."""
    args = parser().parse_args([*_implied(argv), *argv])
    run: Callable[[argparse.Namespace], int] = args.run
    return output.guarded(f"{PROG} {args.command}", lambda: run(args))


def _implied(argv: list[str]) -> list[str]:
    if not argv or argv[0] in ("-h", "--help", *COMMANDS):
        return []
    return ["show"] if argv[0].startswith("-") or os.path.exists(argv[0]) else []


def parser() -> argparse.ArgumentParser:
    """The options of the four commands."""
    raw = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(prog=PROG, description="Look at a journal.", epilog=_EXIT, formatter_class=raw)
    commands = made.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))
    show = commands.add_parser("show", help="print records", epilog=_EPILOG, formatter_class=raw)
    show.add_argument("--since", metavar="SEQ|TIME|AGE", help="from this record or moment on")
    show.add_argument("--until", metavar="SEQ|TIME|AGE", help="up to this record or moment, included")
    text = "print records as they are written, until interrupted"
    follow = commands.add_parser("follow", help=text, epilog=_EPILOG, formatter_class=raw)
    follow.add_argument("--since", metavar="SEQ|TIME|AGE", help="first those from this record or moment on")
    for command, run in ((show, _show), (follow, _follow)):
        add_options(command)
        command.set_defaults(run=run)
    verify_ = commands.add_parser("verify", help="check every record", epilog=_JOURNAL + _EXIT, formatter_class=raw)
    verify_.set_defaults(run=_verify)
    export = commands.add_parser(
        "export", help="a copy in one file, for a ticket", epilog=_JOURNAL + _EXPORT + _EXIT, formatter_class=raw
    )
    export.add_argument(
        "-o", "--output", metavar="FILE", help="a file that does not exist yet (default: standard output)"
    )
    export.add_argument(
        "--anonymize", action="store_true", help="rename pods, ids and addresses, the same way throughout"
    )
    export.add_argument("--seed", metavar="TEXT", help="the same seed gives the same names (default: drawn by chance)")
    export.set_defaults(run=run_export)
    for command in (show, follow, verify_, export):
        command.add_argument("journal", metavar="JOURNAL")
        command.add_argument("--json", action="store_true", help="JSON, one object a line")
    return made


def _show(args: argparse.Namespace) -> int:
    wanted = Filter.of(args)
    first = _first(args.journal, args.since)
    last = _last(args.journal, args.until)
    emit = _emitter(args, wanted, first)
    seen = shown = 0
    for line in lines(args.journal, first):
        if last is not None and (head := record_line.head(line)) is not None and head.seq > last:
            break
        seen += 1
        shown += emit(line)
    if seen and not shown:
        output.complain(f"{PROG} show", f"none of {seen} records meets every condition")
    elif not seen and (args.since or args.until):
        output.complain(f"{PROG} show", "no record lies there")
    return output.OK


def _follow(args: argparse.Namespace) -> int:
    wanted = Filter.of(args)
    first = bounds(args.journal).last_seq + 1 if args.since is None else _first(args.journal, args.since)
    emit = _emitter(args, wanted, first)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell makes its background jobs deaf to it
    follower = Follower(args.journal, first)
    try:
        while True:
            for line in follower.poll():
                emit(line)
            sys.stdout.flush()
            time.sleep(POLL_S)
    finally:
        follower.close()


def _emitter(args: argparse.Namespace, wanted: Filter, first: int) -> Callable[[bytes], bool]:
    """What is done with each line from record `first` on; whether it was printed."""
    if wanted.remembers:
        before = min(max(first, bounds(args.journal).first_seq), bounds(args.journal).last_seq + 1) - 1
        wanted.begin(fold_to(args.journal, before))

    def emit(line: bytes) -> bool:
        if args.json and wanted.everything:
            _write_json(line)
            return True
        record = record_line.decode(line)
        if not wanted.wants(record):
            return False
        if args.json:
            _write_json(line)
        else:
            print("\n".join(record_lines(record)))
        return True

    return emit


def _write_json(line: bytes) -> None:
    """The journal's own line, without its CRC: what is printed may be escaped differently."""
    sys.stdout.buffer.write(output.safe_json(line.rstrip(b"\n")[: -record_line.TAIL]) + b"}\n")


def _first(journal: str, since: str | None) -> int:
    """The first record wanted; 0 for the oldest one."""
    if since is None:
        return 0
    moment = output.moment(since).since(bounds(journal).last_at)
    if moment.seq is not None:
        return moment.seq
    assert moment.at is not None
    return seq_at(journal, moment.at - 1) + 1


def _last(journal: str, until: str | None) -> int | None:
    """The last record wanted; None for the newest one."""
    if until is None:
        return None
    moment = output.moment(until).since(bounds(journal).last_at)
    if moment.seq is not None:
        return moment.seq
    assert moment.at is not None
    return seq_at(journal, moment.at)


# ---- verify --------------------------------------------------------------------------------------------------


def _verify(args: argparse.Namespace) -> int:
    with output.progress("bytes") as report:
        found = verify(args.journal, report)
    if args.json:
        output.write_json({"ok": found.ok, **_document(found)})
    else:
        _tell(found)
    return output.OK if found.ok else output.FINDING


def _document(found: Report) -> dict[str, object]:
    return {name: getattr(found, name) for name in found.__struct_fields__}


def _tell(found: Report) -> None:
    verdict = "every record is there and right" if found.ok else "damaged"
    records = f"{found.records} records ({found.first_seq} to {found.last_seq})" if found.records else "no records"
    print(f"{verdict}: {records}, {found.segments} segments, {found.size} bytes, {len(found.snapshots)} snapshots")
    if found.torn:
        print(f"  {found.torn} bytes of a write at the end are unfinished; the next start drops them")
    for warning in found.warnings:
        print(f"  {output.visible(warning)}")
    for damage in found.damage:
        place = f"{damage.file} line {damage.line}" if damage.line else damage.file
        print(output.visible(f"  {place}: {damage.fact}; {damage.remedy}"))
