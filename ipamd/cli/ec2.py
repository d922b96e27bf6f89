"""`ipamd ec2 serve|preflight`: finds the command; each is a module of its own, so that one does not load the other's.

`serve` is the moto door, `preflight` looks at an account before `ipamd run --ec2 aws` acts on it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

PROG: Final = "ipamd ec2"
COMMANDS: Final = {
    "serve": ("ec2_serve", "EC2's API and instance metadata over HTTP on 127.0.0.1, answered by the VPC model"),
    "preflight": ("ec2_preflight", "which permissions ipamd run --ec2 aws has, by dry-run calls"),
}
"""Command -> its module in this package and one line of help."""


def main(argv: list[str]) -> int:
    """Run one of the commands; its exit code."""
    match argv:
        case ["-h" | "--help" | "help", *_]:
            print(usage())
            return 0
        case [name, *words] if name in COMMANDS:
            code: int = import_module(f".{COMMANDS[name][0]}", __package__).main(words)
            return code
        case [other, *_]:
            print(f"{PROG}: {other[:64]!a}: no such command; want one of {', '.join(COMMANDS)}", file=sys.stderr)
        case _:
            print(usage(), file=sys.stderr)
    return 2


def usage() -> str:
    """What there is."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {line}" for name, (_, line) in COMMANDS.items())
    return f"usage: {PROG} COMMAND ...\n\n{listed}\n\n{PROG} COMMAND --help tells more"
