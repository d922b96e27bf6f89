"""`ipamd install`: make a node's container runtime use aws-cni, as upstream's entrypoint does.

check the variables -> plugin into the directory of plugins -> (start the daemon) -> wait until it serves
    -> conflist, which tells the kubelet that the node has a network -> (wait for the daemon to end)
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from types import FrameType
from typing import Final

from ipamd.config import DEFAULT_SOCKET

from . import output
from .bundle import PLUGIN, BundleError, bundled, install, remove
from .conflist import NAME, Refused, checked, conflist, missing, text_of

PROG: Final = "ipamd install"
PAUSE: Final = 0.2
"""Seconds between two probes; upstream has none and spins."""
LOOK: Final = 0.5
"""Seconds after which a signal is forwarded at the latest."""
_EPILOG: Final = """\
With a COMMAND, such as ipamd run, that is started once the plugin is there, and
this process ends with it. Without one the daemon runs elsewhere: ours waits for
it, writes the configuration and ends.

The variables are upstream's: HOST_CNI_BIN_PATH, HOST_CNI_CONFDIR_PATH, POD_MTU,
AWS_VPC_ENI_MTU, AWS_VPC_K8S_CNI_VETHPREFIX, AWS_VPC_K8S_PLUGIN_LOG_FILE and
_LEVEL, POD_SECURITY_GROUP_ENFORCING_MODE, ENABLE_BANDWIDTH_PLUGIN,
DISABLE_POD_V6. Chained plugins are configured if they are installed.
Exit code: 0 done, 1 it could not be done or the daemon failed, 2 wrong usage.

example: ipamd install -- ipamd run --host netlink
"""


def main(argv: list[str]) -> int:
    """Install or uninstall; the exit code."""
    args = parser().parse_args(argv)
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    return output.guarded(PROG, lambda: _perform(args, command))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog=PROG,
        description="Install aws-cni and its configuration on this node, once the daemon serves.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--bin-dir", type=Path, metavar="DIR", help="default HOST_CNI_BIN_PATH, else /opt/cni/bin")
    made.add_argument("--conf-dir", type=Path, metavar="DIR", help="default HOST_CNI_CONFDIR_PATH, else /etc/cni/net.d")
    made.add_argument("--bundle", type=Path, metavar="DIR", help="what make plugin wrote (default: the image's own)")
    made.add_argument("--socket", default=DEFAULT_SOCKET, metavar="PATH", help="of the daemon (default %(default)s)")
    made.add_argument("--wait", type=float, default=0, metavar="S", help="at most so long for it (default 0, for ever)")
    made.add_argument("--uninstall", action="store_true", help="take configuration and plugin away again")
    made.add_argument("--json", action="store_true", help="what was done as one line of JSON")
    made.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the daemon to start")
    return made


def _perform(args: argparse.Namespace, command: list[str]) -> int:
    bin_dir = args.bin_dir or Path(os.environ.get("HOST_CNI_BIN_PATH") or "/opt/cni/bin")
    conf = (args.conf_dir or Path(os.environ.get("HOST_CNI_CONFDIR_PATH") or "/etc/cni/net.d")) / NAME
    if command and command[0].startswith("-"):
        raise output.Usage(f"{command[0][:60]!a}: want the daemon's command after --, for example -- ipamd run")
    if args.uninstall and command:
        raise output.Usage("--uninstall: starts no daemon; leave the command out")
    try:
        if args.uninstall:
            return _uninstall(args, bin_dir, conf)
        return _install(args, bin_dir, conf, command)
    except (Refused, BundleError) as error:
        output.complain(PROG, str(error))
    except OSError as error:
        output.complain(PROG, f"{error.filename}: {error.strerror}; run as a user who may write there")
    return output.FINDING


def _uninstall(args: argparse.Namespace, bin_dir: Path, conf: Path) -> int:
    """First the configuration, so that no runtime looks for a plugin that is gone."""
    gone: list[Path] = []
    if conf.exists():
        conf.unlink()
        gone.append(conf)
    gone += remove(bin_dir)
    _tell(args, "Removed", gone)
    return output.OK


def _install(args: argparse.Namespace, bin_dir: Path, conf: Path, command: list[str]) -> int:
    checked(os.environ)
    made = [install(args.bundle or bundled(), bin_dir)]
    if not args.json:
        _tell(args, "Installed", made)
    child = _started(command) if command else None
    if not _serves(args, child):
        if child is None:
            output.complain(PROG, f"{args.socket}: nobody serves there after {args.wait:g} s; start ipamd run")
            return output.FINDING
        return _ended(child)
    there = {path.name for path in bin_dir.iterdir()}
    for line in missing(os.environ, there):
        output.complain(PROG, line)
    _write(conf, text_of(conflist(os.environ, there)))
    _tell(args, "Installed", [*made, conf] if args.json else [conf])
    return _ended(child) if child is not None else output.OK


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    """The daemon, which gets the signals that this process gets. Its output is this process's."""
    try:
        child = subprocess.Popen(command)
    except OSError as error:
        raise BundleError(f"{command[0]}: cannot be started: {error.strerror}") from None

    def forward(number: int, _: FrameType | None) -> None:
        child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    return child


def _serves(args: argparse.Namespace, child: subprocess.Popen[bytes] | None) -> bool:
    """Wait until the daemon answers. False: it ended, or the time is over. Upstream would go on asking for ever."""
    from ipamd.server.probe import SERVING, probe

    until = time.monotonic() + args.wait if args.wait else float("inf")
    while probe(f"unix://{args.socket}").code != SERVING:
        if (child is not None and child.poll() is not None) or time.monotonic() >= until:
            return False
        time.sleep(PAUSE)
    return True


def _ended(child: subprocess.Popen[bytes]) -> int:
    """Wait for it: 0 if the daemon ends so, else 1, as upstream.

    Not in wait(): a signal that a thread of the probe's takes does not interrupt that, and would never be forwarded.
    """
    end = os.pidfd_open(child.pid)
    try:
        while child.poll() is None:
            select.select([end], [], [], LOOK)
    finally:
        os.close(end)
    return output.OK if child.returncode == 0 else output.FINDING


def _write(path: Path, text: str) -> None:
    """In one step, so that no runtime reads half of it; readable by everybody."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    beside.write_text(text)
    beside.chmod(0o644)
    beside.rename(path)


def _tell(args: argparse.Namespace, what: str, paths: list[Path]) -> None:
    if args.json:
        output.write_json({what.lower(): [str(path) for path in paths], "plugin": PLUGIN})
        return
    for path in paths:
        print(f"{what} {path}", flush=True)
