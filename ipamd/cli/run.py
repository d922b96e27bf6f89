"""`ipamd run`: the daemon. Here the rooms are put together; each knows only what it is given.

On standard output there is one line, when node init has ended and gRPC is open (RPC-6). A reason for not starting,
or for ending, is one line on standard error: the thing, the fact, the remedy.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

from msgspec.structs import replace

from ipamd.config import DEFAULT_METRICS, DEFAULT_SOCKET, Config, ConfigError, WrongSet, load
from ipamd.core.commands import Start
from ipamd.core.settings import Node, Settings
from ipamd.ec2.cloudlog import CloudError
from ipamd.ec2.embedded import DEFAULT_INSTANCE_TYPE
from ipamd.ec2.latency import PROFILES
from ipamd.ec2.port import Ec2
from ipamd.ec2.vpc import DEFAULT_SUBNET
from ipamd.journal.errors import JournalError
from ipamd.journal.journal import Journal
from ipamd.journal.retention import Keep, parse_keep
from ipamd.narrate import JsonLog, Level, Narrator, open_log
from ipamd.runtime.checkpoint import CheckpointError, CheckpointFile
from ipamd.runtime.checkpoint import read as read_checkpoint
from ipamd.runtime.clock import SystemClock
from ipamd.runtime.daemon import Daemon, Door, InitFailed, Limits, journal_of
from ipamd.runtime.datastore import SNAPSHOT_EVERY, recovered
from ipamd.runtime.hostnet import Host
from ipamd.server.backend import Backend
from ipamd.server.counts import RequestCounts
from ipamd.server.listen import ListenError, open_http, parse_address

from .clouds import DOORS, StartError, WrongOption, check_options, open_cloud, vpc_cidrs_of
from .cluster import Interrupted, Joined, Membership, join, seen_by
from .doors import GrpcDoor, WebDoor
from .hosts import add_options as add_host_options
from .hosts import check_options as check_host_options
from .hosts import open_host
from .sights import grave, introspection_of, metrics_of

PROG = "ipamd run"
_log = logging.getLogger(__name__)
ROOT_STATE_DIR = "/var/lib/ipamd-emulator"
_STATE_DIR_HELP = f"default {ROOT_STATE_DIR} as root, else $XDG_STATE_HOME/ipamd-emulator"
_EPILOG = """\
The journal lies in DIR/journal, the embedded cloud in DIR/cloud; the cloud
outlives the journal. A port of 0 is chosen by the system and stands in the
ready line, the only line on standard output:

  {"ready":true,"pid":..,"grpc":["unix:///..."],"introspection":"http://..",
   "metrics":"http://..","journal":".."}

Settings come from upstream's environment variables; --set beats them. The log
goes to standard error; --set AWS_VPC_K8S_CNI_LOGLEVEL=info makes it short.
The pool grows as long as it has fewer addresses than --max-pods; with 0 it
never does. SIGTERM ends the daemon within 2 seconds.
Exit code: 0 ended by SIGTERM or SIGINT, 1 it could not start or go on, 2 wrong
usage.

example: ipamd run --state-dir .state --socket .state/ipamd.sock \\
             --set ENABLE_PREFIX_DELEGATION=true --max-pods 110
