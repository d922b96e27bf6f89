"""A drawing as PNG, by Pillow with the font that comes with it: the one picture format that everything shows."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from .heatmap import PAPER, Drawing, Text, ink_on

SCALE: Final = 2
"""Pixels of the file for one of the drawing, for sharp text on today's screens."""


def png(drawing: Drawing) -> bytes:
    """The whole file; the same bytes for the same drawing and Pillow."""
    image = Image.new("RGB", (drawing.width * SCALE, drawing.height * SCALE), PAPER)
    pen = ImageDraw.Draw(image)
    for part in drawing.parts:
        if isinstance(part, Text):
            where = (part.x * SCALE, part.y * SCALE)
            pen.text(where, _shown(part.text), part.colour, _font(part.size), anchor="rm" if part.right else "lm")
            continue
        left, top, side = part.x * SCALE, part.y * SCALE, part.size * SCALE
        pen.rounded_rectangle((left, top, left + side - 1, top + side - 1), 2 * SCALE, part.colour)
        if part.sign:
            pen.text((left + side // 2, top + side // 2), part.sign, ink_on(part.colour), _font(11), anchor="mm")
    made = BytesIO()
    image.save(made, "PNG")
    return made.getvalue()


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * SCALE)


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
