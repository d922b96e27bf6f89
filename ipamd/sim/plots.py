"""Lines over time as a picture: what a baseline and a variant held, assigned and refused, one panel below the other.

`picture` says what is drawn where; `svg` needs nothing, `plots_png` puts the same into a PNG by Pillow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from xml.sax.saxutils import escape

import msgspec

from ipamd.core.types import SECOND, Instant

from .meter import Course, Point

WIDTH, PANEL, MARGIN, LEFT = 900, 170, 26, 64
INK, DIM, PAPER, GRID = "#1d1d1f", "#6b6b70", "#ffffff", "#e4e4e8"
COLOURS: Final = {"baseline": "#6b6b70", "variant": "#2f6fb4"}
_LEGEND_STEP: Final = 150


class Words(msgspec.Struct, frozen=True):
    """A text; (x, y) is the middle of its height at its left end, or at its right end."""

    x: int
    y: int
    text: str
    size: int
    colour: str
    right: bool = False


class Stroke(msgspec.Struct, frozen=True):
    """A line through points in pixels."""

    points: tuple[tuple[int, int], ...]
    colour: str
    width: int


class Picture(msgspec.Struct, frozen=True):
    """Parts on white, later ones above."""

    width: int
    height: int
    title: str
    parts: tuple[Words | Stroke, ...]


PANELS: Final[tuple[tuple[str, Callable[[Point], int]], ...]] = (
    ("addresses held", lambda point: point.held),
    ("addresses assigned", lambda point: point.assigned),
    ("held and not assigned", lambda point: max(point.held - point.assigned, 0)),
    ("refused tries, in all", lambda point: point.refused),
)


def picture(title: str, lines: Sequence[str], lives: dict[str, Course]) -> Picture:
    """Four panels under a title, a legend and some lines of text; all lives on one scale."""
    parts: list[Words | Stroke] = [Words(MARGIN, MARGIN, title[:100], 17, INK)]
    top = MARGIN + 28
    for line in lines:
        parts.append(Words(MARGIN, top, line[:120], 12, DIM))
        top += 18
    for number, name in enumerate(lives):
        x = MARGIN + number * _LEGEND_STEP
        parts.append(Stroke(((x, top), (x + 24, top)), COLOURS[name], 3))
        parts.append(Words(x + 32, top, name, 12, INK))
    top += 18
    for name, value in PANELS:
        parts.extend(_panel(name, top, {life: _steps(meter, value) for life, meter in lives.items()}, lives))
        top += PANEL + MARGIN
    return Picture(WIDTH, top, title, tuple(parts))


def _steps(meter: Course, value: Callable[[Point], int]) -> list[tuple[Instant, int]]:
    found = [(point.at, value(point)) for point in meter.points]
    return [*found, (meter.end, found[-1][1])] if found else []


def _panel(
    name: str, top: int, lines: dict[str, list[tuple[Instant, int]]], lives: dict[str, Course]
) -> list[Words | Stroke]:
    begin = min(meter.begin for meter in lives.values())
    span = max(max(meter.end for meter in lives.values()) - begin, 1)
    most = max((value for points in lines.values() for _, value in points), default=0)
    room, bottom, right = PANEL - 34, top + PANEL - 16, WIDTH - MARGIN
    parts: list[Words | Stroke] = [Words(LEFT, top + 4, name, 13, INK)]
    for share in (0, 1, 2):
        y = bottom - room * share // 2
        parts.append(Stroke(((LEFT, y), (right, y)), GRID, 1))
        parts.append(Words(LEFT - 8, y, f"{most * share / 2:g}", 11, DIM, right=True))
    parts.append(Words(LEFT, bottom + 12, "0 s", 11, DIM))
    parts.append(Words(right, bottom + 12, f"{span / SECOND:g} s", 11, DIM, right=True))
    for life, points in lines.items():
        drawn: list[tuple[int, int]] = []
        for at, value in points:
            x = LEFT + (right - LEFT) * (at - begin) // span
            y = bottom - (room * value // most if most else 0)
            if drawn:
                drawn.append((x, drawn[-1][1]))
            drawn.append((x, y))
        if len(drawn) > 1:
            parts.append(Stroke(tuple(drawn), COLOURS[life], 2))
    return parts


def svg(drawn: Picture) -> bytes:
    """The whole file; every text escaped."""
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{drawn.width}' height='{drawn.height}' "
        f"viewBox='0 0 {drawn.width} {drawn.height}' font-family='ui-monospace,Menlo,Consolas,monospace' role='img'>",
        f"<title>{_text(drawn.title)}</title>",
        f"<rect width='100%' height='100%' fill='{PAPER}'/>",
    ]
    for part in drawn.parts:
        if isinstance(part, Stroke):
            points = " ".join(f"{x},{y}" for x, y in part.points)
            lines.append(
                f"<polyline points='{points}' fill='none' stroke='{part.colour}' stroke-width='{part.width}'/>"
            )
        else:
            anchor = "end" if part.right else "start"
            lines.append(
                f"<text x='{part.x}' y='{part.y}' font-size='{part.size}' text-anchor='{anchor}' "
                f"dominant-baseline='central' fill='{part.colour}'>{_text(part.text)}</text>"
            )
    return "\n".join([*lines, "</svg>", ""]).encode()


def _text(raw: str) -> str:
    return escape("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in raw))