"""


def main(argv: list[str]) -> int:
    """Run the daemon until it is told to end; its exit code."""
    args = parser().parse_args(argv)
    try:
        _check_addresses(args)
        check_options(args)
        check_host_options(args)
        asyncio.run(_serve(args))
    except Interrupted:
        return 0
    except (StartError, ConfigError, CloudError, JournalError, CheckpointError, ListenError, InitFailed) as error:
        print(f"{PROG}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, WrongSet | WrongOption) else 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog=PROG,
        description="The node daemon: addresses for pods from a warm pool.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--state-dir", type=Path, metavar="DIR", help=_STATE_DIR_HELP)
    made.add_argument("--socket", default=DEFAULT_SOCKET, metavar="PATH", help="gRPC's socket (default %(default)s)")
    made.add_argument("--tcp", metavar="HOST:PORT", help="gRPC on TCP too, for example 127.0.0.1:50051")
    made.add_argument("--introspection", metavar="HOST:PORT", help="default INTROSPECTION_BIND_ADDRESS")
    made.add_argument("--metrics", default=DEFAULT_METRICS, metavar="HOST:PORT", help="default %(default)s")
    made.add_argument("--ec2", choices=DOORS, default="embedded", help="the cloud (default %(default)s)")
    made.add_argument("--endpoint", metavar="URL", help="of EC2 (moto: one that runs; default: one is started)")
    made.add_argument("--imds", metavar="URL", help="of instance metadata (default: as the cloud has it)")
    made.add_argument("--instance-type", metavar="T", help=f"of a new cloud (default {DEFAULT_INSTANCE_TYPE})")
    made.add_argument("--subnet", metavar="CIDR", help=f"of a new cloud (default {DEFAULT_SUBNET})")
    made.add_argument("--latency", choices=PROFILES, default="none", help="of EC2 (default %(default)s)")
    add_host_options(made)
    made.add_argument("--kubeconfig", type=Path, metavar="FILE", help="of the cluster (default: KUBECONFIG, or none)")
    made.add_argument("--node-name", metavar="N", help="of the Node object (default MY_NODE_NAME)")
    made.add_argument("--max-pods", type=_whole, metavar="N", help="default: the Node's, else by instance type")
    made.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="beats the environment")
    made.add_argument("--client-version", default="", metavar="V", help="what plugins must send (default: empty)")
    made.add_argument(
        "--snapshot-every", type=_whole, default=SNAPSHOT_EVERY, metavar="N", help="records (default %(default)s)"
    )
    made.add_argument(
        "--journal-keep", type=_keep, default="1GiB,30d", metavar="LIMIT", help="size, age or all (default %(default)s)"
    )
    return made


def default_state_dir() -> Path:
    """/var/lib as root, else $XDG_STATE_HOME, which a relative path does not set. Raises StartError."""
    if os.geteuid() == 0:
        return Path(ROOT_STATE_DIR)
    home = os.environ.get("XDG_STATE_HOME", "")
    try:
        base = Path(home) if home.startswith("/") else Path.home() / ".local" / "state"
    except RuntimeError:
        raise StartError(f"user {os.geteuid()}: has no home directory; name a --state-dir") from None
    return base / "ipamd-emulator"


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > 1_000_000:
        raise argparse.ArgumentTypeError(f"{text[:40]!a}: want a whole number from 0 to 1000000")
    return int(text)


def _check_addresses(args: argparse.Namespace) -> None:
    """Where doors shall open, before anything is opened. Raises WrongOption."""
    for option in ("tcp", "introspection", "metrics"):
        text = getattr(args, option)
        try:
            if text and not text.startswith("unix:"):
                parse_address(text, f"--{option}")
        except ListenError as error:
            raise WrongOption(str(error)) from None


def _keep(text: str) -> Keep:
    try:
        return parse_keep(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


async def _serve(args: argparse.Namespace) -> None:
    """Configuration and log, then the rest. Raises what `main` explains."""
    config = load(os.environ, args.set)
    log = open_log(config.options.log_file, cast(Level, config.options.log_level))
    try:
        for warning in config.warnings:
            _log.warning(warning.text)
        await _live(args, config, log, await join(args, config))
    except Interrupted:
        raise
    except Exception as error:
        if config.options.log_file.lower() not in ("stdout", "stderr"):
            _log.critical("%s", error)  # whoever reads the file learns of it too
        raise
    finally:
        log.close()


async def _live(args: argparse.Namespace, config: Config, log: JsonLog, joined: Joined) -> None:
    """Put the rooms together and live until the end."""
    warn = _log.warning
    state_dir = args.state_dir or default_state_dir()
    journal = Journal.open(state_dir / "journal", warn=warn)
    clock = SystemClock()
    try:
        state = recovered(journal, warn)
        clock.not_before(state.at)
        cloud, node, prefixes = await open_cloud(args, config, state_dir, clock)
    except BaseException:
        journal.close()
        raise
    try:
        node, settings = _checked(args, config, seen_by(joined, node), prefixes)
        journal, state, aside = journal_of(node.instance, journal, state, warn)
        if aside is not None:
            warn(f"{state_dir}: the journal was of another instance than {node.instance}; it lies in {aside} now")
        restored = read_checkpoint(Path(config.options.backing_store)) if state.seq == 0 else ()
        hosted = await open_host(args, config, cloud)
    except BaseException:
        journal.close()
        await cloud.close()
        raise
    member = Membership(joined, config, clock.now)
    start = Start(settings, node, int.from_bytes(os.urandom(6)), restored, member.facts(joined.node))
    limits = Limits(float(config.options.http_timeout), args.snapshot_every or SNAPSHOT_EVERY, args.journal_keep)
    daemon = Daemon(journal, state, hosted.cloud, hosted.host, clock, start, limits=limits, warn=warn)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, daemon.terminate)
    daemon.datastore.subscribe(Narrator(state, args.client_version).subscriber(log.write))
    member.attend(daemon, max_pods_given=args.max_pods is not None)
    kept = kept_checkpoint(config, daemon, warn)
    try:
        await _open(args, config, daemon, Surroundings(state_dir / "journal", clock, cloud, hosted.host, member))
    finally:
        await member.close()
        if kept is not None:
            kept.close()


def kept_checkpoint(config: Config, daemon: Daemon, warn: Callable[[str], None]) -> CheckpointFile | None:
    """Upstream's file beside the journal (DM-60), if it was named: nobody else's is written by default."""
    if config.sources["AWS_VPC_K8S_CNI_BACKING_STORE"] == "default":
        return None
    path = Path(config.options.backing_store)
    kept = CheckpointFile(path, lambda: daemon.state, daemon.tasks.spawn, warn)
    daemon.datastore.subscribe(kept.on_record)
    return kept


def _checked(args: argparse.Namespace, config: Config, node: Node, prefixes: bool) -> tuple[Node, Settings]:
    """The node as it shall be seen, and settings that it can run with. Raises ConfigError."""
    checked = config.check(prefix_delegation_supported=prefixes)
    for warning in checked.warnings:
        _log.warning(warning.text)
    node = node if args.max_pods is None else replace(node, max_pods=args.max_pods)
    told = {warning.name for warning in checked.warnings}
    for verdict in grave(config, node, prefixes):
        if verdict.names[0] not in told:
            _log.warning("%s: %s", verdict.kind, verdict.text)
    return node, checked.settings


class Surroundings(NamedTuple):
    """What a daemon lives with: the journal's directory, the clock, the cloud, the host, its cluster."""

    journal: Path
    clock: SystemClock
    cloud: Ec2
    host: Host
    member: Membership


