"""The pool as rows of cells: an address is a sign, an ENI or a prefix a row.

    dev 1  eni-0e5c  3 pods  4/9 slots
        10.0.0.14          ◆■■▒□·····           the ENI's own address, its addresses, slots that nobody asked for
    ▸   10.0.0.16/28       ■■■■■■■□□□□□□□□□     the record at the cursor is about this one
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from ipamd.core.events import Record
from ipamd.core.types import ip4, ip4_text
from ipamd.core.views import BlockView, EniView

from .fleet import GroupView, NodeView
from .moment import Moment
from .spans import GLYPHS, Kind, Line, Span, cut

_WIDE_MAX: Final = 64
"""Cells of an IPv6 prefix at most: it has 2^48 addresses, of which those in use are shown."""
_LABEL: Final = 19
_KINDS: Final[tuple[Kind, ...]] = ("assigned", "cooling", "free", "reserved", "open")
_NAMES: Final[dict[Kind, str]] = {"open": "open slot"}


class Cell(NamedTuple):
    """One address, or a slot without one (`address` is then empty)."""

    address: str
    kind: Kind


class Row(NamedTuple):
    """Cells with a label before them."""

    label: str
    cells: tuple[Cell, ...]
    note: str = ""


class Group(NamedTuple):
    """An ENI, or a group of a Windows node's pool: a heading and its rows."""

    name: str
    heading: str
    rows: tuple[Row, ...]


def groups(moment: Moment, node: int = 0) -> list[Group]:
    """The whole pool; of a controller, that of its node number `node`."""
    if moment.nodes:
        return list(_of_windows(moment.nodes[min(node, len(moment.nodes) - 1)]))
    held = {pod.address for pod in moment.pods}
    resting = {row.address for row in moment.cooling}
    return [_of_eni(moment, eni, held, resting) for eni in moment.pool.enis]


def legend(pool: Sequence[Group]) -> Line:
    """Each kind of cell with its sign and how many there are."""
    counts = dict.fromkeys(_KINDS, 0)
    for group in pool:
        for row in group.rows:
            for cell in row.cells:
                counts[cell.kind] += 1
    spans: list[Span] = []
    for kind in _KINDS:
        spans += [Span(f" {GLYPHS[kind]}", kind), Span(f" {_NAMES.get(kind, kind)} {counts[kind]}  ")]
    return tuple(spans)


def lines(pool: Sequence[Group], touched: frozenset[str], width: int) -> list[Line]:
    """The rows as they stand on a screen so wide. `touched`: addresses, CIDRs and ENIs that a record is about."""
    made: list[Line] = []
    wide = all(2 * len(row.cells) <= _room(row, width) for group in pool for row in group.rows)
    for group in pool:
        marked = group.name in touched
        made.append((Span("▸ " if marked else "  ", "cursor"), Span(cut(group.heading, width - 2), "strong", marked)))
        made += _rows(group.rows, touched, width, 2 if wide else 1)
    return made


def touched(record: Record | None) -> frozenset[str]:
    """Addresses, CIDRs and ENIs that the events of a record name."""
    if record is None:
        return frozenset()
    found: set[str] = set()
    for event in record.events:
        for name in ("address", "cidr", "eni"):
            value = getattr(event, name, None)
            if isinstance(value, str):
                found |= {value, value.partition("/")[0]} if name == "address" else {value}
        if hasattr(event, "address"):
            found.discard(getattr(event, "eni", ""))  # where it lies, not what it is about
        for held in getattr(event, "held", ()):
            if isinstance(held, msgspec.Struct):
                found.add(str(getattr(held, "group", "")))
    return frozenset(found)


# ---- Linux -----------------------------------------------------------------------------------------------------


