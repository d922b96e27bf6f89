"""`make bench`: measures, prints, and leaves judging to whoever reads. Exit code 0 unless a benchmark itself fails."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from . import cloud, flat, fold, memory, network, node, pod, startup, windows
from .figures import Line, text
from .machine import machine
from .place import Place, new_place
from .processes import ROOT
from .sizes import FULL, SMALL, Sizes

BENCHMARKS: Final[dict[str, Callable[[Sizes, Place], list[Line]]]] = {
    "fold": fold.run,
    "flat": flat.run,
    "node": node.run,
    "network": network.run,
    "memory": memory.run,
    "startup": startup.run,
    "pod": pod.run,
    "cloud": cloud.run,
    "windows": windows.run,
}


def main(argv: list[str] | None = None) -> int:
    """Run the chosen benchmarks in a directory of their own, which is removed afterwards."""
    args = _parser().parse_args(argv)
    sizes = SMALL if args.small else FULL
    began = time.monotonic()
    with new_place(args.dir) as place:
        about = machine(place.disk)
        _say(args.json, "machine: " + ", ".join(f"{name} {value}" for name, value in about.items()))
        lines: list[Line] = []
        for name in args.only or BENCHMARKS:
            for line in BENCHMARKS[name](sizes, place):
                lines.append(line)
                _say(args.json, "\n" + text(line))
        seconds = round(time.monotonic() - began, 1)
        _say(args.json, f"\n{_verdict(lines)}, in {seconds:.0f} s")
    if args.json:
        shown = [{**msgspec.to_builtins(line), "want": line.want, "met": line.met} for line in lines]
        sys.stdout.buffer.write(msgspec.json.encode({"machine": about, "seconds": seconds, "lines": shown}) + b"\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="make bench", description=__doc__)
    made.add_argument("--only", action="append", choices=list(BENCHMARKS), help="one benchmark; may be repeated")
    made.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    made.add_argument("--small", action="store_true", help="so little that the figures mean nothing: does it work?")
    made.add_argument(
        "--dir", type=Path, default=ROOT / "build", help="where to write; its disk is measured too (default build/)"
    )
    return made


def _say(quiet: bool, words: str) -> None:
    if not quiet:
        print(words, flush=True)


def _verdict(lines: list[Line]) -> str:
    judged = [line for line in lines if line.met is not None]
    missed = [line.name for line in judged if not line.met]
    return f"{len(judged) - len(missed)} of {len(judged)} bounds met" + (f"; not {', '.join(missed)}" if missed else "")


if __name__ == "__main__":
    sys.exit(main())
