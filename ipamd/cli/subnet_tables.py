"""What `ipamd subnet` prints for people: the figures, the map, and who breaks what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ipamd.ec2.subnets.heatmap import LEGEND, Row, ink_on
from ipamd.ec2.subnets.occupation import Block
from ipamd.ec2.subnets.report import Figures, Report

from . import output
from .output import visible

_EACH = 4
"""Breakers of a block that are told; the JSON has them all."""


def show(told: Report, rows: tuple[Row, ...], most: int) -> None:
    """One subnet on standard output; tables have `most` rows at most."""
    out = output.console()
    out.print(output.facts(_facts(told)))
    out.print()
    out.print(_map(rows))
    for title, columns, listed in _tables(told):
        if listed[:most]:
            rest = len(listed) - most
            more = f" (first {most} of {len(listed)}; --blocks N, --json)" if rest > 0 else ""
            out.print(output.table(title + more, columns, listed[:most]))
    for advice in told.advice:
        out.print(visible(f"{advice.level} {advice.code}: {advice.text}"))
    out.print(f"pre-flight: {'ok' if told.ok else 'fails'}")


def _facts(told: Report) -> list[tuple[str, object]]:
    now, before = told.figures, told.before
    place = " ".join(word for word in (told.cidr, told.zone, told.vpc, told.name) if word)
    listed: list[tuple[str, object]] = [("subnet", f"{told.subnet} {place}")]
    if told.reserved:
        listed.append(("what if reserved", ", ".join(told.reserved)))
    if told.drained:
        listed.append(("what if drained", ", ".join(told.drained)))
    listed += [
        ("free addresses", _with(now, before, "free")),
        ("outside reservations", _with(now, before, "free_singles")),
        ("free /28 blocks", _with(now, before, "free_blocks")),
        ("prefixes to be had", _with(now, before, "prefixes_available")),
        ("of them reserved", _with(now, before, "prefixes_reserved")),
        ("prefixes delegated", _with(now, before, "prefixes_delegated")),
        ("broken blocks", _with(now, before, "blocks_broken")),
        ("full of single addresses", _with(now, before, "blocks_full")),
        ("largest free CIDR", told.largest_free_cidr or "none of /28 or wider"),
    ]
    runs = [f"{run.first} to {run.last}: {run.addresses} addresses, {run.blocks} blocks" for run in told.runs]
    return listed + [("largest free runs" if number == 0 else "", run) for number, run in enumerate(runs)]


def _with(now: Figures, before: Figures | None, name: str) -> str:
    """`12`, or `12 (now 3)` where a what-if changes it."""
    value = getattr(now, name)
    was = value if before is None else getattr(before, name)
    return str(value) if was == value else f"{value} (now {was})"


def _map(rows: Iterable[Row]) -> object:
    """The map with its legend; rich leaves the colours out where there is no terminal."""
    from rich.text import Text

    shown = Text()
    listed = list(rows)
    width = max(len(row.label) for row in listed)
    for row in listed:
        shown.append(f"{row.label:{width}}  ", "dim")
        for cell in row.cells:
            shown.append(cell.sign, f"{ink_on(cell.colour)} on {cell.colour}")
        shown.append("\n")
    for sign, colour, meaning in LEGEND:
        shown.append(sign, f"{ink_on(colour)} on {colour}")
        shown.append(f" {meaning}   ")
    shown.rstrip()
    return shown


def _tables(told: Report) -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[object]]]]:
    """(title, columns, rows); a table without rows is not shown."""
    columns = ("CIDR", "type", "id", "free blocks", "prefixes", "single addresses", "description")
    yield (
        "reservations",
        columns,
        [
            (row.cidr, row.kind, row.reservation, row.free_blocks, row.prefixes, row.singles, row.description)
            for row in told.reservations
        ],
    )
    figures = ("ENIs", "single addresses", "prefixes", "breaks blocks", "only it breaks")
    yield (
        "what the addresses are for",
        ("use", *figures),
        [(row.use, row.enis, row.singles, row.prefixes, row.breaks, row.alone) for row in told.uses],
    )
    yield (
        "who breaks blocks",
        ("instance or ENI", "use", *figures, "description"),
        [
            (
                row.holder,
                ", ".join(row.uses),
                row.enis,
                row.singles,
                row.prefixes,
                row.breaks,
                row.alone,
                row.description,
            )
            for row in told.holders
            if row.breaks
        ],
    )
    yield (
        "broken blocks, those with the fewest breakers first",
        ("block", "free", "broken by"),
        [
            (block.cidr, block.free, _breakers(block))
            for block in sorted(told.broken, key=lambda block: (block.edge, len(block.breakers)))
        ],
    )


def _breakers(block: Block) -> str:
    listed = [
        f"{breaker.address} {breaker.use} {breaker.eni}"
        + (f" on {breaker.instance}" if breaker.instance else "")
        + (f' "{breaker.description}"' if breaker.description else "")
        for breaker in block.breakers
        if breaker.eni
    ]
    kept = [breaker.address for breaker in block.breakers if not breaker.eni]
    if kept:
        listed.append(f"{len(kept)} of EC2's own")
    more = len(listed) - _EACH
    return "; ".join(listed[:_EACH]) + (f"; and {more} more" if more > 0 else "")
