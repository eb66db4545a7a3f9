"""Where a reference lies best in a grey picture: its shift and its turn, by correlation."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32, U8

# from places in the reference to places in a picture, (2, 3)
Transform = NDArray[np.floating[Any]]


def best_turn(
    searched: F32, reference: F32, half: F32, most_deg: float, steps_deg: tuple[float, float]
) -> tuple[Transform, float]:
    """The turn and shift with the best correlation, and that correlation, 1 at best.

    searched: a picture with a margin around the reference's own place. half: the reference at half its size, for the
    first look. steps_deg: between the turns tried first, and between those tried then.
    """
    coarse_deg, fine_deg = steps_deg
    turns = np.arange(-math.floor(most_deg / coarse_deg), math.floor(most_deg / coarse_deg) + 1) * coarse_deg
    small = halved(searched)
    coarse = float(max(turns, key=lambda turn: _matched(small, half, turn)[0]))
    near = [coarse - fine_deg, coarse, coarse + fine_deg] if most_deg > 0 else [0.0]
    matches = [_matched(searched, reference, turn) for turn in near]
    turn = near[0] if len(near) == 1 else coarse + fine_deg * _vertex(*(match for match, _ in matches))
    turn = min(max(turn, -most_deg), most_deg)
    match, shift = _matched(searched, reference, turn)
    return transform(turn, 1.0, shift, reference.shape), match


def halved(picture: F32) -> F32:
    size = max(1, picture.shape[1] // 2), max(1, picture.shape[0] // 2)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32)


def warped(
    picture: U8 | F32, matrix: NDArray[Any], shape: tuple[int, ...], how: int = cv2.INTER_LINEAR
) -> NDArray[Any]:
    """A picture of this shape, each place taken from where `matrix` (2, 3) says; beyond the border, the border."""
    flags = how | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, matrix, shape[1::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE))


def middle_of(shape: tuple[int, ...]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])


def transform(turn_deg: float, scale: float, shift: tuple[float, float], shape: tuple[int, ...]) -> F32:
    """Turned clockwise about the middle, scaled, then shifted."""
    radians, middle = math.radians(turn_deg), middle_of(shape)
    linear = scale * np.array([[math.cos(radians), -math.sin(radians)], [math.sin(radians), math.cos(radians)]])
    offset = middle + shift - linear @ middle
    return np.asarray(np.concatenate([linear, offset[:, None]], axis=1), np.float32)


def _matched(searched: F32, reference: F32, turn_deg: float) -> tuple[float, tuple[float, float]]:
    """The best correlation with the reference of the searched picture turned back, and the part's shift there."""
    turned = searched
    if turn_deg:
        back = transform(turn_deg, 1.0, (0.0, 0.0), searched.shape)
        turned = np.asarray(warped(searched, back, searched.shape), np.float32)
    response = cv2.matchTemplate(turned, reference, cv2.TM_CCOEFF_NORMED)
    _, best, _, (column, row) = cv2.minMaxLoc(response)
    across = column + _vertex_at(response[row], column) - (response.shape[1] - 1) / 2
    down = row + _vertex_at(response[:, column], row) - (response.shape[0] - 1) / 2
    # found in the picture turned back: the same step, turned
    radians = math.radians(turn_deg)
    shift = (
        math.cos(radians) * across - math.sin(radians) * down,
        math.sin(radians) * across + math.cos(radians) * down,
    )
    return best, shift


def _vertex_at(values: F32, place: int) -> float:
    """Where between its neighbours the peak at this place lies, -0.5..0.5."""
    if not 0 < place < len(values) - 1:
        return 0.0
    return _vertex(*(float(value) for value in values[place - 1 : place + 2]))


def _vertex(before: float, at: float, after: float) -> float:
    curvature = before - 2 * at + after
    return min(max((before - after) / (2 * curvature), -0.5), 0.5) if curvature < 0 else 0.0