async def _open(args: argparse.Namespace, config: Config, daemon: Daemon, around: Surroundings) -> None:
    """Give the doors what they need, and run."""
    counts = RequestCounts()
    metrics = metrics_of(daemon, counts, args.client_version, around.clock, around.cloud, around.host)
    backend = Backend(
        submit=daemon.datastore.submit,
        vpc_cidrs=vpc_cidrs_of(args.ec2, daemon),
        snat=lambda: config.snat(os.environ),
        state=lambda: daemon.state,
        read_pod=around.member.reader(daemon, around.host),
        version=args.client_version,
        counts=counts,
    )
    introspection = introspection_of(daemon, config, around.clock, around.journal, around.member.eni_config)
    asked = args.introspection if args.introspection is not None else config.options.introspection_address
    grpc = GrpcDoor(backend, args.socket, args.tcp)
    shown = WebDoor(lambda: open_http(introspection.application(), asked, "--introspection"))
    measured = WebDoor(lambda: open_http(metrics.application(), args.metrics, "--metrics"))
    early: list[Door] = []
    if config.options.metrics:
        early.append(measured)
    if config.options.introspection:
        early.append(shown)

    def ready() -> None:
        line = {
            "ready": True,
            "pid": os.getpid(),
            "grpc": grpc.addresses,
            "introspection": shown.url,
            "metrics": measured.url,
            "journal": str(around.journal.absolute()),
        }
        try:
            print(json.dumps(line, separators=(",", ":")), flush=True)
        except OSError as error:
            _log.warning("nobody reads the ready line (%s); serving all the same", error.strerror)
        gc.freeze()  # what lives now lives as long as the process: no collection need look at it again

    await daemon.run(early, (grpc,), ready)
