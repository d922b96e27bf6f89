"""Words of the screen: a line is spans, a span is a text and what it means. Colours are the widgets' matter."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from ..output import visible

Kind: TypeAlias = Literal[
    "plain", "strong", "faint", "free", "assigned", "cooling", "reserved", "open", "cursor", "alarm"
]


class Span(NamedTuple):
    """A piece of a line. `touched`: the record at the cursor is about it."""

    text: str
    kind: Kind = "plain"
    touched: bool = False


Line: TypeAlias = tuple[Span, ...]

GLYPHS: Final[dict[Kind, str]] = {"assigned": "■", "cooling": "▒", "free": "□", "reserved": "◆", "open": "·"}
"""One sign a cell, so that no colour is needed to read it."""


def line(text: str, kind: Kind = "plain") -> Line:
    """A line of one span, made visible: texts come from outside."""
    return (Span(visible(text), kind),)


def text_of(given: Line) -> str:
    """The line without what it means."""
    return "".join(span.text for span in given)


def facts(rows: Iterable[tuple[str, str, Kind]], width: int) -> list[Line]:
    """Names in one column and values, wrapped, in the other. `width` in columns."""
    listed = [(name, visible(value), kind) for name, value, kind in rows]
    indent = max((len(name) for name, _, _ in listed), default=0) + 2
    made: list[Line] = []
    for name, value, kind in listed:
        for number, part in enumerate(wrapped(value, max(width - indent, 16))):
            made.append((Span((name if number == 0 else "").ljust(indent), "faint"), Span(part, kind)))
    return made


def wrapped(text: str, width: int, indent: str = "") -> Sequence[str]:
    """The text in lines of at most `width`; a word that is too long is cut. At least one line."""
    return textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False) or [""]


def cut(text: str, width: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"
