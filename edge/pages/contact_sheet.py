"""Contact sheets: pictures in a grid, each with a title above and words below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge.core.datatypes import U8

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

GAP_PX, TITLE_PX = 6, 25
_LETTER_PX, _LINE_PX = 13, 17
_MOST_LINES = 5
INK, QUIET, RED, GREEN = "#1d2327", "#5c666e", "#b3261e", "#1e6e34"


@dataclass(frozen=True)
class Cell:
    """picture: uint8 (h, w, 3) BGR, or None for words alone. words: (text, ink) each, below the picture.

    width_px: room for the words; 0: the width of the picture.
    """

    picture: U8 | None
    title: str
    words: Sequence[tuple[str, str]] = ()
    ink: str = INK
    width_px: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the picture; the width is at least the room for the words."""
        height, width = (0, 0) if self.picture is None else self.picture.shape[:2]
        return height, max(width, self.width_px)


def contact_sheet(cells: Sequence[Cell], columns: int) -> U8:
    """uint8 (H, W, 3) BGR: the cells row by row. A column is as wide as its widest cell, a row as high as its highest.

    A title ends where its column does. Other words go on in the next line, up to five lines for each text.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_LETTER_PX)
    assert isinstance(font, ImageFont.FreeTypeFont)
    widths = [max((cell.size[1] for cell in cells[column::columns] or cells), default=0) for column in range(columns)]
    words = [[(line, ink) for text, ink in cell.words for line in _lines(text, font, cell.size[1])] for cell in cells]
    heights = [cell.size[0] + _LINE_PX * len(lines) for cell, lines in zip(cells, words, strict=True)]
    rows = [max(heights[start : start + columns]) for start in range(0, len(cells), columns)]
    size = sum(widths) + GAP_PX * (columns + 1), sum(rows) + len(rows) * (TITLE_PX + GAP_PX) + GAP_PX
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for number, (cell, lines) in enumerate(zip(cells, words, strict=True)):
        row, column = divmod(number, columns)
        left = GAP_PX + sum(widths[:column]) + GAP_PX * column
        top = GAP_PX + sum(rows[:row]) + (TITLE_PX + GAP_PX) * row
        pen.text((left, top + 4), _lines(cell.title, font, widths[column], 1)[0], cell.ink, font)
        top += TITLE_PX
        if cell.picture is not None:
            sheet.paste(Image.fromarray(np.ascontiguousarray(cell.picture[..., ::-1])), (left, top))
        for place, (line, ink) in enumerate(lines):
            pen.text((left, top + cell.size[0] + 2 + place * _LINE_PX), line, ink, font)
    return np.ascontiguousarray(np.asarray(sheet)[..., ::-1])


def _lines(text: str, font: FreeTypeFont, width: int, most: int = _MOST_LINES) -> list[str]:
    """The text in lines of this width, cut with dots after `most` of them; names without spaces break anywhere."""
    # the font that comes with Pillow has ASCII only
    plain, lines = text.encode("ascii", "replace").decode(), [""]
    for letters in range(max(3, width // 4), 2, -1):
        lines = textwrap.wrap(plain, letters, max_lines=most, placeholder="...") or [""]
        if max(map(font.getlength, lines)) <= width:
            break
    return lines
