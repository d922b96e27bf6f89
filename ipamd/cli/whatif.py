"""`ipamd whatif`: the demand of a journal lived again under other settings, beside what happened."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

from ipamd.config import VARIABLES, ConfigError, load
from ipamd.core.settings import Settings
from ipamd.core.state import State
from ipamd.core.types import MS, SECOND
from ipamd.ec2.limits import UnknownInstanceType, limits_of, max_pods
from ipamd.ec2.space import subnet_network
from ipamd.journal.reading import bounds
from ipamd.sim.kubelet import RETRY
from ipamd.sim.past import fold_to
from ipamd.sim.relive import Change
from ipamd.sim.whatif import Document, WhatIf, WrongChange, what_if

from . import output
from .state import variable_of

PROG: Final = "ipamd whatif"
_DERIVED: Final = ("ENABLE_IMDS_ONLY_MODE", "UPSTREAM_PARITY")
"""Variables that stand in several settings."""
_EPILOG: Final = f"""\
Pods come and go at the recorded instants. As long as every decision is the
recorded one the recording is followed, so without a change the result is exact;
from the first decision that differs the variant lives on a model of EC2, with
the answer times, refusals and metadata lag that the journal tells. What is
assumed is printed. SEQ is the record of a pod's request, of a start or of an end
of the daemon. A refused pod asks again when it did, then every {RETRY // SECOND} s; --retry
sets that delay for all tries.
Exit code: 0 ok, 1 the journal is damaged, 2 wrong usage.

example: ipamd whatif /var/lib/ipamd --set WARM_IP_TARGET=5 --out whatif.svg
"""


def main(argv: list[str]) -> int:
    """Run the command; its exit code."""
    args = parser().parse_args(argv)
    return output.guarded(PROG, lambda: _whatif(args))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog=PROG,
        description="Live a journal's demand again under other settings and compare.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("journal", metavar="JOURNAL", help="a state directory, a journal directory or a journal file")
    made.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another value of a variable")
    made.add_argument("--instance-type", default="", metavar="T", help="another type, with its limits")
    made.add_argument("--max-pods", type=_whole, metavar="N", help="another number of pods that the node may have")
    made.add_argument("--subnet", default="", metavar="CIDR", help="an empty subnet for the node")
    made.add_argument("--drop", action="append", default=[], type=_whole, metavar="SEQ", help="this did not happen")
    made.add_argument("--retry", type=float, metavar="SECONDS", help="the kubelet's delay after a refusal")
    text = "EC2 answers so fast: every action, or one (default: as recorded)"
    made.add_argument("--latency", action="append", default=[], metavar="[ACTION=]MS", help=text)
    made.add_argument("--out", metavar="FILE", help="plots: FILE.svg or FILE.png")
    made.add_argument("--json", action="store_true", help='one line: {"baseline":{..},"variant":{..},"assumed":[..]}')
    return made


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > 2**53:
        raise argparse.ArgumentTypeError(f'"{text[:40]}": want a whole number >= 0')
    return int(text)


def _whatif(args: argparse.Namespace) -> int:
    change = _change(args)
    try:
        with output.progress("records") as report:
            found = what_if(args.journal, change, report, lambda text: output.complain(PROG, f"warning: {text}"))
    except WrongChange as error:
        raise output.Usage(str(error)) from None
    if args.out:
        _draw(args, found)
    if args.json:
        output.write_json(found.document)
    else:
        _show(args, found.document)
    return output.OK


# ---- the change ----------------------------------------------------------------------------------------------


def _change(args: argparse.Namespace) -> Change:
    """What the options ask for. Raises `Usage`."""
    if args.retry is not None and not 0.1 <= args.retry <= 3600:
        raise output.Usage(f"--retry {args.retry:g}: want 0.1 to 3600 seconds")
    if args.subnet:
        try:
            subnet_network(args.subnet)
        except ValueError as error:
            raise output.Usage(f"--subnet {args.subnet[:60]}: {error}") from None
    newest = fold_to(args.journal, None) if args.set or args.instance_type else None
    return Change(
        settings=_settings(args, newest) if newest is not None else {},
        node=_node(args, newest),
        subnet=args.subnet,
        dropped=frozenset(args.drop),
        retry=None if args.retry is None else int(args.retry * SECOND),
        latency=_latency(args.latency),
    )


def _settings(args: argparse.Namespace, newest: State) -> dict[str, object]:
    """The settings that `--set` names, each as the daemon would read it on this type of node."""
    try:
        limits = limits_of(args.instance_type or newest.node.instance_type)
        plain, config = load({}), load({}, args.set)
        wanted = config.settings(prefix_delegation_supported=limits.prefixes)
        otherwise = plain.settings(prefix_delegation_supported=limits.prefixes)
    except (UnknownInstanceType, ConfigError) as error:
        raise output.Usage(str(error)) from None
    for warning in config.warnings:
        output.complain(PROG, f"warning: {warning.text}")
    names = {entry.partition("=")[0] for entry in args.set}
    fields = [name for name in Settings.__struct_fields__ if variable_of(name) in names]
    fields += [name for name in Settings.__struct_fields__ if getattr(wanted, name) != getattr(otherwise, name)]
    for name in sorted(names - {variable_of(field) for field in fields} - set(_DERIVED)):
        if name in VARIABLES:
            output.complain(PROG, f"warning: {name} changes nothing about the pool")
    return {name: getattr(wanted, name) for name in fields}


def _node(args: argparse.Namespace, newest: State | None) -> dict[str, object]:
    changed: dict[str, object] = {}
    if args.instance_type and newest is not None:
        try:
            limits = limits_of(args.instance_type)
        except UnknownInstanceType as error:
            raise output.Usage(str(error)) from None
        changed = {
            "instance_type": args.instance_type,
            "enis_max": limits.enis,
            "ips_per_eni": limits.ips_per_eni,
            "trunking_compatible": limits.trunking_compatible,
        }
        if newest.node.max_pods == max_pods(newest.node.instance_type):
            changed["max_pods"] = max_pods(args.instance_type)
    if args.max_pods is not None:
        changed["max_pods"] = args.max_pods
    return changed


def _latency(given: list[str]) -> dict[str, int]:
    """Action ("" for all) -> ns. Raises `Usage`."""
    found: dict[str, int] = {}
    for text in given:
        action, _, ms = text.rpartition("=")
        if not (ms.isascii() and ms.isdigit()) or int(ms[:9]) > 600_000:
            raise output.Usage(f'--latency "{text[:60]}": want milliseconds up to 600000, or ACTION=MS')
        found[action] = int(ms) * MS
    return found


# ---- what is shown -------------------------------------------------------------------------------------------


def _show(args: argparse.Namespace, told: Document) -> None:
    out = output.console()
    rows = [(name, before, after, _difference(before, after)) for name, before, after in _rows(told)]
    out.print(output.table(_title(args), ("", "baseline", "variant", "difference"), rows))
    since = f"from record {told.lived_from} on" if told.lived_from else "it never does"
    out.print(output.facts([("goes its own way", since), *(("assumed", line) for line in told.assumed)]))


def _rows(told: Document) -> list[tuple[str, object, object]]:
    names = {
        "addresses held at the end": "total_ips", "assigned at the end": "assigned", "most addresses held": "held_max",
        "address-hours held": "address_hours", "address-hours wasted": "wasted_address_hours",
        "pods that came": "arrivals", "never served": "unserved", "refused tries": "refused",
        "wait p50, s": "wait_p50_seconds", "wait p99, s": "wait_p99_seconds", "longest wait, s": "wait_max_seconds",
    }  # fmt: skip
    rows = [(title, getattr(told.baseline, name), getattr(told.variant, name)) for title, name in names.items()]
    for member, word in (("refusals", "refused: "), ("ec2_calls", "EC2 ")):
        before, after = getattr(told.baseline, member), getattr(told.variant, member)
        rows += [(word + key, before.get(key, 0), after.get(key, 0)) for key in dict.fromkeys([*before, *after])]
    return rows


def _difference(before: object, after: object) -> str:
    assert isinstance(before, int | float) and isinstance(after, int | float)
    return f"{after - before:+.6g}" if after != before else ""


def _title(args: argparse.Namespace) -> str:
    words = [*args.set]
    words += [args.instance_type] if args.instance_type else []
    words += [f"subnet {args.subnet}"] if args.subnet else []
    words += [f"max pods {args.max_pods}"] if args.max_pods is not None else []
    words += [f"without record {seq}" for seq in args.drop]
    words += [f"retry {args.retry:g} s"] if args.retry is not None else []
    words += [f"latency {text} ms" for text in args.latency]
    return f"what if: {', '.join(words) or 'nothing is changed'}"


def _draw(args: argparse.Namespace, found: WhatIf) -> None:
    """Write the plots as the file's name says. Raises `Usage`."""
    from ipamd.sim.plots import picture, svg

    path = Path(args.out)
    node = bounds(args.journal).node
    drawn = picture(f"{node}: {_title(args)}", [], {"baseline": found.baseline, "variant": found.variant})
    match path.suffix.lower():
        case ".svg":
            rendered = svg(drawn)
        case ".png":
            try:
                from ipamd.sim.plots_png import png
            except ModuleNotFoundError:
                raise output.Usage(
                    f"--out {path}: a PNG needs Pillow; pip install 'ipamd-emulator[plots]', or write an .svg"
                ) from None
            rendered = png(drawn)
        case other:
            raise output.Usage(f'--out {path}: "{other}" is no format of ours; want a name that ends in .svg or .png')
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_bytes(rendered)
        fresh.replace(path)
    except OSError as error:
        raise output.Usage(f"--out {path}: cannot be written: {error.strerror}; choose another place") from None
    finally:
        fresh.unlink(missing_ok=True)
