"""`ipamd config`: the effective settings, where each comes from, and what they come to on an instance type."""

from __future__ import annotations

import argparse
import os
from typing import Final

import msgspec

from ipamd.config import VARIABLES, Config, ConfigError, Instance, Verdict, WrongSet, load, verdicts
from ipamd.config.errors import shown
from ipamd.config.parse import Value
from ipamd.config.variables import PARITY
from ipamd.config.verdicts import GRAVE
from ipamd.ec2.embedded import DEFAULT_INSTANCE_TYPE
from ipamd.ec2.limits import UnknownInstanceType, limits_of, max_pods

from . import output

PROG: Final = "ipamd config"
_EPILOG = """\
Verdicts: starves (pods get no address although the node could carry them), flaps (the pool never comes to rest),
limits (a target or max pods that the node cannot meet), ignored (set, but without effect), risks. Each names the
variables, the reason and the rules. The settings are those that `ipamd run` and `ipamd simulate` would use here.
Exit code: 0 fine, 1 the settings starve a node, make its pool flap, or would not let it start, 2 wrong usage.

example: ipamd config --instance-type m5.large --set ENABLE_PREFIX_DELEGATION=true --set MINIMUM_IP_TARGET=32
"""


class Row(msgspec.Struct, frozen=True):
    """One variable as `--json` prints it."""

    name: str
    value: Value
    source: str
    """default, environment, --set, or instance type where the type overrules what was set (INIT-13)."""
    spec: str


class Document(msgspec.Struct, frozen=True):
    """What `--json` prints. `refused`: why the daemon would not start, "" where it would."""

    instance_type: str
    max_pods: int
    settings: list[Row]
    warnings: list[str]
    """About values of which no verdict speaks: half taken ones, and names that nobody reads."""
    refused: str
    verdicts: tuple[Verdict, ...]


def main(argv: list[str]) -> int:
    """Run the command; its exit code."""
    args = parser().parse_args(argv)
    return output.guarded(PROG, lambda: _config(args))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog=PROG,
        description="What the environment and --set come to: every setting with its source, and a verdict on them all.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="beats the environment")
    made.add_argument("--instance-type", default=DEFAULT_INSTANCE_TYPE, metavar="T", help="default %(default)s")
    made.add_argument("--max-pods", type=_pods, metavar="N", help="the node's limit (default: by instance type)")
    made.add_argument("--json", action="store_true", help="one line of JSON")
    return made


def _pods(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:20]) <= 1_000_000:
        raise argparse.ArgumentTypeError(f'"{text[:40]}": want a whole number from 1 to 1000000')
    return int(text)


def _config(args: argparse.Namespace) -> int:
    instance = instance_of(args.instance_type, args.max_pods)
    try:
        config = load(os.environ, args.set)
    except WrongSet as error:
        raise output.Usage(str(error)) from None
    except ConfigError as error:
        output.complain(PROG, str(error))
        return output.FINDING
    found = document(config, instance)
    if args.json:
        output.write_json(found)
    else:
        _show(found)
    return output.FINDING if found.refused or any(each.kind in GRAVE for each in found.verdicts) else output.OK


def instance_of(instance_type: str, pods: int | None) -> Instance:
    """The instance as the rules see it; max pods as the daemon has it by itself (INIT-32). Raises `Usage`."""
    try:
        limits = limits_of(instance_type)
    except UnknownInstanceType as error:
        raise output.Usage(str(error)) from None
    slots = limits.ips_per_eni - 1
    return Instance(
        instance_type,
        limits.enis,
        slots,
        limits.prefixes,
        pods or max_pods(instance_type),
        len(limits.card_limits),
        limits.trunking_compatible,
    )


def document(config: Config, instance: Instance) -> Document:
    """Everything there is to say."""
    refused = ""
    found: tuple[Verdict, ...] = ()
    overruled: dict[str, Value] = {}
    try:
        checked = config.check(prefix_delegation_supported=instance.prefixes)
        found = verdicts(config, instance)
        if config.values["ENABLE_PREFIX_DELEGATION"] and not checked.settings.prefix_delegation:
            overruled["ENABLE_PREFIX_DELEGATION"] = False
    except ConfigError as error:
        refused = str(error)
    rows = [
        Row(
            name,
            overruled.get(name, config.values[name]),
            "instance type" if name in overruled else config.sources[name],
            variable.spec,
        )
        for name, variable in VARIABLES.items()
    ]
    rows.append(_parity(config))
    told = {name for verdict in found if verdict.kind == "ignored" for name in verdict.names}
    warnings = [warning.text for warning in config.warnings if warning.name not in told]
    return Document(instance.name, instance.max_pods, rows, warnings, refused, found)


def _parity(config: Config) -> Row:
    """UPSTREAM_PARITY as the switches that it turns on."""
    quirks = msgspec.structs.asdict(config.quirks)
    on = [name for name, value in quirks.items() if value]
    value = "strict" if len(on) == len(quirks) else ",".join(on)
    return Row(PARITY, value, config.parity_source, "")


# ---- for people ----------------------------------------------------------------------------------------------


def _show(found: Document) -> None:
    out = output.console()
    title = f"settings on {found.instance_type}, max pods {found.max_pods}"
    rows = [(row.name, _text(row), row.source) for row in found.settings]
    out.print(output.table(title, ("variable", "value", "source"), rows))
    for warning in found.warnings:
        out.print(f"warning: {output.visible(warning)}")
    if found.refused:
        out.print(f"refused: {output.visible(found.refused)}")
    for verdict in found.verdicts:
        out.print(f"{verdict.kind}: {output.visible(verdict.text)}")
    if not found.refused and not found.verdicts:
        out.print("nothing to say against them")


def _text(row: Row) -> str:
    """A value as `--set` takes it; what is not set, or is the instance's limit, in words."""
    variable = VARIABLES.get(row.name)
    if variable is not None and variable.instead and row.value == variable.default:
        return variable.instead
    return "not set" if row.value is None else shown(row.value)
