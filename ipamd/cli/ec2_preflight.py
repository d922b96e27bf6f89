"""`ipamd ec2 preflight`: may `ipamd run --ec2 aws` do what it will have to, and the least policy if not."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING

import msgspec

from ipamd.ec2.port import Ec2Error, Ec2Lost

if TYPE_CHECKING:
    from ipamd.ec2.preflight import Preflight

PROG = "ipamd ec2 preflight"
SECONDS = 10.0
_EPILOG = """\
Nothing is changed: permissions are asked for by dry runs. Assigning and unassigning addresses have none and are told
as unchecked. Exit code: 0 nothing is denied, 1 something is, or nobody could be asked, 2 wrong usage.

example: ipamd ec2 preflight --policy > policy.json
"""


def main(argv: list[str]) -> int:
    """Ask, and print what was found; the exit code."""
    args = _parser().parse_args(argv)
    try:
        from ipamd.ec2 import preflight
    except ModuleNotFoundError as error:
        print(f"{PROG}: Python has no {error.name}; pip install 'ipamd-emulator[aws]'", file=sys.stderr)
        return 1
    if args.policy:
        print(json.dumps(preflight.policy(args.region), indent=2))
        return 0
    try:
        found = asyncio.run(_asked(args))
    except (Ec2Error, Ec2Lost) as error:
        print(f"{PROG}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    policy = preflight.policy(found.region)
    if args.json:
        print(json.dumps({**msgspec.to_builtins(found), "missing": list(found.missing), "policy": policy}, indent=2))
    else:
        print(_text(found, json.dumps(policy, indent=2)))
    return 1 if found.missing else 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=PROG,
        description="What ipamd run --ec2 aws would be permitted here, by dry-run calls, and the least IAM policy.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--json", action="store_true", help="one JSON document on standard output")
    made.add_argument("--policy", action="store_true", help="print the policy alone and ask nobody")
    made.add_argument("--region", default="", metavar="R", help="default: the instance's own")
    made.add_argument("--endpoint", default="", metavar="URL", help="of EC2 (default: the region's)")
    made.add_argument("--imds", default="", metavar="URL", help="of instance metadata (default: the instance's own)")
    return made


async def _asked(args: argparse.Namespace) -> Preflight:
    from ipamd.ec2.boto import open_boto
    from ipamd.ec2.boto_client import Access
    from ipamd.ec2.boto_imds import Imds
    from ipamd.ec2.preflight import preflight

    imds = Imds(args.imds, SECONDS)
    cloud = await open_boto(Access(args.region, args.endpoint, SECONDS, imds=imds.url), imds)
    try:
        return await preflight(cloud)
    finally:
        await cloud.close()


def _text(found: Preflight, policy: str) -> str:
    who = f"account {found.account or '(not told)'}, region {found.region}, instance {found.instance}"
    rows = [f"  {check.verdict:9}  ec2:{check.action}{_remark(check.said)}" for check in found.checks]
    end = (
        f"denied: {', '.join(f'ec2:{action}' for action in found.missing)}; grant the policy below to the node's role"
        if found.missing
        else "nothing is denied; the least policy:"
    )
    return "\n".join([f"{who}, by {found.endpoint}", *rows, end, policy])


def _remark(said: str) -> str:
    return f"  ({said})" if said else ""
