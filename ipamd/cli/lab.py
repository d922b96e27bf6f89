"""`ipamd lab apiserver`: an in-memory Kubernetes API server on 127.0.0.1, until SIGTERM.

On standard output there is one line, once it answers.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from typing import Final

from . import output

PROG: Final = "ipamd lab"
_EPILOG: Final = """\
The line on standard output:

  {"ready":true,"url":"http://127.0.0.1:..","kubeconfig":".."}

Everything is kept in memory. There are no controllers, no scheduler, no kubelet and no authentication.
SIGTERM ends it and removes the kubeconfig.
Exit code: 0 ended by SIGTERM or SIGINT, 1 it could not start, 2 wrong usage.

example: ipamd lab apiserver --kubeconfig lab.kubeconfig &
         KUBECONFIG=lab.kubeconfig kubectl get nodes
"""


def main(argv: list[str]) -> int:
    """Serve until told to end; its exit code."""
    args = parser().parse_args(argv)
    return output.guarded(PROG, lambda: asyncio.run(_serve(args)))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(prog=PROG, description="Parts of a cluster to try ipamd with.")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    server = commands.add_parser(
        "apiserver",
        help="an in-memory Kubernetes API server over HTTP",
        description="An in-memory Kubernetes API server on 127.0.0.1, for kubectl and every other client.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    server.add_argument("--port", type=_port, default=0, metavar="N", help="default 0, any")
    server.add_argument(
        "--kubeconfig", type=Path, metavar="FILE", help="write it there (default: a new temporary file)"
    )
    server.add_argument("--seed", type=int, default=0, metavar="N", help="of uids and generated names (default 0)")
    server.add_argument(
        "--window", type=_count, default=4096, metavar="N",
        help="changes remembered of each resource; older versions are 410 Expired (default %(default)s)",
    )  # fmt: skip
    server.add_argument(
        "--bookmark-seconds", type=_seconds, default=60.0, metavar="S", help="between bookmarks (default 60)"
    )
    return made


async def _serve(args: argparse.Namespace) -> int:
    from ipamd.k8s.lab import kubeconfig
    from ipamd.k8s.lab.server import Lab

    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    lab = Lab(seed=args.seed, window=args.window, bookmark_seconds=args.bookmark_seconds)
    try:
        url = await lab.start(args.port)
    except OSError as error:
        output.complain(PROG, f"--port {args.port}: {error.strerror or error}; choose another, or 0 for any")
        return output.FINDING
    try:
        path = kubeconfig.write(args.kubeconfig, url)
    except OSError as error:
        output.complain(PROG, f"--kubeconfig {args.kubeconfig}: {error.strerror or error}")
        await lab.stop()
        return output.FINDING
    try:
        output.write_json({"ready": True, "url": url, "kubeconfig": str(path)})
        sys.stdout.flush()
        await ended.wait()
    finally:
        kubeconfig.remove(path)
        await lab.stop()
    return output.OK


def _whole(text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit()) or not low <= int(text[:12]) <= high:
        raise argparse.ArgumentTypeError(f'"{text[:40]}": want a whole number, {low} to {high}')
    return int(text)


def _port(text: str) -> int:
    return _whole(text, 0, 65_535)


def _count(text: str) -> int:
    return _whole(text, 1, 1_000_000)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f'"{text[:40]}": want seconds, above 0 and up to 3600')
    return seconds
