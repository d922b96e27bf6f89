"""How the screen looks: styles of what a text means, the layout, the keys and the page about them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.text import Text

from .spans import GLYPHS, Kind, Line

STYLES: Final[dict[Kind, str]] = {
    "plain": "",
    "strong": "bold",
    "faint": "bright_black",
    "free": "green",
    "assigned": "bright_blue",
    "cooling": "yellow",
    "reserved": "magenta",
    "open": "bright_black",
    "cursor": "bold cyan",
    "alarm": "bold red",
}
CSS: Final = """
Screen { layout: vertical; background: transparent; }
#head { height: 2; }
#slider { height: 2; margin-bottom: 1; }
#body { height: 1fr; layout: horizontal; }
#side { layout: vertical; width: 1fr; }
.panel { border: round ansi_bright_black; border-title-style: bold; padding: 0 1; height: 1fr; width: 1fr;
         scrollbar-size-vertical: 1; scrollbar-gutter: stable; scrollbar-color: ansi_bright_black;
         scrollbar-background: transparent; background: transparent; }
.panel:focus { border: round ansi_cyan; }
#legend { height: 1; }
#status { height: 1; }
#prompt { height: 1; border: none; padding: 0; background: transparent; }
Screen.low #slider { margin-bottom: 0; }
Screen.narrow #body { layout: vertical; }
Screen.narrow #side { layout: horizontal; width: 1fr; height: 1fr; }
Help { align: center middle; background: transparent; }
Help Static { width: 76; height: auto; border: round ansi_cyan; padding: 0 2; background: ansi_default; }
"""
KEYS: Final = (
    ("←→", "record"), ("PgUp PgDn", "minute"), ("r R", "refusal"), ("/", "search"), ("n N", "again"), ("g", "go to"),
    ("v", "pods"), ("f", "follow"), ("?", "help"), ("q", "quit"),
)  # fmt: skip
NARROW: Final = 100
"""Columns below which the panels stand above one another."""
LOW: Final = 30
"""Rows below which nothing is left blank."""
HELP: Final = f"""\
←  →   h  l   a record back, on            [  ]   ten
PgUp PgDn     a minute back, on            Home End   the ends
r  R          the next refusal, the one before
/  \\          search on, back;  n  N  once more
                a pod: web-0, default/web-0, web-*
                an address, a prefix, an ENI, or a type: AssignRefused
g             go to a record, a time or an age: 81, 10m
v             cells, or the list of pods
f             follow a live journal; End does too, going back ends it
Tab           a controller's next node
↑  ↓          scroll the pool            mouse   click the slider
?  Esc        this page, and away          q   quit

{GLYPHS["assigned"]} assigned to a pod      {GLYPHS["cooling"]} cooling: released, serves nobody yet
{GLYPHS["free"]} free                   {GLYPHS["reserved"]} reserved: the ENI's own, excluded, or going
{GLYPHS["open"]} slot without address   ! refusal   ▸ what the record is about
"""


def rich_text(lines: Iterable[Line]) -> Text:
    """The lines as rich draws them."""
    made = Text(no_wrap=True, overflow="crop", end="")
    for number, spans in enumerate(lines):
        if number:
            made.append("\n")
        for span in spans:
            style = STYLES[span.kind]
            made.append(span.text, f"{style} reverse".strip() if span.touched else style or None)
    return made


def keys(width: int) -> Text:
    """The line of keys, as many as there is room for; the last two always."""
    room = width - sum(len(key) + len(what) + 3 for key, what in KEYS[-2:])
    chosen = []
    for key, what in KEYS[:-2]:
        room -= len(key) + len(what) + 3
        if room < 0:
            break
        chosen.append((key, what))
    made = Text(no_wrap=True, overflow="crop", end="")
    for key, what in (*chosen, *KEYS[-2:]):
        made.append(f" {key}", "bold cyan").append(f" {what} ")
    return made
