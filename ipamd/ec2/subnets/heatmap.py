"""The map of a subnet: one cell a /28, in rows from the bottom; its signs, its colours, and where all of it goes.

A cell has a sign, so that the map can be read without colours: in plain text, in print, and by who does not tell
colours apart. `drawing` says once what a picture is made of; `svg` and `png` only put that into their format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Final

import msgspec

from ipamd.core.types import ip4_text

from .occupation import BLOCK, BlockState, Occupation

Colour = str
"""`#rrggbb`."""

SIGNS: Final = {
    BlockState.FREE: ".",
    BlockState.RESERVED: "r",
    BlockState.EXPLICIT: "x",
    BlockState.PREFIX: "P",
    BlockState.FULL: "#",
}
"""A broken block shows how many of its addresses are taken: 1 to f, in hexadecimal."""
_COLOURS: Final = {
    BlockState.FREE: "#c7e5c4",
    BlockState.RESERVED: "#b3d3f2",
    BlockState.EXPLICIT: "#dccbe8",
    BlockState.PREFIX: "#2f6fb4",
    BlockState.FULL: "#5c0f1e",
}
_HEAT: Final = ("#fdf0b5", "#fcd27a", "#f8a94f", "#ee7a3b", "#d54a33", "#a92335")
"""Of a broken block, from one address to fifteen."""
INK, PAPER, DIM = "#1d1d1f", "#ffffff", "#6b6b70"
LEGEND: Final = (
    (".", _COLOURS[BlockState.FREE], "free"),
    ("r", _COLOURS[BlockState.RESERVED], "free, reserved for prefixes"),
    ("x", _COLOURS[BlockState.EXPLICIT], "free, explicit reservation"),
    ("P", _COLOURS[BlockState.PREFIX], "prefix"),
    ("1", _HEAT[0], "broken: 1 taken"),
    ("8", _HEAT[2], "broken: 8 taken"),
    ("f", _HEAT[5], "broken: 15 taken"),
    ("#", _COLOURS[BlockState.FULL], "16 single addresses"),
)
NARROW_ROW, WIDE_ROW = 16, 64
"""Blocks of a row: a /24, up to a /22 where there are many."""


class Cell(msgspec.Struct, frozen=True):
    """One block of the map."""

    sign: str
    colour: Colour
    about: str
    """`10.0.0.16/28: broken, 3 of 16 taken`."""


class Row(msgspec.Struct, frozen=True):
    """One row of the map, named by its first address."""

    label: str
    cells: tuple[Cell, ...]

    @property
    def text(self) -> str:
        return "".join(cell.sign for cell in self.cells)


def rows(occupation: Occupation) -> tuple[Row, ...]:
    """The whole map from the bottom of the subnet."""
    blocks = occupation.size // BLOCK
    width = NARROW_ROW
    while width < WIDE_ROW and width * width < blocks:
        width *= 2
    return tuple(
        Row(
            ip4_text(occupation.base + first * BLOCK),
            tuple(cell(occupation, block) for block in range(first, min(first + width, blocks))),
        )
        for first in range(0, blocks, width)
    )


def cell(occupation: Occupation, block: int) -> Cell:
    """One block's sign, colour and description."""
    state, taken = occupation.states[block], occupation.occupied(block)
    sign = SIGNS.get(state) or (f"{taken:x}" if taken else "/")
    colour = _COLOURS.get(state) or _HEAT[max(taken - 1, 0) * len(_HEAT) // (BLOCK - 1)]
    return Cell(sign, colour, f"{occupation.block_cidr(block)}: {state}, {taken} of {BLOCK} taken")


def ink_on(colour: Colour) -> Colour:
    """Black or white, whichever can be read on the colour."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return INK if 299 * red + 587 * green + 114 * blue > 140_000 else PAPER


# ---- the picture ---------------------------------------------------------------------------------------------


class Square(msgspec.Struct, frozen=True):
    """A filled square in pixels, with a sign in its middle and a text for who points at it."""

    x: int
    y: int
    size: int
    colour: Colour
    sign: str = ""
    about: str = ""


class Text(msgspec.Struct, frozen=True):
    """A line of text; (x, y) is its left end on the middle of its height."""

    x: int
    y: int
    text: str
    size: int
    colour: Colour = INK
    right: bool = False
    """x is the right end instead."""


class Drawing(msgspec.Struct, frozen=True):
    """A picture of `width` by `height` pixels on white."""

    width: int
    height: int
    title: str
    parts: tuple[Square | Text, ...]


_CELL, _GAP, _MARGIN, _LABEL = 20, 2, 24, 120
_LINE, _LINES_MAX = 20, 3
_LEGEND_LINE = 24
_LEGEND_WIDTH = 250
_LEAST_WIDTH = 2 * _MARGIN + 2 * _LEGEND_WIDTH


def drawing(title: str, lines: Sequence[str], shown: tuple[Row, ...]) -> Drawing:
    """The map under a title and some lines of text, with its legend below. Very long texts are cut."""
    pitch = _CELL + _GAP
    across = max(len(row.cells) for row in shown)
    width = max(2 * _MARGIN + _LABEL + across * pitch, _LEAST_WIDTH)
    parts: list[Square | Text] = [Text(_MARGIN, _MARGIN, _folded(title, width, 11, 1)[0], 17)]
    top = _MARGIN + 2 * _LINE
    for line in (piece for text in lines for piece in _folded(text, width, 8, _LINES_MAX)):
        parts.append(Text(_MARGIN, top - _LINE // 2, line, 13, DIM))
        top += _LINE
    for number, row in enumerate(shown):
        y = top + number * pitch
        parts.append(Text(_MARGIN + _LABEL - 12, y + _CELL // 2, row.label, 12, DIM, right=True))
        parts.extend(
            Square(_MARGIN + _LABEL + column * pitch, y, _CELL, one.colour, one.sign, one.about)
            for column, one in enumerate(row.cells)
        )
    below = top + len(shown) * pitch + _MARGIN
    columns = (width - 2 * _MARGIN) // _LEGEND_WIDTH
    parts.extend(_legend(below, columns))
    height = -(-len(LEGEND) // columns) * _LEGEND_LINE
    return Drawing(width, below + height + _MARGIN, title, tuple(parts))


def _legend(y: int, columns: int) -> Iterator[Square | Text]:
    for number, (sign, colour, meaning) in enumerate(LEGEND):
        line, column = divmod(number, columns)
        x, here = _MARGIN + column * _LEGEND_WIDTH, y + line * _LEGEND_LINE
        yield Square(x, here, _CELL - 4, colour, sign, "")
        yield Text(x + _CELL + 4, here + (_CELL - 4) // 2, meaning, 12)


def _folded(text: str, width: int, each: int, most: int) -> list[str]:
    """The text in lines that fit the width with `each` pixels a character, at most so many."""
    room = (width - 2 * _MARGIN) // each
    return wrap(text, room, max_lines=most, placeholder=" ...") or [""]
