"""A drawing as SVG: text that any browser shows, with a tooltip for each block. No library is needed."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from .heatmap import PAPER, Drawing, Square, Text, ink_on

_FONT = "font-family='ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace'"


def svg(drawing: Drawing) -> bytes:
    """The whole file. What is not allowed in XML is replaced, everything else in texts is escaped."""
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{drawing.width}' height='{drawing.height}' "
        f"viewBox='0 0 {drawing.width} {drawing.height}' {_FONT} role='img'>"
    )
    lines = [head, f"<title>{text(drawing.title)}</title>", f"<rect width='100%' height='100%' fill='{PAPER}'/>"]
    for part in drawing.parts:
        lines.extend(_text(part) if isinstance(part, Text) else _square(part))
    return "\n".join([*lines, "</svg>", ""]).encode()


def text(raw: str) -> str:
    """Character data: `&`, `<`, `>` escaped, control and other unprintable characters as a replacement mark."""
    return escape("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in raw))


def _square(square: Square) -> Iterator[str]:
    yield "<g>" if square.about else "<g aria-hidden='true'>"
    if square.about:
        yield f"<title>{text(square.about)}</title>"
    yield (
        f"<rect x='{square.x}' y='{square.y}' width='{square.size}' height='{square.size}' rx='2' "
        f"fill='{square.colour}'/>"
    )
    middle = square.size // 2
    if square.sign:
        yield (
            f"<text x='{square.x + middle}' y='{square.y + middle}' font-size='11' text-anchor='middle' "
            f"dominant-baseline='central' fill='{ink_on(square.colour)}'>{text(square.sign)}</text>"
        )
    yield "</g>"


def _text(part: Text) -> Iterator[str]:
    anchor = "end" if part.right else "start"
    yield (
        f"<text x='{part.x}' y='{part.y}' font-size='{part.size}' text-anchor='{anchor}' "
        f"dominant-baseline='central' fill='{part.colour}'>{text(part.text)}</text>"
    )
