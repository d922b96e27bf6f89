"""`ipamd whatif`: the demand of a journal lived again under other settings, beside what happened."""

from __future__ import annotations

import argparse
from typing import Final

from ipamd.config import VARIABLES, ConfigError, load
from ipamd.core.settings import Settings
from ipamd.core.state import State
from ipamd.core.types import SECOND
from ipamd.ec2.limits import UnknownInstanceType, limits_of, max_pods
from ipamd.ec2.space import subnet_network
from ipamd.sim.kubelet import RETRY
from ipamd.sim.past import fold_to
from ipamd.sim.relive import Change
from ipamd.sim.whatif import WrongChange, what_if
from ipamd.sim.windows_past import of_controller

from . import output, whatif_shown, whatif_windows
from .state import variable_of

PROG: Final = "ipamd whatif"
ROWS: Final = {
    "addresses held at the end": "total_ips", "assigned at the end": "assigned", **whatif_shown.ROWS,
}  # fmt: skip
"""Row of the table -> member of `Life`."""
_DERIVED: Final = ("ENABLE_IMDS_ONLY_MODE", "UPSTREAM_PARITY")
"""Variables that stand in several settings."""
_EPILOG: Final = f"""\
Pods come and go at the recorded instants. As long as every decision is the
recorded one the recording is followed, so without a change the result is exact;
from the first decision that differs the variant lives on a model of EC2, with
the answer times, refusals and metadata lag that the journal tells. What is
assumed is printed. SEQ is the record of a pod's request, of a start or of an end
of the daemon. A refused pod asks again when it did, then every {RETRY // SECOND} s; --retry
sets that delay for all tries. A controller's journal takes --config.
Exit code: 0 ok, 1 the journal is damaged, 2 wrong usage.

examples: ipamd whatif /var/lib/ipamd --set WARM_IP_TARGET=5 --out whatif.svg
          ipamd whatif /var/lib/controller --config warm-ip-target=5
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
    text = "another value of a key of ConfigMap amazon-vpc-cni, in a controller's journal"
    made.add_argument("--config", action="append", default=[], metavar="KEY=VALUE", help=text)
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
    if of_controller(args.journal):
        return whatif_windows.run(args)
    if args.config:
        raise output.Usage(f"--config {args.config[0][:60]}: this journal is no controller's; want --set NAME=VALUE")
    change = _change(args)
    try:
        with output.progress("records") as report:
            found = what_if(args.journal, change, report, lambda text: output.complain(PROG, f"warning: {text}"))
    except WrongChange as error:
        raise output.Usage(str(error)) from None
    if args.out:
        whatif_shown.draw(args, found.baseline, found.variant)
    if args.json:
        output.write_json(found.document)
    else:
        whatif_shown.show(args, found.document, ROWS)
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
        latency=whatif_shown.latency(args.latency),
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
