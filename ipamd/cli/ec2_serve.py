"""`ipamd ec2 serve`: EC2's API and instance metadata on 127.0.0.1, in front of the VPC model, until SIGTERM.

On standard output there is one line, when both answer. moto is imported after the options were read.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Final, NoReturn

from . import output

if TYPE_CHECKING:
    from ipamd.ec2.moto_plugin.server import Begin

PROG: Final = "ipamd ec2 serve"
DEFAULT_TYPE: Final = "m5.large"
_EPILOG: Final = """\
The line on standard output, which <endpoint>/ipamd/instance.json repeats:

  {"endpoint":"http://..","imds":"http://..","region":"..","vpc_id":"..","subnet_id":"..","instance_id":"..","eni_id":".."}

Any credentials do. Instance metadata of another instance: <imds>/<instance-id>/latest/..., or the header
X-Ipamd-Instance. Everything is kept in memory. SIGTERM ends it.
Exit code: 0 ended by SIGTERM or SIGINT, 1 it could not start, 2 wrong usage.

example: aws --endpoint-url http://127.0.0.1:5000 ec2 assign-private-ip-addresses --network-interface-id eni-0... \\
           --ipv4-prefix-count 1
"""


def main(argv: list[str]) -> int:
    """Serve until told to end; its exit code."""
    args = parser().parse_args(argv)
    return output.guarded(PROG, lambda: _serve(args))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog=PROG,
        description="A moto server whose EC2 networking is answered by the VPC model, with instance metadata.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--instance-type", default=DEFAULT_TYPE, metavar="T", help="default %(default)s")
    made.add_argument("--subnet", default="10.0.0.0/16", metavar="CIDR", help="default %(default)s")
    made.add_argument("--vpc", default="", metavar="CIDR", help="default: the /16 around the subnet")
    made.add_argument(
        "--reserve", action="append", default=[], metavar="CIDR", help="a range of the subnet for prefixes; repeatable"
    )
    made.add_argument("--region", default="us-west-2", help="default %(default)s")
    made.add_argument("--seed", type=_whole, default=0, metavar="N", help="ids, latencies, placement (default 0)")
    made.add_argument("--port", type=_port, default=5000, metavar="N", help="of EC2; 0 for any (default %(default)s)")
    made.add_argument("--imds-port", type=_port, default=0, metavar="N", help="default 0, any")
    made.add_argument(
        "--placement", choices=("packed", "spread"), default="packed",
        help="which free address is given: the lowest, or any (default %(default)s)",
    )  # fmt: skip
    made.add_argument("--imds-lag", type=_seconds, nargs="?", const=1.5, default=0.0, metavar="SECONDS",
                      help="metadata shows changes late (without a number: 1.5 s)")  # fmt: skip
    made.add_argument("--stale", type=_seconds, nargs="?", const=1.0, default=0.0, metavar="SECONDS",
                      help="so do Describe calls (without a number: 1 s)")  # fmt: skip
    made.add_argument("--deny", action="append", default=[], metavar="ACTION",
                      help="UnauthorizedOperation for it; * and ? are wild; repeatable")  # fmt: skip
    made.add_argument("--throttle", action="store_true", help="token buckets per action, of assumed sizes")
    made.add_argument("--latency", action="store_true", help="calls take the time they take on EC2, assumed too")
    return made


def _serve(args: argparse.Namespace) -> int:
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    _check(args)
    try:
        from ipamd.ec2.moto_plugin.server import ServeError, Server
    except ImportError as error:
        output.complain(PROG, f"{error.name or error}: not installed; pip install 'ipamd-emulator[moto]'")
        return output.FINDING
    try:
        server = Server(_begin(args))
    except ServeError as error:
        output.complain(PROG, str(error))
        return output.FINDING
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    server.start()
    output.write_json(server.line)
    sys.stdout.flush()
    ended.wait()
    server.stop()
    return output.OK


def _leave(*_: object) -> NoReturn:
    """A signal before there is anything to end."""
    raise SystemExit(output.OK)


def _begin(args: argparse.Namespace) -> Begin:
    from ipamd.ec2.moto_plugin.door import Behaviour
    from ipamd.ec2.moto_plugin.server import Begin
    from ipamd.ec2.state import VpcSettings
    from ipamd.ec2.throttle import REALISTIC

    settings = VpcSettings(
        seed=args.seed,
        placement=args.placement,
        metadata_lag=round(args.imds_lag * 1e9),
        stale=round(args.stale * 1e9),
        denied=tuple(args.deny),
        groups_exist=True,
    )
    behaviour = Behaviour(
        settings=settings,
        latency="realistic" if args.latency else "none",
        buckets=dict(REALISTIC) if args.throttle else {},
    )
    return Begin(
        instance_type=args.instance_type,
        subnet=args.subnet,
        vpc=args.vpc or str(IPv4Network(args.subnet).supernet(new_prefix=16)),
        region=args.region,
        behaviour=behaviour,
        reserve=tuple(args.reserve),
        port=args.port,
        imds_port=args.imds_port,
    )


def _check(args: argparse.Namespace) -> None:
    """What the options alone show to be wrong. Raises `Usage`."""
    from ipamd.ec2.limits import UnknownInstanceType, limits_of
    from ipamd.ec2.space import subnet_network, vpc_network

    try:
        limits_of(args.instance_type)
        subnet = subnet_network(args.subnet)
        if args.vpc and not subnet.subnet_of(vpc_network(args.vpc)):
            raise output.Usage(f"--subnet {args.subnet}: lies outside --vpc {args.vpc}")
        for cidr in args.reserve:
            if not IPv4Network(cidr).subnet_of(subnet):
                raise output.Usage(f"--reserve {cidr}: lies outside --subnet {args.subnet}")
    except (UnknownInstanceType, ValueError) as error:
        raise output.Usage(str(error)) from None


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > 2**53:
        raise argparse.ArgumentTypeError(f'"{text[:40]}": want a whole number >= 0')
    return int(text)


def _port(text: str) -> int:
    port = _whole(text)
    if port > 65535:
        raise argparse.ArgumentTypeError(f'"{text[:40]}": want a port, 0 to 65535')
    return port


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f'"{text[:40]}": want seconds, 0 to 3600')
    return seconds
