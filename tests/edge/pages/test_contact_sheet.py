"""The one way to lay out contact sheets."""

import numpy as np
import pytest

from edge.pages.contact_sheet import GAP_PX, INK, TITLE_PX, Cell, contact_sheet
from edge.pages.pictures import boxed, scaled


def grey(height, width, level=90):
    return np.full((height, width, 3), level, np.uint8)


def ink_columns(sheet, rows):
    """Where anything but white is, in these rows of the sheet."""
    return np.flatnonzero((sheet[rows] < 250).any((0, 2)))


def test_pictures_stand_in_a_grid_with_their_own_pixels():
    cells = [Cell(np.random.default_rng(n).integers(0, 256, (20, 30 + n, 3), np.uint8), str(n)) for n in range(5)]
    sheet = contact_sheet(cells, 2)
    # the widest of each column, the highest of each row
    assert sheet.shape == (3 * (20 + TITLE_PX + GAP_PX) + GAP_PX, 34 + 33 + 3 * GAP_PX, 3)
    last = sheet[-20 - GAP_PX : -GAP_PX]
    assert (last[:, GAP_PX : GAP_PX + 34] == cells[4].picture).all()
    assert (last[:, 2 * GAP_PX + 34 :] == 255).all()


@pytest.mark.parametrize(
    "words",
    ["W" * 400, "many words " * 40, "Teil-äöü-部品-" * 20, "short"],
    ids=["no spaces", "words", "scripts", "short"],
)
def test_words_stay_below_their_picture(words):
    cells = [Cell(grey(40, 90), words, ((words, INK),)), Cell(grey(40, 90), "")]
    sheet = contact_sheet(cells, 2)
    below = slice(GAP_PX + TITLE_PX + 40, None)
    above = slice(0, GAP_PX + TITLE_PX)
    for rows in (below, above):
        written = ink_columns(sheet, rows)
        assert len(written)
        assert written.min() >= GAP_PX - 1
        assert written.max() <= GAP_PX + 90


def test_words_after_five_lines_are_cut_and_a_longer_text_makes_its_row_higher():
    one, five, many = (
        contact_sheet([Cell(grey(9, 90), "", ((text, INK),))], 1) for text in ("a", "a " * 90, "a " * 999)
    )
    assert one.shape[0] < five.shape[0] == many.shape[0]


def test_words_alone_have_the_room_they_ask_for():
    sheet = contact_sheet([Cell(grey(40, 40), "a"), Cell(None, "b", (("c", INK),), width_px=200)], 2)
    assert sheet.shape[1] == 40 + 200 + 3 * GAP_PX


def test_a_sheet_of_nothing_can_be_drawn():
    assert contact_sheet([], 3).size


@pytest.mark.parametrize(("height", "width"), [(1, 1), (10, 300), (300, 10), (64, 48)])
def test_a_picture_of_any_shape_fits_into_its_box_whole(height, width):
    shown = scaled(grey(height, width), 60, 80)
    assert shown.shape[0] == 60 or shown.shape[1] == 80
    box = boxed(grey(height, width), 60, 80)
    assert box.shape == (60, 80, 3)
    assert (box == 90).all(2).sum() == shown.shape[0] * shown.shape[1]
