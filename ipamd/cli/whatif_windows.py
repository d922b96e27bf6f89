"""`ipamd whatif` of a controller's journal: what is asked for, in keys of ConfigMap amazon-vpc-cni."""

from __future__ import annotations

import argparse
from typing import Final

from ipamd.config import ConfigError, load
from ipamd.core import windows_config
from ipamd.core.settings import WindowsQuirks, windows_quirks
from ipamd.core.windows_config import complaints
from ipamd.ec2.limits import UnknownInstanceType, limits_of
from ipamd.ec2.space import subnet_network
from ipamd.sim.windows_relive import Change
from ipamd.sim.windows_whatif import WrongChange, what_if

from . import output, whatif_shown

PROG: Final = "ipamd whatif"
PARITY: Final = "UPSTREAM_PARITY"
_TARGETS: Final = (windows_config.WARM_IP, windows_config.MINIMUM_IP, windows_config.WARM_PREFIX)
KEYS: Final = (
    windows_config.IPAM, windows_config.PREFIX_DELEGATION, *_TARGETS, *(windows_config.ALIAS + key for key in _TARGETS),
)  # fmt: skip
"""What the controller reads of the ConfigMap."""
ROWS: Final = {
    "prefixes at the end": "prefixes", "secondary addresses at the end": "ips", "assigned at the end": "used",
    "assignable at the end": "warm", **whatif_shown.ROWS,
}  # fmt: skip
"""Row of the table -> member of `WindowsLife`."""


def run(args: argparse.Namespace) -> int:
    """The command; its exit code."""
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


def _change(args: argparse.Namespace) -> Change:
    """What the options ask for. Raises `Usage`."""
    for option, given in (("--retry", args.retry), ("--max-pods", args.max_pods)):
        if given is not None:
            raise output.Usage(f"{option} {given:g}: a controller's journal does not know it; leave it out")
    try:
        if args.subnet:
            subnet_network(args.subnet)
        if args.instance_type:
            limits_of(args.instance_type)
    except UnknownInstanceType as error:
        raise output.Usage(str(error)) from None
    except ValueError as error:
        raise output.Usage(f"--subnet {args.subnet[:60]}: {error}") from None
    return Change(
        config=_config(args),
        quirks=_quirks(args),
        instance_type=args.instance_type,
        subnet=args.subnet,
        latency=whatif_shown.latency(args.latency),
        dropped=frozenset(args.drop),
    )


def _config(args: argparse.Namespace) -> dict[str, str]:
    """Keys of the ConfigMap, by `--config` or `--set`. Raises `Usage`."""
    found: dict[str, str] = {}
    named = [("--config", text) for text in args.config]
    named += [("--set", text) for text in args.set if not text.startswith(f"{PARITY}=")]
    for option, text in named:
        key, mark, value = text.partition("=")
        if not mark or key.strip() not in KEYS:
            want = f"this is a controller's journal; want KEY=VALUE with KEY one of {', '.join(KEYS)}"
            raise output.Usage(f'{option} "{text[:60]}": {want}')
        found[key.strip()] = value
    for complaint in complaints(found):
        output.complain(PROG, f"warning: {complaint}")
    return found


def _quirks(args: argparse.Namespace) -> WindowsQuirks | None:
    given = [text for text in args.set if text.startswith(f"{PARITY}=")]
    if not given:
        return None
    try:
        return windows_quirks(load({}, given).quirks)
    except ConfigError as error:
        raise output.Usage(str(error)) from None
