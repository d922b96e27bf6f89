"""`ipamd controller`: addresses for the pods of Windows nodes, over any Kubernetes API. Here its rooms meet.

On standard output there is one line, when the doors are open; whether this replica leads is `/v1/role`'s to tell.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Final, cast

from ipamd.config import ConfigError, load
from ipamd.core.settings import windows_quirks
from ipamd.core.state import State
from ipamd.core.windows_commands import OpenController
from ipamd.ec2.branch_limits import BRANCHES, BranchLimitsError
from ipamd.ec2.branch_limits import read as read_limits
from ipamd.ec2.cloudlog import CloudError
from ipamd.ec2.fleet import Fleet
from ipamd.ec2.latency import PROFILES
from ipamd.ec2.port import Ec2Error, Ec2Lost
from ipamd.journal.errors import JournalError
from ipamd.journal.journal import Journal
from ipamd.journal.retention import parse_keep
from ipamd.k8s.lease import LeadershipLost
from ipamd.k8s.port import NoCluster
from ipamd.narrate import Level, Narrator, open_log
from ipamd.runtime.clock import SystemClock
from ipamd.runtime.controller import API_BURST, API_QPS, Controller, Opened, Rates
from ipamd.runtime.controller_performer import ControllerPerformer
from ipamd.runtime.daemon import Door, Limits, journal_of
from ipamd.runtime.datastore import SNAPSHOT_EVERY, recovered
from ipamd.runtime.pace import EC2_BURST, EC2_QPS
from ipamd.server.certificates import Certificates
from ipamd.server.controller_doors import ControllerDoors
from ipamd.server.controller_metrics import ControllerMetrics, Figures
from ipamd.server.listen import ListenError, open_http, parse_address
from ipamd.server.webhook import Webhook

from . import output
from .clouds import DOORS, StartError, WrongOption
from .doors import WebDoor
from .fleets import check_fleet, open_fleet
from .run import ROOT_STATE_DIR, default_state_dir

PROG: Final = "ipamd controller"
WEBHOOK_CONNECTIONS: Final = 2048
"""An API server opens one for each pod that is made at once; a refused one would leave its pod without address."""
_log = logging.getLogger(__name__)
_EPILOG: Final = """\
The line on standard output:

  {"ready":true,"pid":..,"identity":"..","introspection":"http://..","metrics":"http://..",
   "health":"http://..","webhook":"https://.." or null,"journal":".."}

The API server is the one of --kubeconfig, else of KUBECONFIG, else the pod's own. Options that upstream's controller
has are named as there. The webhook opens when --webhook-cert-dir names a directory with tls.crt and tls.key.
With --ec2 embedded an instance is launched for each Node, by its provider id and its label
node.kubernetes.io/instance-type. UPSTREAM_PARITY brings upstream's accidents back.
Exit code: 0 ended by SIGTERM or SIGINT, 1 it could not start or go on, or lost the election, 2 wrong usage.

example: ipamd lab apiserver --kubeconfig lab.kubeconfig &
         ipamd controller --kubeconfig lab.kubeconfig --state-dir .state
