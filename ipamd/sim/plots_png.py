"""A plot as PNG, by Pillow with the font that comes with it."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from .plots import PAPER, Picture, Stroke

SCALE: Final = 2
"""Pixels of the file for one of the picture."""


def png(drawn: Picture) -> bytes:
    """The whole file; the same bytes for the same picture and Pillow."""
    image = Image.new("RGB", (drawn.width * SCALE, drawn.height * SCALE), PAPER)
    pen = ImageDraw.Draw(image)
    for part in drawn.parts:
        if isinstance(part, Stroke):
            points = [(x * SCALE, y * SCALE) for x, y in part.points]
            pen.line(points, part.colour, part.width * SCALE)
        else:
            shown = "".join(char if char.isprintable() else "?" for char in part.text)
            where = (part.x * SCALE, part.y * SCALE)
            pen.text(where, shown, part.colour, _font(part.size), anchor="rm" if part.right else "lm")
    made = BytesIO()
    image.save(made, "PNG")
    return made.getvalue()


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * SCALE)
