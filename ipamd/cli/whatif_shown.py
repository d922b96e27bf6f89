"""What `ipamd whatif` shows, of a node's journal and of a controller's: a table, and plots."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

from ipamd.core.types import MS
from ipamd.journal.reading import bounds
from ipamd.sim.meter import Course
from ipamd.sim.whatif import Document
from ipamd.sim.windows_whatif import WindowsDocument

from . import output

ROWS: Final = {
    "most addresses held": "held_max",
    "address-hours held": "address_hours", "address-hours wasted": "wasted_address_hours",
    "pods that came": "arrivals", "never served": "unserved", "refused tries": "refused",
    "wait p50, s": "wait_p50_seconds", "wait p99, s": "wait_p99_seconds", "longest wait, s": "wait_max_seconds",
}  # fmt: skip
"""Rows of both kinds of journal: title -> member of the life."""


def latency(given: list[str]) -> dict[str, int]:
    """Action ("" for all) -> ns. Raises `Usage`."""
    found: dict[str, int] = {}
    for text in given:
        action, _, ms = text.rpartition("=")
        if not (ms.isascii() and ms.isdigit()) or int(ms[:9]) > 600_000:
            raise output.Usage(f'--latency "{text[:60]}": want milliseconds up to 600000, or ACTION=MS')
        found[action] = int(ms) * MS
    return found


def show(args: argparse.Namespace, told: Document | WindowsDocument, rows: dict[str, str]) -> None:
    """The table; `rows`: title -> member."""
    out = output.console()
    lines = [(name, before, after, _difference(before, after)) for name, before, after in _rows(told, rows)]
    out.print(output.table(_title(args), ("", "baseline", "variant", "difference"), lines))
    since = f"from record {told.lived_from} on" if told.lived_from else "it never does"
    out.print(output.facts([("goes its own way", since), *(("assumed", line) for line in told.assumed)]))


def _rows(told: Document | WindowsDocument, rows: dict[str, str]) -> list[tuple[str, object, object]]:
    found = [(title, getattr(told.baseline, name), getattr(told.variant, name)) for title, name in rows.items()]
    for member, word in (("refusals", "refused: "), ("ec2_calls", "EC2 ")):
        before, after = getattr(told.baseline, member), getattr(told.variant, member)
        found += [(word + key, before.get(key, 0), after.get(key, 0)) for key in dict.fromkeys([*before, *after])]
    return found


def _difference(before: object, after: object) -> str:
    assert isinstance(before, int | float) and isinstance(after, int | float)
    return f"{after - before:+.6g}" if after != before else ""


def _title(args: argparse.Namespace) -> str:
    words = [*args.set, *args.config]
    words += [args.instance_type] if args.instance_type else []
    words += [f"subnet {args.subnet}"] if args.subnet else []
    words += [f"max pods {args.max_pods}"] if args.max_pods is not None else []
    words += [f"without record {seq}" for seq in args.drop]
    words += [f"retry {args.retry:g} s"] if args.retry is not None else []
    words += [f"latency {text} ms" for text in args.latency]
    return f"what if: {', '.join(words) or 'nothing is changed'}"


def draw(args: argparse.Namespace, baseline: Course, variant: Course) -> None:
    """Write the plots as the file's name says. Raises `Usage`."""
    from ipamd.sim.plots import picture, svg

    path = Path(args.out)
    node = bounds(args.journal).node
    drawn = picture(f"{node}: {_title(args)}", [], {"baseline": baseline, "variant": variant})
    match path.suffix.lower():
        case ".svg":
            rendered = svg(drawn)
        case ".png":
            try:
                from ipamd.sim.plots_png import png
            except ModuleNotFoundError:
                raise output.Usage(
                    f"--out {path}: a PNG needs Pillow; pip install 'ipamd-emulator[plots]', or write an .svg"
                ) from None
            rendered = png(drawn)
        case other:
            raise output.Usage(f'--out {path}: "{other}" is no format of ours; want a name that ends in .svg or .png')
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_bytes(rendered)
        fresh.replace(path)
    except OSError as error:
        raise output.Usage(f"--out {path}: cannot be written: {error.strerror}; choose another place") from None
    finally:
        fresh.unlink(missing_ok=True)