"""


def main(argv: list[str]) -> int:
    """Run the controller until it is told to end; its exit code."""
    args = parser().parse_args(argv)
    if args.scenario is not None:
        from .controller_scenario import live

        return output.guarded(PROG, lambda: live(PROG, args))
    if args.json:
        parser().error("--json goes with --scenario; the doors of a running controller speak JSON anyway")
    try:
        check_fleet(args)
        _check_addresses(args)
        return asyncio.run(_serve(args))
    except (
        StartError, BranchLimitsError, ConfigError, CloudError, JournalError, ListenError, NoCluster, LeadershipLost,
        Ec2Error, Ec2Lost,
    ) as error:  # fmt: skip
        print(f"{PROG}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, WrongOption) else 1


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog=PROG,
        description="The VPC resource controller for Windows nodes: one process, many nodes, one journal.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--kubeconfig", type=Path, metavar="FILE", help="of the API server (default: KUBECONFIG)")
    made.add_argument("--cluster-name", default="lab", metavar="NAME", help="in tags (default %(default)s)")
    made.add_argument("--state-dir", type=Path, metavar="DIR", help=f"default {ROOT_STATE_DIR} as root")
    made.add_argument("--ec2", choices=DOORS, default="embedded", help="the cloud (default %(default)s)")
    made.add_argument("--endpoint", metavar="URL", help="of EC2 (moto: one that runs)")
    made.add_argument("--region", metavar="R", help="of EC2 (default: AWS_REGION)")
    made.add_argument("--subnet", metavar="CIDR", help="of a new embedded cloud (default 10.0.0.0/16)")
    made.add_argument("--latency", choices=PROFILES, default="none", help="of the embedded cloud")
    made.add_argument(
        "--enable-windows-prefix-delegation", type=_flag, nargs="?", const=True, default=True, metavar="BOOL",
        help="whether prefixes may be delegated at all (default true)",
    )  # fmt: skip
    made.add_argument("--scenario", metavar="NAME|FILE", help="run one of Windows nodes in virtual time, and end")
    made.add_argument("--json", action="store_true", help="with --scenario: one line of JSON instead of text")
    made.add_argument("--limits", type=Path, metavar="FILE", help='branch interfaces by type: {"m6i.large": 9}')
    made.add_argument("--leader-elect", action=argparse.BooleanOptionalAction, default=True, help="stand for election")
    made.add_argument("--identity", default="", metavar="NAME", help="of this replica (default: host and process)")
    for name, default, what in (
        ("user-client-qps", EC2_QPS, "requests a second to EC2"),
        ("api-server-qps", API_QPS, "writes a second to the API server"),
    ):
        made.add_argument(f"--{name}", type=_rate, default=default, metavar="N", help=f"{what} (default {default:g})")
    for name, whole, what in (
        ("user-client-burst", EC2_BURST, "EC2 requests at once"),
        ("api-server-burst", API_BURST, "writes at once"),
    ):
        made.add_argument(f"--{name}", type=_count, default=whole, metavar="N", help=f"{what} (default {whole})")
    made.add_argument("--introspect-bind-addr", default="127.0.0.1:22775", metavar="HOST:PORT", help="%(default)s")
    made.add_argument("--metrics-bind-address", default="127.0.0.1:8080", metavar="HOST:PORT", help="%(default)s")
    made.add_argument("--healthz-bind-address", default="127.0.0.1:61779", metavar="HOST:PORT", help="%(default)s")
    made.add_argument("--webhook-cert-dir", type=Path, metavar="DIR", help="tls.crt and tls.key; none: no webhook")
    made.add_argument("--webhook-bind-address", default=":9443", metavar="HOST:PORT", help="default %(default)s")
    made.add_argument("--log-level", choices=("debug", "info", "warn", "error"), default="info", help="%(default)s")
    made.add_argument("--snapshot-every", type=_count, default=SNAPSHOT_EVERY, metavar="N", help="records")
    made.add_argument("--journal-keep", default="1GiB,30d", metavar="LIMIT", help="size, age or all (%(default)s)")
    return made


def _flag(text: str) -> bool:
    """As Go's flags read it."""
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise argparse.ArgumentTypeError(f"{text[:40]!a}: want true or false")


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text[:40]!a}: want a number above 0")
    return rate


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:12]) <= 1_000_000_000:
        raise argparse.ArgumentTypeError(f"{text[:40]!a}: want a whole number, 1 at least")
    return int(text)


_ADDRESSES: Final = {
    "introspect_bind_addr": "--introspect-bind-addr",
    "metrics_bind_address": "--metrics-bind-address",
    "healthz_bind_address": "--healthz-bind-address",
    "webhook_bind_address": "--webhook-bind-address",
}


def _check_addresses(args: argparse.Namespace) -> None:
    """Raises WrongOption."""
    for name, option in _ADDRESSES.items():
        try:
            parse_address(getattr(args, name), option)
        except ListenError as error:
            raise WrongOption(str(error)) from None
    try:
        parse_keep(args.journal_keep)
    except ValueError as error:
        raise WrongOption(f"--journal-keep: {error}") from None


async def _serve(args: argparse.Namespace) -> int:
    limits = BRANCHES if args.limits is None else read_limits(args.limits)
    given = load({"UPSTREAM_PARITY": os.environ.get("UPSTREAM_PARITY", "")}, [])
    quirks = windows_quirks(given.quirks, *given.off)
    log = open_log("stderr", cast(Level, args.log_level))
    try:
        from ipamd.k8s.client import connect
        from ipamd.k8s.control import ControlCluster
        from ipamd.k8s.lease import Election
    except ModuleNotFoundError as error:
        raise StartError(f"Python has no {error.name}; install it with: pip install 'ipamd-emulator[k8s]'") from None
    clock = SystemClock()
    cluster = ControlCluster(connect(os.environ, kubeconfig=args.kubeconfig, agent="vpc-resource-controller"))
    identity = args.identity or f"{socket.gethostname()}_{os.getpid()}"
    election = Election(cluster, identity, clock.now, clock.sleep, warn=_log.warning) if args.leader_elect else None
    start = OpenController(int.from_bytes(os.urandom(6)), args.enable_windows_prefix_delegation, quirks, True)
    controller = Controller(
        cluster, election, clock, start, args.cluster_name,
        version=_version(),
        branch_limits=limits,
        rates=Rates(args.user_client_qps, args.user_client_burst, args.api_server_qps, args.api_server_burst),
        limits=Limits(snapshot_every=args.snapshot_every, keep=parse_keep(args.journal_keep)),
        warn=_log.warning,
    )  # fmt: skip
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, controller.terminate)
    state_dir = args.state_dir or default_state_dir()

    async def opened() -> Opened:
        found = await _opened(args, state_dir, clock)
        narrator = Narrator(found.state).subscriber(log.write)
        counted = controller.on_record

        def on_record(record: Any) -> None:
            narrator(record)
            counted(record)

        controller.on_record = on_record
        return found

    try:
        doors, ready = _doors(args, controller, clock, identity, state_dir)
        await controller.run(doors, opened, ready)
    except Exception as error:
        _log.critical("%s", error)
        raise
    finally:
        log.close()
    return output.OK


