"""`ipamd import`: a support bundle, logs and dumps of any ipamd become a journal that can be asked like one of ours."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from ipamd.core.events import Record
from ipamd.ec2 import limits
from ipamd.imports import Bounds, Gathered, Refused, Report, listen, records
from ipamd.journal.journal import Journal
from ipamd.journal.record import encode

from . import output

PROG: Final = "ipamd import"
_SHOWN: Final = 10
_LISTED: Final = 20
_EVERY: Final = 1024
_EPILOG: Final = """\
INPUT is a bundle of the EKS log collector (tar.gz, or unpacked), or any of
ipamd.log, plugin.log (rotated and gzip files too), ipam.json, a dump of
/v1/enis, metrics as text. Files are told apart by what they hold; lines are
put into the order of time, so the order of inputs does not matter.
JOURNAL is a directory that is made, or a file whose name ends in .jsonl.
Exit code: 0 all is consistent, 1 contradictions, damage or refused input (the
journal is written all the same, except for refused input without
--skip-refused), 2 wrong usage.
"""


def main(argv: list[str]) -> int:
    """Run the command; its exit code."""
    args = parser().parse_args(argv)
    return output.guarded(PROG, lambda: _import(args))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog=PROG,
        description="Rebuild a node's history from its logs and dumps.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("inputs", metavar="INPUT", nargs="+", help="a bundle, a directory or a file")
    made.add_argument("-o", "--output", metavar="JOURNAL", required=True, help="where the records go; must not exist")
    made.add_argument("--instance-type", metavar="TYPE", default="", help="the node's type, where no line tells it")
    made.add_argument("--max-bytes", metavar="N", type=_size, default=Bounds().size_max,
                      help="refuse inputs that unpack to more (default: %(default)s)")  # fmt: skip
    made.add_argument("--skip-refused", action="store_true", help="pass refused files over and import the others")
    made.add_argument("--json", action="store_true", help="the report as one line of JSON")
    return made


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:19]) > 0):
        raise argparse.ArgumentTypeError(f'"{text[:40]}": want a number of bytes > 0')
    return int(text[:19])


def _import(args: argparse.Namespace) -> int:
    target = Path(args.output)
    if target.exists() or target.is_symlink():
        raise output.Usage(f"-o {target}: exists already; name a new one")
    kind = args.instance_type
    if kind and _limits(kind) is None:
        raise output.Usage(f"--instance-type {kind[:80]}: no type with known limits; see `ipamd max-pods`")
    inputs = [Path(text) for text in args.inputs]
    for path in inputs:
        if not path.exists():
            raise output.Usage(f"{path}: does not exist")
    try:
        with output.progress("bytes") as report:
            found = listen(inputs, Bounds(size_max=args.max_bytes), report, skip_refused=args.skip_refused)
        with output.progress("records") as report:
            written = _write(target, _counted(records(found, _limits, kind), report))
    except Refused as error:
        output.complain(PROG, f"{error}; nothing was written (--skip-refused imports the rest)")
        return output.FINDING
    except OSError as error:
        output.complain(PROG, f"{error.filename or target}: {error.strerror or error}")
        return output.FINDING
    if not written:
        output.complain(PROG, "no line and no file tells of a pool: nothing was written")
    if args.json:
        output.write_json(_document(found.report))
    else:
        _tell(found, target if written else None)
    return output.OK if found.report.sound and written else output.FINDING


def _limits(instance_type: str) -> tuple[int, int] | None:
    """ENIs and IPv4 addresses of one, of a known type."""
    known = limits.limits(instance_type)
    return (known.enis, known.ips_per_eni) if known is not None else None


def _counted(made: Iterable[Record], report: Callable[[int, int], None]) -> Iterator[Record]:
    """The same records, with progress."""
    for record in made:
        if record.seq % _EVERY == 0:
            report(record.seq, 0)
        yield record


def _write(target: Path, made: Iterable[Record]) -> int:
    """Beside its place first, so that an import is there as a whole or not at all; how many records it has."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        count = _to_file(part, made) if target.suffix == ".jsonl" else _to_directory(part, made)
        if count:
            part.rename(target)
        return count
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        part.unlink(missing_ok=True)


def _to_file(path: Path, made: Iterable[Record]) -> int:
    count = 0
    with path.open("xb") as file:
        for record in made:
            file.write(encode(record))
            count += 1
    return count


def _to_directory(path: Path, made: Iterable[Record]) -> int:
    journal = Journal.open(path, sync=False)
    try:
        for record in made:
            journal.stage(record)
        return journal.staged_seq
    finally:
        journal.close()


# ---- the report ----------------------------------------------------------------------------------------------


def _document(report: Report) -> dict[str, object]:
    told = {name: getattr(report, name) for name in report.__struct_fields__ if name != "unknown_samples"}
    return {"coverage": report.coverage, **told, "unknown_samples": dict(report.unknown_samples.most_common(_SHOWN))}


def _tell(found: Gathered, target: Path | None) -> None:
    report = found.report
    if target is not None:
        node = found.facts.node.get("instance-id", "an unknown instance")
        span = (
            f"{output.time_text(found.first_at)} to {output.time_text(found.last_at)}" if found.first_at else "a dump"
        )
        print(output.visible(f"{target}: {report.records} records of {node}, {span}"))
    used = [file for file in report.files if file.kind]
    print(f"files: {len(used)} used, {len(report.files) - len(used)} of no use here")
    for file in used:
        lines = f", {file.lines} lines" if file.lines else ""
        damage = f"; {file.damage}" if file.damage else ""
        print(output.visible(f"  {file.name}: {file.kind}{lines}{damage}"))
    print(f"coverage: {report.coverage}")
    for sample, times in report.unknown_samples.most_common(_SHOWN):
        print(output.visible(f"  unknown, {times} times: {sample} ..."))
    _listed("assumed", [f"{text} ({times})" for text, times in report.assumed.items()])
    _listed("not in the journal", [f"{text} ({times})" for text, times in report.lost.items()])
    _listed("refused", report.refused)
    _listed("contradictions", report.contradictions, report.contradictions_more)
    notes = [(report.repeated, "lines were told by two files and count once"), (report.undated, "lines tell no time")]
    for count, text in notes:
        if count:
            print(f"{count} {text}")


def _listed(title: str, texts: list[str], more: int = 0) -> None:
    if not texts:
        print(f"{title}: none")
        return
    print(f"{title}: {len(texts) + more}")
    for text in texts[:_LISTED]:
        print(output.visible(f"  {text}"))
    if len(texts) + more > _LISTED:
        print(f"  ... and {len(texts) + more - _LISTED} more; --json lists {len(texts)} of them")
