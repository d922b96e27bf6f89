"""`ipamd max-pods`: kubelet's --max-pods as the EKS AMI recommends it, for one instance type or for every one."""

from __future__ import annotations

import argparse

from ipamd.ec2.limits import MANY_VCPUS, MAX_PODS_FEW_VCPUS, MAX_PODS_MANY_VCPUS, UnknownInstanceType, instance_types
from ipamd.ec2.max_pods import Asked, MaxPods, max_pods, minor_version

from . import output

PROG = "ipamd max-pods"
CNI_VERSION = "1.23.1"
_EPILOG = f"""\
The figure: ENIs x (addresses of an ENI - 1) + 2, with prefixes ENIs x (addresses of an ENI - 1) x 16 + 2, then capped
at {MAX_PODS_FEW_VCPUS} up to {MANY_VCPUS} default vCPUs and at {MAX_PODS_MANY_VCPUS} above. Standard output is \
the number alone; what is to be known besides is on
standard error.
Exit code: 0 ok, 2 wrong usage.

example: ipamd max-pods --instance-type m5.large --cni-version 1.9.0 --prefix-delegation
"""


def main(argv: list[str]) -> int:
    """Run the command; its exit code."""
    args = parser().parse_args(argv)
    return output.guarded(PROG, lambda: _max_pods(args))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog=PROG,
        description="How many pods a node should be allowed: what the EKS AMI recommends for kubelet's --max-pods.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = made.add_mutually_exclusive_group(required=True)
    which.add_argument("--instance-type", metavar="T", help="such as m5.large")
    which.add_argument("--all", action="store_true", help="every instance type with known limits, as a table")
    made.add_argument("--prefix-delegation", action="store_true", help="slots hold /28 prefixes (Nitro types)")
    made.add_argument("--custom-networking", action="store_true", help="the primary ENI serves no pods")
    made.add_argument("--max-eni", type=_enis, default=0, metavar="N", help="as the CNI's MAX_ENI: at most N ENIs")
    made.add_argument(
        "--cni-version",
        type=_version,
        default=minor_version(CNI_VERSION),
        metavar="V",
        help=f"of the VPC CNI; before 1.9 it delegates no prefixes (default {CNI_VERSION})",
    )
    made.add_argument("--show-max-allowed", action="store_true", help="the figure without the cap")
    made.add_argument("--json", action="store_true", help="the figures behind it too; with --all one line a type")
    return made


def _enis(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= 10_000:
        raise argparse.ArgumentTypeError(f'"{text[:40]}": want a whole number >= 1')
    return int(text)


def _version(text: str) -> tuple[int, int]:
    try:
        return minor_version(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _max_pods(args: argparse.Namespace) -> int:
    asked = Asked(args.prefix_delegation, args.custom_networking, args.max_eni, args.cni_version)
    if args.all:
        found = [max_pods(name, asked) for name in instance_types()]
        _show_all(found, args.json, args.show_max_allowed)
        return output.OK
    try:
        one = max_pods(args.instance_type, asked)
    except UnknownInstanceType as error:
        raise output.Usage(str(error)) from None
    if args.json:
        output.write_json(one)
        return output.OK
    for note in one.notes:
        output.complain(PROG, note)
    print(one.uncapped if args.show_max_allowed else one.max_pods)
    return output.OK


def _show_all(found: list[MaxPods], as_json: bool, uncapped: bool) -> None:
    if as_json:
        for one in found:
            output.write_json(one)
        return
    columns = ("instance type", "max pods", "uncapped", "vCPUs", "ENIs for pods", "addresses of an ENI", "prefixes")
    rows = [
        (
            one.instance_type,
            one.uncapped if uncapped else one.max_pods,
            one.uncapped,
            "not known" if one.vcpus is None else str(one.vcpus),
            one.enis,
            one.ips_per_eni,
            "yes" if one.prefixes else "",
        )
        for one in found
    ]
    output.console().print(output.table(f"{len(found)} instance types", columns, rows))
