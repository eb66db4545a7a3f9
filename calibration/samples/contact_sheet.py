"""A contact sheet of pictures that were turned away, with the reasons, for a person who may know better."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from calibration.samples.screening import Rejected
from edge.core.datatypes import U8

_CELL_PX, _MARGIN_PX, _LINE_PX = 232, 8, 15
_ACROSS, _MOST = 5, 60
_LETTERS_A_LINE, _DETAIL_LINES = 36, 5
_INK, _PAPER, _RED, _GREEN = (40, 40, 40), (255, 255, 255), (30, 30, 190), (60, 130, 30)


def rejection_sheet(
    rejected: Sequence[Rejected], accepted: Sequence[str], picture_of: Callable[[str], U8 | None]
) -> U8:
    """Cells of a picture, its reason, its name and the numbers; those most in need of a look, suspicions, come first.

    accepted: samples to compare with, shown before them. picture_of: the picture of that name, uint8 (H, W, 3) BGR, or
    None when there is none. At most 60 rejected ones are shown.
    """
    ordered = sorted(rejected, key=lambda each: not each.reason.suspicion)[:_MOST]
    cells = [_cell(picture_of(name), "accepted", _GREEN, name, "to compare with") for name in accepted]
    cells += [_cell(picture_of(each.name), str(each.reason), _RED, each.name, each.detail) for each in ordered]
    blank = np.full_like(cells[0], 255)
    cells += [blank] * (-len(cells) % _ACROSS)
    rows = [np.concatenate(cells[start : start + _ACROSS], 1) for start in range(0, len(cells), _ACROSS)]
    return np.concatenate(rows)


def _cell(picture: U8 | None, title: str, colour: tuple[int, int, int], name: str, detail: str) -> U8:
    height = _CELL_PX * 3 // 4 + (2 + _DETAIL_LINES) * _LINE_PX
    cell = np.full((height + 2 * _MARGIN_PX, _CELL_PX + 2 * _MARGIN_PX, 3), _PAPER, np.uint8)
    shown = np.full((_CELL_PX * 3 // 4, _CELL_PX, 3), 225, np.uint8)
    if picture is not None:
        scale = min(shown.shape[0] / picture.shape[0], shown.shape[1] / picture.shape[1])
        side = (max(1, int(picture.shape[1] * scale)), max(1, int(picture.shape[0] * scale)))
        small = cv2.resize(picture, side, interpolation=cv2.INTER_AREA)
        top, left = (shown.shape[0] - side[1]) // 2, (shown.shape[1] - side[0]) // 2
        shown[top : top + side[1], left : left + side[0]] = small
    cell[_MARGIN_PX : _MARGIN_PX + shown.shape[0], _MARGIN_PX : _MARGIN_PX + _CELL_PX] = shown
    lines = textwrap.wrap(_plain(detail), _LETTERS_A_LINE)[:_DETAIL_LINES]
    texts = [(title, colour), (_plain(Path(name).name)[-_LETTERS_A_LINE:], _INK), *((line, _INK) for line in lines)]
    for number, (text, ink) in enumerate(texts):
        where = (_MARGIN_PX, _MARGIN_PX + shown.shape[0] + (number + 1) * _LINE_PX)
        cv2.putText(cell, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.37, ink, 1, cv2.LINE_AA)
    return cell


def _plain(text: str) -> str:
    """What OpenCV's letters can show."""
    return text.encode("ascii", "replace").decode()