def _of_eni(moment: Moment, eni: EniView, held: set[str], resting: set[str]) -> Group:
    singles = [cell for block in eni.blocks if not block.prefix for cell in _cells(moment, eni, block, held, resting)]
    prefixes = [block for block in eni.blocks if block.prefix]
    slots = max(moment.node.ips_per_eni - 1, len(eni.blocks))
    open_ = () if moment.settings.ipv6 else (Cell("", "open"),) * (slots - len(eni.blocks))
    own = Row(eni.primary_ip, (Cell(eni.primary_ip, "reserved"), *singles, *open_))
    rows = tuple(
        Row(block.cidr, tuple(_cells(moment, eni, block, held, resting)), _pods(block.pods)) for block in prefixes
    )
    words = [f"dev {eni.device}", eni.eni, *([f"card {eni.card}"] if eni.card else [])]
    words += ["primary"] if eni.primary else []
    words += ["excluded"] if eni.excluded else []
    words += [_pods(eni.pods), f"{len(eni.blocks)}/{slots} slots"]
    if eni.stays and eni.stays != "primary":
        words.append(f"stays: {eni.stays}")
    return Group(eni.eni, "  ".join(words), (own, *rows))


def _pods(count: int) -> str:
    return "1 pod" if count == 1 else f"{count} pods"


def _cells(moment: Moment, eni: EniView, block: BlockView, held: set[str], resting: set[str]) -> Iterator[Cell]:
    """An address that serves nobody and may serve nobody, for its ENI or its kind, is reserved."""
    serves = not eni.excluded and block.prefix == moment.settings.prefix_delegation
    for address in _addresses(block, held | resting):
        if address in held:
            yield Cell(address, "assigned")
        elif address in resting:
            yield Cell(address, "cooling")
        else:
            yield Cell(address, "free" if serves or block.size > 256 else "reserved")


def _addresses(block: BlockView, busy: set[str]) -> list[str]:
    base, _, length = block.cidr.partition("/")
    if ":" not in base:
        first = ip4(base)
        return [ip4_text(first + offset) for offset in range(1 << 32 - int(length))]
    network = ipaddress.IPv6Network(block.cidr)
    found = sorted((a for a in map(ipaddress.ip_address, busy) if a.version == 6 and a in network), key=int)
    return [str(address) for address in found[:_WIDE_MAX]] or [base]


# ---- Windows ---------------------------------------------------------------------------------------------------


def _of_windows(node: NodeView) -> Iterator[Group]:
    by_eni: dict[str, list[GroupView]] = {}
    for group in node.groups:
        by_eni.setdefault(group.eni, []).append(group)
    for eni, held in by_eni.items():
        single = tuple(Cell(*cell) for group in held if len(group.cells) == 1 for cell in group.cells)
        rows = [Row("", single)] if single else []
        for group in held:
            if len(group.cells) > 1:
                cells = tuple(Cell(*cell) for cell in group.cells)
                rows.append(Row(group.group, cells, _pods(sum(cell.kind == "assigned" for cell in cells))))
        yield Group(eni, f"{eni or 'no interface'}  {len(held)} groups", tuple(rows))


# ---- rows on a screen ------------------------------------------------------------------------------------------


def _room(row: Row, width: int) -> int:
    """Columns for the cells of a row."""
    return max(width - 4 - (_LABEL if row.label else 0), 8)


def _rows(rows: Sequence[Row], names: frozenset[str], width: int, pitch: int) -> Iterator[Line]:
    """`pitch`: columns from cell to cell."""
    for row in rows:
        label = f"{cut(row.label, _LABEL - 1):{_LABEL}}" if row.label else ""
        room = _room(row, width) // pitch
        for begin in range(0, len(row.cells), room):
            part = row.cells[begin : begin + room]
            marked = row.label in names or any(cell.address in names for cell in part)
            head = Span("▸ " if marked else "  ", "cursor")
            margin = Span("  " + (label if begin == 0 else " " * len(label)))
            spans = [head, margin, *_signs(part, names, pitch)]
            note = f"{' ' * (3 - pitch)}{row.note}"
            if row.note and pitch * len(part) + len(note) <= _room(row, width):
                spans.append(Span(note, "faint"))
            yield tuple(spans)


def _signs(cells: Sequence[Cell], names: frozenset[str], pitch: int) -> Iterator[Span]:
    """Signs of one kind stand in one span."""
    run = ""
    before: tuple[Kind, bool] | None = None
    for cell in cells:
        now = (cell.kind, cell.address in names)
        if before is not None and now != before:
            yield Span(run, *before)
            run = ""
        run += GLYPHS[cell.kind].ljust(pitch)
        before = now
    if before is not None:
        yield Span(run, *before)
