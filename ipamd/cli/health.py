"""`ipamd health`: does the daemon serve? For probes of Kubernetes and Docker; what grpc-health-probe does upstream."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from ipamd.config import DEFAULT_SOCKET

from . import output

PROG: Final = "ipamd health"
_EPILOG: Final = """\
Exit code: 0 it serves, 2 no connection (or wrong usage), 3 the call
failed, 4 it does not serve. grpc-health-probe has the same, and says it longer.

example: ipamd health --addr unix:///var/run/aws-node/ipamd.sock
"""


def main(argv: list[str]) -> int:
    """Ask once; the exit code is the answer."""
    args = parser().parse_args(argv)
    from ipamd.server.probe import probe  # grpc takes 0.1 s, which --help need not

    answer = probe(args.addr, args.service, args.connect_timeout, args.rpc_timeout)
    if args.json:
        output.write_json({"serving": answer.code == 0, "code": answer.code, "text": answer.text})
    else:
        print(answer.text if answer.code == 0 else f"{PROG}: {answer.text}", file=sys.stderr if answer.code else None)
    return answer.code


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog=PROG,
        description="Ask a daemon's gRPC health service once.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--addr", default=f"unix://{DEFAULT_SOCKET}", metavar="ADDRESS", help="default %(default)s")
    made.add_argument("--service", default="", metavar="NAME", help="of gRPC (default: the whole server)")
    made.add_argument("--connect-timeout", type=float, default=1.0, metavar="S", help="seconds (default 1)")
    made.add_argument("--rpc-timeout", type=float, default=1.0, metavar="S", help="seconds (default 1)")
    made.add_argument("--json", action="store_true", help="one line of JSON")
    return made
