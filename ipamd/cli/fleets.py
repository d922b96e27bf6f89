"""Which cloud `ipamd controller` acts on: the embedded one, a moto server's, or AWS's, and only the one named."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ipamd.ec2.embedded import CloudOptions, EmbeddedCloud
from ipamd.ec2.fleet import EmbeddedFleet, Fleet
from ipamd.runtime.clock import SystemClock

from .clouds import StartError, WrongOption


def check_fleet(args: argparse.Namespace) -> None:
    """Options that do not belong to the door that is asked for. Raises WrongOption."""
    if args.ec2 == "embedded":
        for name in ("endpoint", "region"):
            if getattr(args, name) is not None:
                raise WrongOption(f"--{name}: the embedded cloud has none; use --ec2 moto or --ec2 aws with it")
        return
    if args.subnet is not None or args.latency != "none":
        option = "--subnet" if args.subnet is not None else "--latency"
        raise WrongOption(f"{option}: is the embedded cloud's; leave it out with --ec2 {args.ec2}")
    if args.ec2 == "moto" and args.endpoint is None:
        raise WrongOption("--ec2 moto: want the --endpoint of a server that runs, such as `ipamd ec2 serve` starts")
    if args.endpoint is not None and not args.endpoint.startswith(("http://", "https://")):
        raise WrongOption(f"--endpoint {args.endpoint[:100]!a}: want a URL such as http://127.0.0.1:5000")
    if args.ec2 == "moto":
        from ipamd.ec2.boto_moto import is_aws

        if is_aws(args.endpoint):
            raise WrongOption(f"--endpoint {args.endpoint}: is AWS, not a moto; ask for it by name: --ec2 aws")


async def open_fleet(args: argparse.Namespace, state_dir: Path, clock: SystemClock) -> Fleet:
    """The cloud that the command line names. Raises StartError, CloudError, Ec2Error or Ec2Lost."""
    if args.ec2 == "embedded":
        try:
            cloud = EmbeddedCloud.open(state_dir, CloudOptions(subnet=args.subnet), clock=clock.now)
        except ValueError as error:
            raise StartError(str(error)) from None
        return EmbeddedFleet(cloud, args.latency, clock.sleep)
    try:
        import ipamd.ec2.boto  # noqa: F401
    except ModuleNotFoundError as error:
        raise StartError(
            f"--ec2 {args.ec2}: Python has no {error.name}; install it with: pip install 'ipamd-emulator[{args.ec2}]'"
        ) from None
    from ipamd.ec2.boto import KEY_OF_MOTO
    from ipamd.ec2.boto_client import Access
    from ipamd.ec2.boto_moto import MotoError, find
    from ipamd.ec2.fleet_boto import open_fleet as open_boto

    region = args.region or os.environ.get("AWS_REGION", "") or os.environ.get("AWS_DEFAULT_REGION", "")
    if args.ec2 == "aws":
        return await open_boto(Access(region, args.endpoint or "", 29.5))
    try:
        found = await find(args.endpoint)
    except MotoError as error:
        raise StartError(f"--ec2 moto: {error}") from None
    return await open_boto(Access(region or found.region, args.endpoint, 29.5, KEY_OF_MOTO))
