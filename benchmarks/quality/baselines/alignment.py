"""Parts that lie a little beside each other are moved onto each other, where that helps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32, U8

Offset = tuple[float, float]
Pixel = TypeVar("Pixel", np.uint8, np.float32)

# a larger shift than this share of the side is a wrong match, not a part beside its place
_LARGEST_SHIFT = 0.1
# moving must take away this share of the spread to be worth it
_WORTH_IT = 0.05


@dataclass(frozen=True)
class Alignment:
    """How fields are moved onto the place where parts usually lie; anchor: its luma, None where nothing is moved."""

    anchor: F32 | None = None

    def aligned(self, field: U8) -> tuple[U8, Offset]:
        """The field moved by whole pixels (x, y), edges repeated, and by how much."""
        if self.anchor is None:
            return field, (0.0, 0.0)
        offset = _offset(self.anchor, _luma(field))
        return moved(field, offset), offset


def alignment_of(fields: U8) -> Alignment:
    """Whether moving good parts (n, s, s, 3) onto the most typical one lowers their spread; decided on them alone."""
    lumas = np.stack([_luma(field) for field in fields])
    # a part, not the mean of all: that is as blurred as the parts are misplaced
    distances = ((lumas - lumas.mean(0)) ** 2).mean((1, 2))
    anchored = Alignment(lumas[int(distances.argmin())])
    aligned = np.stack([anchored.aligned(field)[0] for field in fields])
    return anchored if _spread(aligned) < (1 - _WORTH_IT) * _spread(fields) else Alignment()


def moved(picture: NDArray[Pixel], offset: Offset) -> NDArray[Pixel]:
    """A picture (h, w) or (h, w, 3) moved by (x, y) pixels, edges repeated."""
    if offset == (0.0, 0.0):
        return picture
    matrix = np.array([[1, 0, offset[0]], [0, 1, offset[1]]], np.float64)
    height, width = picture.shape[:2]
    warped = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, picture.dtype)


def _offset(anchor: F32, luma: F32) -> Offset:
    """By how much to move; nothing where no match is found or it is too far away to be one."""
    window = cv2.createHanningWindow(anchor.shape[::-1], cv2.CV_32F)
    # phase correlation finds the place from afar but is drawn towards the window's middle; ECC is exact from nearby
    start, _ = cv2.phaseCorrelate(anchor, luma, window)
    matrix = np.array([[1, 0, start[0]], [0, 1, start[1]]], np.float32)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-3)
    try:
        cv2.findTransformECC(anchor, luma, matrix, cv2.MOTION_TRANSLATION, stop, None, 5)
    except cv2.error:
        # it does not converge where the pictures have nothing in common
        return 0.0, 0.0
    dx, dy = float(matrix[0, 2]), float(matrix[1, 2])
    if not max(abs(dx), abs(dy)) <= _LARGEST_SHIFT * anchor.shape[0]:
        return 0.0, 0.0
    # whole pixels: between them moving blurs, and blurred parts always differ less
    return float(-round(dx)), float(-round(dy))


def _luma(field: U8) -> F32:
    return np.asarray(cv2.cvtColor(field, cv2.COLOR_BGR2GRAY), np.float32)


def _spread(fields: U8) -> float:
    """Mean over places of the standard deviation of luma over parts."""
    return float(np.stack([_luma(field) for field in fields]).std(axis=0).mean())
