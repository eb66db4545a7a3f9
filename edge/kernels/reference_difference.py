"""How a picture differs from a defect-free one of the same place, with room for ragged edges and small shifts.

The golden picture is first laid upon the picture: it is shifted as a whole, then each tile of it by a little more, as
boards stretch and line cameras wobble. Then a pixel counts as different by so many grey levels as it lies outside the
range of the other picture's neighbourhood, both ways: where a thin line is missing, the golden picture has background
nearby, and the line alone finds no line. Works on grey, colour and two-tone pictures alike.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32, U8

Mask = NDArray[np.bool_]

# tiles are this wide and overlap by half; larger pictures are registered on a copy reduced to REGISTERED_PX
TILE_PX, REGISTERED_PX = 80, 512
# how far tiles may lie off beyond the shift of the whole, which is an even number
LOCAL_REACH_PX = 4
# mean grey levels for each pixel of that: tiles without structure stay where the whole is
_STAY = 0.05


def difference_levels(picture: U8, golden: U8, tolerance_px: int, sigma_px: float, reach_px: int) -> F32:
    """Grey levels (h, w) by which two pictures (h, w) or (h, w, 3) of one size differ, smoothed; 0 where not known.

    tolerance_px: edges may lie so far apart. sigma_px: of the Gaussian smoothing. reach_px: how far the picture may be
    shifted as a whole. Nothing is known within the tolerance of the border, and beyond the golden picture.
    """
    kernel = _square(tolerance_px)
    if picture.ndim == 3 and _colourless(picture) and _colourless(golden):
        picture, golden = (np.ascontiguousarray(each[..., 0]) for each in (picture, golden))
    laid, known = laid_upon(golden, picture, reach_px)
    known = cv2.erode(known.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    levels = np.where(known, tolerant_difference(picture, laid, tolerance_px), 0).astype(np.float32)
    if sigma_px > 0:
        levels = cv2.GaussianBlur(levels, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)
    return np.asarray(levels, np.float32)


def tolerant_difference(picture: U8, golden: U8, tolerance_px: int) -> U8:
    """(h, w): by how much a pixel of one leaves the range that the other has around it; the worse way and channel."""
    kernel = _square(tolerance_px)
    difference = np.maximum(_beyond(picture, golden, kernel), _beyond(golden, picture, kernel))
    return np.asarray(difference if difference.ndim == 2 else difference.max(2), np.uint8)


def laid_upon(golden: U8, picture: U8, reach_px: int) -> tuple[U8, Mask]:
    """The golden picture as it would lie in the picture's place, and where it is known."""
    rows, columns = picture.shape[:2]
    scale = max(1.0, max(rows, columns) / REGISTERED_PX)
    seen, model = _reduced(picture, scale), _reduced(golden, scale)
    step = _steps(model, seen, max(1, round(reach_px / scale))) * np.float32(scale)
    # every pixel from the middles of tiles, straight between them
    at_row, at_column = (
        np.interp(np.arange(length) + 0.5, (np.arange(tiles) + 1) * length / (tiles + 1), np.arange(tiles))
        for length, tiles in zip((rows, columns), step.shape[:2], strict=True)
    )
    tile_x, tile_y = np.meshgrid(np.float32(at_column), np.float32(at_row))
    shift = cv2.remap(step, tile_x, tile_y, cv2.INTER_LINEAR)
    from_x = shift[..., 0] + np.arange(columns, dtype=np.float32)
    from_y = shift[..., 1] + np.arange(rows, dtype=np.float32)[:, None]
    laid = cv2.remap(golden, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    known = (from_x >= 0) & (from_x <= columns - 1) & (from_y >= 0) & (from_y <= rows - 1)
    return np.asarray(laid, np.uint8), known


def _steps(golden: U8, picture: U8, reach: int) -> F32:
    """(tiles down, tiles across, 2): from a place in the picture to the same place in the golden one, (x, y) in px."""
    whole_x, whole_y = _shift_of_all(picture, golden, reach)
    rows, columns = picture.shape
    margin = LOCAL_REACH_PX + max(abs(whole_x), abs(whole_y))
    # beyond its border the golden picture goes on as it ends
    wide = cv2.copyMakeBorder(golden, *(margin,) * 4, cv2.BORDER_REPLICATE)
    # cells of half a tile
    down, across = (max(2, round(2 * length / TILE_PX)) for length in (rows, columns))
    least = np.full((down - 1, across - 1), np.inf, np.float32)
    step = np.zeros((down - 1, across - 1, 2), np.float32)
    offsets = range(-LOCAL_REACH_PX, LOCAL_REACH_PX + 1)
    difference = np.empty_like(picture)
    for y, x in itertools.product(offsets, offsets):
        top, left = margin + whole_y + y, margin + whole_x + x
        cv2.absdiff(picture, wide[top : top + rows, left : left + columns], difference)
        # whole levels: cells of a quarter of a tile, whose rounding the mean of sixteen takes off again
        fine = cv2.resize(difference, (2 * across, 2 * down), interpolation=cv2.INTER_AREA).astype(np.float32)
        cells = fine.reshape(down, 2, across, 2).mean((1, 3))
        tiles = (cells[1:, 1:] + cells[1:, :-1] + cells[:-1, 1:] + cells[:-1, :-1]) / 4
        tiles += _STAY * (abs(x) + abs(y))
        better = tiles < least
        least[better], step[better] = tiles[better], (whole_x + x, whole_y + y)
    return step


def _reduced(picture: U8, scale: float) -> U8:
    grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    if scale == 1:
        return np.asarray(grey, np.uint8)
    size = max(1, round(grey.shape[1] / scale)), max(1, round(grey.shape[0] / scale))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _shift_of_all(picture: U8, golden: U8, reach: int) -> tuple[int, int]:
    """The step (x, y) that makes the middle of both most alike, found at half the size."""
    half, model = _reduced(picture, 2), _reduced(golden, 2)
    reach = min(-(-reach // 2), min(half.shape) // 4)
    middle = half[reach : half.shape[0] - reach, reach : half.shape[1] - reach]
    unlike = cv2.matchTemplate(model, np.ascontiguousarray(middle), cv2.TM_SQDIFF)
    x, y = cv2.minMaxLoc(unlike)[2]
    return 2 * (x - reach), 2 * (y - reach)


def _beyond(values: U8, others: U8, kernel: U8) -> U8:
    low, high = cv2.erode(others, kernel), cv2.dilate(others, kernel)
    return np.asarray(np.maximum(cv2.subtract(values, high), cv2.subtract(low, values)), np.uint8)


def _colourless(picture: U8) -> bool:
    return bool((picture[..., 0] == picture[..., 1]).all() and (picture[..., 1] == picture[..., 2]).all())


def _square(reach_px: int) -> U8:
    return np.ones((2 * reach_px + 1, 2 * reach_px + 1), np.uint8)
