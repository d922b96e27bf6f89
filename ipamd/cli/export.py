"""`ipamd log export`: a journal as one file, under its own names or under others."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from ipamd.core.events import Record
from ipamd.journal.reading import bounds, lines, read
from ipamd.journal.record import encode

from . import output

PROG: Final = "ipamd log export"
EXPORT: Final = """\
With --anonymize the copy folds to the same pool and replays alike, with other
names: pods, namespaces, containers, ENIs, instance, subnets, MACs, addresses.
Addresses that shared a subnet or a prefix still do. Times, settings, instance
type, region and error codes stay: look through the copy before you publish it.
"""
_EVERY: Final = 1024


def run_export(args: argparse.Namespace) -> int:
    """Write the copy; its exit code."""
    if args.seed is not None and not args.anonymize:
        raise output.Usage("--seed: only --anonymize has a use for it")
    kept = bounds(args.journal)
    if kept.first_seq != 1:
        fact = f"its records before {kept.first_seq} are gone, and a copy in one file has no snapshot to begin with"
        raise output.Usage(f"{args.journal}: {fact}; export needs a journal from its first record on")
    target = Path(args.output) if args.output else None
    if target is not None and target.exists():
        raise output.Usage(f"-o {target}: exists already; name a new file")
    count = _write(args, target)
    if args.json:
        print(f'{{"records":{count}}}', file=sys.stdout if target is not None else sys.stderr)
    elif target is not None:
        print(output.visible(f"{target}: {count} records"))
    return output.OK


def _write(args: argparse.Namespace, target: Path | None) -> int:
    """Whole or not at all where it goes to a file."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part") if target is not None else None
    out = part.open("xb") if part is not None else sys.stdout.buffer
    count = 0
    try:
        for line in _lines(args):
            out.write(line)
            count += 1
        if part is not None and target is not None:
            out.close()
            part.rename(target)
    finally:
        if part is not None:
            out.close()
            part.unlink(missing_ok=True)
    return count


def _lines(args: argparse.Namespace) -> Iterator[bytes]:
    """The lines of the copy."""
    if not args.anonymize:
        yield from lines(args.journal)
        return
    from ipamd.journal.anonymize import Names

    names = Names(args.seed if args.seed is not None else secrets.token_hex(16))
    last = bounds(args.journal).last_seq
    with output.progress("records") as report:
        for record in read(args.journal):
            names.learn(record)
            _show(record, last, 0, report)
        for record in read(args.journal):
            if record.seq > last:
                break  # a daemon writes on
            yield encode(names.rename(record))
            _show(record, last, last, report)


def _show(record: Record, last: int, done: int, report: Callable[[int, int], None]) -> None:
    if record.seq % _EVERY == 0:
        report(done + record.seq, 2 * last)