async def _opened(args: argparse.Namespace, state_dir: Path, clock: SystemClock) -> Opened:
    """What a leader works with: the journal, what it adds up to, the cloud."""
    journal = Journal.open(state_dir / "journal", warn=_log.warning)
    fleet: Fleet | None = None
    try:
        state: State = recovered(journal, _log.warning)
        clock.not_before(state.at)
        fleet = await open_fleet(args, state_dir, clock)
        journal, state, aside = journal_of("", journal, state, _log.warning)
        if aside is not None:
            _log.warning("%s: the journal was a node's; it lies in %s now", state_dir, aside)
    except BaseException:
        journal.close()
        if fleet is not None:
            await fleet.close()
        raise
    return Opened(journal, state, fleet)


def _doors(
    args: argparse.Namespace, controller: Controller, clock: SystemClock, identity: str, state_dir: Path
) -> tuple[list[Door], Any]:
    """The doors, and what to do once they are open. Raises ListenError if there are no certificates."""
    election = controller.election

    def role() -> dict[str, Any]:
        leader = election.leader if election is not None else identity
        return {"identity": identity, "leading": controller.leading, "leader": leader}

    metrics = ControllerMetrics(lambda: controller.state, lambda: _figures(controller))

    def performing(performer: ControllerPerformer) -> None:
        performer.asks.on_ask = lambda asked: metrics.on_ask(*asked)
        performer.on_write = lambda written: metrics.on_write(*written)
        performer.on_job = metrics.on_job

    controller.on_performer = performing
    controller.on_record = metrics.on_record
    shown = ControllerDoors(
        lambda: controller.state, lambda: max(clock.now(), controller.state.at), role,
        lambda: controller.checks(), metrics.render,
    )  # fmt: skip
    introspection = WebDoor(
        lambda: open_http(shown.introspection(), args.introspect_bind_addr, "--introspect-bind-addr")
    )
    measured = WebDoor(lambda: open_http(shown.exposition(), args.metrics_bind_address, "--metrics-bind-address"))
    health = WebDoor(lambda: open_http(shown.health(), args.healthz_bind_address, "--healthz-bind-address"))
    doors = [introspection, measured, health]
    webhook = _webhook(args, controller)
    if webhook is not None:
        doors.append(webhook)

    def ready() -> None:
        line = {
            "ready": True,
            "pid": os.getpid(),
            "identity": identity,
            "introspection": introspection.url,
            "metrics": measured.url,
            "health": health.url,
            "webhook": webhook.url if webhook is not None else None,
            "journal": str((state_dir / "journal").absolute()),
        }
        try:
            output.write_json(line)
            sys.stdout.flush()
        except OSError as error:
            _log.warning("nobody reads the ready line (%s); serving all the same", error.strerror)
        gc.freeze()

    return list(doors), ready


def _webhook(args: argparse.Namespace, controller: Controller) -> WebDoor | None:
    if args.webhook_cert_dir is None:
        return None
    certificates = Certificates(args.webhook_cert_dir, _log.warning)
    webhook = Webhook(
        lambda: controller.ipam_enabled,
        lambda pod: controller.informers.groups_of(pod.namespace, pod.labels, pod.service_account),
    )
    return WebDoor(
        lambda: open_http(
            webhook.application(),
            args.webhook_bind_address,
            "--webhook-bind-address",
            tls=certificates.context,
            connections_max=WEBHOOK_CONNECTIONS,
        )
    )


def _figures(controller: Controller) -> Figures:
    nodes = controller.cni_nodes
    return Figures(
        controller.leading,
        controller.lag_seconds,
        nodes.recreated,
        nodes.recreate_failed,
        len(controller.informers.policies.items),
    )


def _version() -> str:
    from importlib.metadata import version

    return version("ipamd-emulator")
