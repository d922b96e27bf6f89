"""`ipamd subnet`: what is free in a subnet, in whole /28 blocks, who breaks the others, and what if."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ipamd.ec2.cloudlog import CloudError
from ipamd.ec2.subnets import heatmap
from ipamd.ec2.subnets.aws_json import documents, facts_of
from ipamd.ec2.subnets.backend import BackendFailed
from ipamd.ec2.subnets.facts import SubnetFacts
from ipamd.ec2.subnets.report import Asked, Report, picture, report

from . import output
from .subnet_tables import show

PROG = "ipamd subnet"
WANT_MAX = 4096
_EPILOG = """\
SOURCE: a state directory of `ipamd run`, running or not, of which nothing is changed; or files (- is standard input)
with the JSON that these print, in any order, several in one file too:
  aws ec2 describe-subnets
  aws ec2 describe-network-interfaces
  aws ec2 get-subnet-cidr-reservations --subnet-id ID
--endpoint asks a running backend instead, such as `ipamd ec2 serve`.
With --reserve or --drain everything printed is as after them; with several subnets name one by --subnet.
Exit code: 0 ok, 1 fewer prefixes than --want can be had in a subnet shown, or a source cannot be read, 2 wrong usage.

example: ipamd subnet subnets.json interfaces.json --drain ip-10-0-1-5.ec2.internal --out subnet.svg
"""


class Document(msgspec.Struct, frozen=True):
    """What `--json` prints."""

    ok: bool
    """Whether every subnet shown has as many prefixes as `--want` says."""
    subnets: tuple[Report, ...]


def main(argv: list[str]) -> int:
    """Run the command; its exit code."""
    args = parser().parse_args(argv)
    return output.guarded(PROG, lambda: _subnet(args))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog=PROG,
        description="Free addresses and free aligned /28 blocks of a subnet, who breaks the others, and what if.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("source", nargs="*", metavar="SOURCE", help="a state directory, or files of JSON")
    made.add_argument("--endpoint", metavar="URL", help="ask this backend; http://127.0.0.1:PORT")
    made.add_argument("--region", default="", metavar="R", help="the backend's region (default: as it says itself)")
    made.add_argument("--subnet", default="", metavar="ID|CIDR", help="this subnet alone")
    made.add_argument("--reserve", action="append", default=[], metavar="CIDR", help="what if: reserve it for prefixes")
    made.add_argument(
        "--drain", action="append", default=[], metavar="NODE,NODE", help="what if: these nodes drained and terminated"
    )
    made.add_argument("--want", type=_prefixes, default=1, metavar="N", help="prefixes there have to be (default 1)")
    made.add_argument("--out", metavar="FILE", help="write the map: FILE.svg or FILE.png")
    made.add_argument("--blocks", type=_rows, default=20, metavar="N", help="rows of the tables (default 20)")
    made.add_argument("--json", action="store_true", help="one line of JSON, all blocks in it")
    return made


def _prefixes(text: str) -> int:
    return _whole(text, 1, WANT_MAX)


def _rows(text: str) -> int:
    return _whole(text, 0, WANT_MAX)


def _whole(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or not least <= int(text[:9]) <= most:
        raise argparse.ArgumentTypeError(f'"{text[:40]}": want a whole number of {least} to {most}')
    return int(text)


def _subnet(args: argparse.Namespace) -> int:
    try:
        chosen = _chosen(_sources(args), args.subnet)
        asked = _asked(args, chosen)
        pictures = [picture(facts, asked) for facts in chosen]
    except (CloudError, BackendFailed) as error:
        output.complain(PROG, str(error))
        return output.FINDING
    except ValueError as error:  # `WrongFacts`, or a reservation or a node that cannot be
        raise output.Usage(str(error)) from None
    seen = [(heatmap.rows(one.occupation), one) for one in pictures]
    reports = [report(one, asked, tuple(row.text for row in rows)) for rows, one in seen]
    if args.out:
        _draw(args.out, reports[0], seen[0][0])
    if args.json:
        output.write_json(Document(all(one.ok for one in reports), tuple(reports)))
    else:
        for number, ((rows, _), one) in enumerate(zip(seen, reports, strict=True)):
            if number:
                print()
            show(one, rows, args.blocks)
    return output.OK if all(one.ok for one in reports) else output.FINDING


def _asked(args: argparse.Namespace, chosen: list[SubnetFacts]) -> Asked:
    """What is asked. Raises `Usage` for what is about one subnet where there are several."""
    drain = tuple(node.strip() for nodes in args.drain for node in nodes.split(",") if node.strip())
    if args.drain and not drain:
        raise output.Usage("--drain: want at least one node")
    asked = Asked(tuple(args.reserve), drain, args.want)
    if len(chosen) > 1 and (asked.reserve or asked.drain or args.out):
        listed = ", ".join(f"{facts.subnet} ({facts.cidr})" for facts in chosen[:5])
        raise output.Usage(f"--reserve, --drain and --out are about one subnet: choose by --subnet, of {listed}")
    return asked


def _chosen(found: list[SubnetFacts], wanted: str) -> list[SubnetFacts]:
    """The subnets that are asked about, one at least. Raises `Usage`."""
    chosen = [facts for facts in found if wanted in ("", facts.subnet, facts.cidr)]
    if not chosen:
        listed = ", ".join(f"{facts.subnet} ({facts.cidr})" for facts in found[:5]) or "none"
        raise output.Usage(f"--subnet {wanted[:60]}: not there; there is {listed}")
    return chosen


# ---- where it comes from -------------------------------------------------------------------------------------


def _sources(args: argparse.Namespace) -> list[SubnetFacts]:
    """What is known of the subnets. Raises `Usage`, `CloudError`, `BackendFailed` or `WrongFacts`."""
    if bool(args.source) == bool(args.endpoint):
        raise output.Usage("want a state directory, files of JSON (- is standard input), or --endpoint URL")
    if args.endpoint:
        from ipamd.ec2.subnets import backend

        return backend.subnets(args.endpoint, args.region, args.subnet)
    if args.region:
        raise output.Usage("--region: only with --endpoint")
    directories = [name for name in args.source if Path(name).is_dir()]
    if directories:
        if len(args.source) > 1:
            raise output.Usage(f"{directories[0]}: is a directory; want one state directory, or files alone")
        from ipamd.ec2.subnets import embedded

        return embedded.subnets(Path(directories[0]))
    if args.source.count("-") > 1:
        raise output.Usage("-: standard input can be read once")
    return facts_of(document for name, held in _texts(args.source) for document in documents(name, held))


def _texts(names: list[str]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        try:
            held = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        except OSError as error:
            raise output.Usage(f"{name}: cannot be read: {error.strerror}; name a file or a state directory") from None
        yield "standard input" if name == "-" else name, held


# ---- the picture ---------------------------------------------------------------------------------------------


def _draw(name: str, told: Report, rows: tuple[heatmap.Row, ...]) -> None:
    """Write the map as the file's name says. Raises `Usage`."""
    path = Path(name)
    figures = told.figures
    line = (
        f"{figures.free} addresses free, {figures.free_blocks} free /28 blocks, {figures.prefixes_available} prefixes "
        f"to be had ({figures.prefixes_reserved} reserved), {figures.prefixes_delegated} delegated"
    )
    title = f"{told.name or told.subnet} {told.cidr}"
    what_if = [f"what if: {_what_if(told)}"] if told.reserved or told.drained else []
    drawing = heatmap.drawing(title, [line, *what_if], rows)
    match path.suffix.lower():
        case ".svg":
            from ipamd.ec2.subnets.svg import svg as rendered
        case ".png":
            try:
                from ipamd.ec2.subnets.png import png as rendered
            except ModuleNotFoundError:
                raise output.Usage(
                    f"--out {name}: a PNG needs Pillow; pip install 'ipamd-emulator[plots]', or write an .svg"
                ) from None
        case other:
            raise output.Usage(f'--out {name}: "{other}" is no format of ours; want a name that ends in .svg or .png')
    try:
        _replace(path, rendered(drawing))
    except OSError as error:
        raise output.Usage(f"--out {name}: cannot be written: {error.strerror}; choose another place") from None


def _what_if(told: Report) -> str:
    words = [f"reserve {', '.join(told.reserved)}"] if told.reserved else []
    if told.drained:
        words.append(f"drain {', '.join(told.drained)}")
    return "; ".join(words)


def _replace(path: Path, held: bytes) -> None:
    """The whole file or, if that fails, the old one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_bytes(held)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
