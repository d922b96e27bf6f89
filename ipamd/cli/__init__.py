"""`ipamd COMMAND ...`: finds the command and nothing more, so that help and a wrong word cost no imports.

Each command is a module of this package with `main(argv) -> int` and a parser of its own. Exit codes: 0 fine,
1 a finding or a failure, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import sys

DISTRIBUTION = "ipamd-emulator"
COMMANDS = {
    "run": ("run", "the daemon: addresses for a node's pods, over gRPC"),
    "controller": ("controller", "the Windows half: addresses for the pods of many nodes"),
    "install": ("install", "aws-cni and its configuration onto a node, once the daemon serves"),
    "health": ("health", "does a daemon serve: a probe over gRPC"),
    "ec2": ("ec2", "EC2's API in front of the VPC model; what an account allows"),
    "simulate": ("simulate", "one node in virtual time: what would the pool settle at"),
    "scenario": ("scenario", "several nodes in one subnet, run as a file tells"),
    "config": ("config", "the settings, their sources, whether a pool starves or flaps"),
    "lab": ("lab", "an in-memory Kubernetes API server to try things with"),
    "log": ("log", "show, follow or verify a journal"),
    "state": ("state", "what a journal adds up to, now or at an earlier moment"),
    "tui": ("tui", "a journal on a terminal: step through the pool's life"),
    "replay": ("replay", "decide a journal's records again, show the first difference"),
    "diff": ("diff", "what changed between two moments, by ENI, block and pod"),
    "why": ("why", "why a pod got no address, or waited; why something is not freed"),
    "whatif": ("whatif", "live a journal's demand again under other settings"),
    "import": ("import_", "a journal out of anybody's ipamd logs, bundles or dumps"),
    "subnet": ("subnet", "free addresses and /28 blocks of a subnet, and who breaks them"),
    "max-pods": ("max_pods", "kubelet's --max-pods for an instance type, as the EKS AMI has it"),
}
"""Command -> its module in this package and one line of help."""
NOT_FREED = "why-not-freed"
"""`ipamd why-not-freed THING` is `ipamd why not-freed THING`."""


def main(argv: list[str] | None = None) -> int:
    """Run one command line (without the program's name; the process's own by default). Returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except SystemExit as ended:  # argparse: 0 after --help, 2 after wrong usage
        return ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _reader_gone()


def _dispatch(words: list[str]) -> int:
    if not words:
        print(_usage(), file=sys.stderr)
        return 2
    match words[0]:
        case "-h" | "--help" | "help":
            print(_usage())
            return 0
        case "--version":
            from importlib.metadata import version

            print(f"{DISTRIBUTION} {version(DISTRIBUTION)}")
            return 0
        case name if name in COMMANDS or name == NOT_FREED:
            from importlib import import_module

            if name in ("run", "controller"):
                _end_quietly_on_sigterm()
            name, words = ("why", words) if name == NOT_FREED else (name, words[1:])
            code: int = import_module(f"{__name__}.{COMMANDS[name][0]}").main(words)
            return code
        case other:
            print(f"ipamd: {other[:64]!a}: no such command; want one of {', '.join(COMMANDS)}", file=sys.stderr)
            return 2


def _end_quietly_on_sigterm() -> None:
    """Until the daemon's own handler stands: nothing was answered yet, so there is nothing to put in order."""
    import os
    import signal

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


def _usage() -> str:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {line}" for name, (_, line) in COMMANDS.items())
    return f"""\
usage: ipamd COMMAND ...

{listed}

ipamd COMMAND --help tells more; ipamd --version
An independent emulator of ipamd, the address daemon of the Amazon VPC CNI."""


def _reader_gone() -> int:
    """Whoever read our output has seen enough; nothing is left to be flushed when the interpreter ends."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
