"""Which cloud `ipamd run` acts on: the embedded one, a moto server's, or AWS's, and only the one that is named.

    --ec2 embedded    in this process, remembered in DIR/cloud
    --ec2 moto        `ipamd ec2 serve`: the one at --endpoint, or one of our own that ends with the daemon
    --ec2 aws         the account of the ordinary credential chain; the instance that this machine is

boto3 is imported here only when a door asks for it.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ipamd.config import Config
from ipamd.core.settings import Node
from ipamd.ec2.embedded import CloudOptions, EmbeddedCloud
from ipamd.ec2.limits import UnknownInstanceType, limits_of, prefix_delegation_supported
from ipamd.ec2.port import Ec2, Ec2Error, Ec2Lost
from ipamd.runtime.clock import SystemClock
from ipamd.runtime.daemon import Daemon
from ipamd.server.backend import VpcCidrs

if TYPE_CHECKING:
    from ipamd.ec2.boto import BotoCloud
    from ipamd.ec2.boto_moto import Child

DOORS = ("embedded", "moto", "aws")
_log = logging.getLogger(__name__)
_NEW_CLOUD = ("instance_type", "subnet")
"""Options that say what cloud to make."""


class StartError(Exception):
    """The daemon cannot start as it was asked to."""


class WrongOption(StartError):
    """The command line alone shows that it cannot."""


class Opened(NamedTuple):
    """A cloud, the instance it is bound to, and whether that carries prefixes (INIT-14)."""

    cloud: Ec2
    node: Node
    prefixes: bool


def check_options(args: argparse.Namespace) -> None:
    """Options that do not belong to the door that is asked for. Raises WrongOption."""
    door = args.ec2
    if door == "embedded":
        for name in ("endpoint", "imds"):
            if getattr(args, name) is not None:
                raise WrongOption(f"--{name}: the embedded cloud has none; use --ec2 moto or --ec2 aws with it")
        return
    made = [name for name in _NEW_CLOUD if getattr(args, name) is not None]
    made += ["latency"] if args.latency != "none" else []
    if made and (door == "aws" or args.endpoint is not None):
        option = f"--{made[0].replace('_', '-')}"
        whose = "AWS's instance" if door == "aws" else "the server at --endpoint"
        raise WrongOption(f"{option}: {whose} is as it is; leave it out")
    if door == "moto" and args.endpoint is not None:
        from ipamd.ec2.boto_moto import is_aws

        if is_aws(args.endpoint):
            raise WrongOption(f"--endpoint {args.endpoint}: is AWS, not a moto; ask for it by name: --ec2 aws")
    for name in ("endpoint", "imds"):
        url = getattr(args, name)
        if url is not None and not url.startswith(("http://", "https://")):
            raise WrongOption(f"--{name} {url[:100]!a}: want a URL such as http://127.0.0.1:5000")
    if door == "moto" and args.imds is not None and args.endpoint is None:
        raise WrongOption("--imds: a server of our own has its own; name the --endpoint too")


async def open_cloud(args: argparse.Namespace, config: Config, state_dir: Path, clock: SystemClock) -> Opened:
    """The cloud that the command line names. Raises StartError or CloudError."""
    match args.ec2:
        case "moto":
            return await _moto(args, config, state_dir)
        case "aws":
            return await _aws(args, config)
        case _:
            return await _embedded(args, config, state_dir, clock)


def vpc_cidrs_of(door: str, daemon: Daemon) -> VpcCidrs:
    """Where AddNetwork reads the VPC's CIDRs, live (RPC-35); a failure is an error of the call (RPC-37).

    A moto server takes instance metadata with it when it ends, which no EC2 outage does. There the CIDRs read last
    do, so that the pool goes on serving what it has.
    """
    if door != "moto":
        return daemon.performer.vpc_cidrs

    async def remembered() -> tuple[str, ...]:
        try:
            return await daemon.performer.vpc_cidrs()
        except (Ec2Error, Ec2Lost):
            if not daemon.state.vpc_cidrs:
                raise
            return daemon.state.vpc_cidrs

    return remembered


async def _embedded(args: argparse.Namespace, config: Config, state_dir: Path, clock: SystemClock) -> Opened:
    ipv6 = config.options.ipv6
    options = CloudOptions(args.instance_type, args.subnet, latency=args.latency, ipv6=ipv6)
    try:
        if args.instance_type is not None:
            limits_of(args.instance_type)
        cloud = EmbeddedCloud.open(state_dir, options, clock=clock.now, sleep=clock.sleep)
    except UnknownInstanceType as error:
        raise WrongOption(f"--instance-type: {error}") from None
    except ValueError as error:
        raise WrongOption(str(error)) from None
    node = await cloud.node()
    return Opened(cloud, node, prefix_delegation_supported(node.instance_type))


async def _aws(args: argparse.Namespace, config: Config) -> Opened:
    """AWS, which `--ec2 aws` has named. Whom it acts on is told before anything is changed."""
    _want_boto3("aws")
    return await _guarded(config, endpoint=args.endpoint or config.options.ec2_endpoint, imds=args.imds or "")


async def _moto(args: argparse.Namespace, config: Config, state_dir: Path) -> Opened:
    """A moto: the one that is named, or a child."""
    _want_boto3("moto")
    from ipamd.ec2.boto import KEY_OF_MOTO
    from ipamd.ec2.boto_moto import MotoError, find, start

    child = None
    try:
        if args.endpoint is None:
            # Another seed is another instance: the journal of a cloud that is gone is set aside.
            words = ["--port", "0", "--seed", str(int.from_bytes(os.urandom(4)))]
            for option in ("instance_type", "subnet"):
                given = getattr(args, option)
                words += [f"--{option.replace('_', '-')}", given] if given is not None else []
            words += ["--latency"] if args.latency != "none" else []
            child = await start(words, state_dir / "moto.log")
            endpoint, imds = child.line.endpoint, child.line.imds
        else:
            endpoint = args.endpoint
            imds = args.imds or (await find(endpoint)).imds
        return await _guarded(config, endpoint=endpoint, imds=imds, key=KEY_OF_MOTO, child=child)
    except MotoError as error:
        raise StartError(f"--ec2 moto: {error}") from None
    except BaseException:
        if child is not None:
            child.stop()
        raise


async def _guarded(
    config: Config, *, endpoint: str, imds: str, key: tuple[str, str] | None = None, child: Child | None = None
) -> Opened:
    from ipamd.ec2.boto import open_boto
    from ipamd.ec2.boto_client import Access
    from ipamd.ec2.boto_guard import Guarded
    from ipamd.ec2.boto_imds import Imds

    seconds = float(config.options.http_timeout) - 0.5  # it tells the performer, before that one's patience ends
    metadata = Imds(imds, seconds)
    boto: BotoCloud | None = None
    try:
        access = Access("", endpoint, seconds, key, "" if key else metadata.url)
        boto = await open_boto(access, metadata)
        identity = await boto.identity()
        _tell(f"{'AWS' if key is None else 'moto'}: acting on {identity.text}", config)
        node = await boto.node()
    except BaseException as error:
        if boto is not None:
            await boto.close()
        if isinstance(error, Ec2Error | Ec2Lost):
            raise StartError(str(error)) from None
        raise
    untagged = bool(config.values["MANAGE_UNTAGGED_ENI"])
    known = boto.prefixes_supported
    prefixes = prefix_delegation_supported(node.instance_type) if known is None else known
    cloud = Guarded(boto, node, manage_untagged=untagged, at_end=child.stop if child is not None else None)
    return Opened(cloud, node, prefixes)


def _tell(text: str, config: Config) -> None:
    """In the log, and to whoever started the daemon if the log goes elsewhere or is silent."""
    _log.warning("%s", text)
    shown = config.options.log_file.lower() == "stderr" and config.options.log_level in ("debug", "info", "warn")
    if not shown:
        print(f"ipamd run: {text}", file=sys.stderr, flush=True)


def _want_boto3(extra: str) -> None:
    try:
        import ipamd.ec2.boto  # noqa: F401
    except ModuleNotFoundError as error:
        raise StartError(
            f"--ec2 {extra}: Python has no {error.name}; install it with: pip install 'ipamd-emulator[{extra}]'"
        ) from None
