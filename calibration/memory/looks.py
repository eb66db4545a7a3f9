"""Good parts as they might have lain and been lit: what a memory must know besides the pictures that were taken."""

from __future__ import annotations

import math

import cv2
import numpy as np

from calibration.memory.designs import Layout
from edge.core.datatypes import U8

# turn, shift and size, light: less than training varies parts by (training/data/augmentation.py), because a memory that
# has seen every good part moved by more takes a part that is moved for a good one
_TURN_DEGREES, _SHIFT, _GAIN = 0.8, 0.008, 0.02

# standard deviation of a sensor's noise in grey levels, at most: taught pictures may have less than later ones
_NOISE_LEVELS = 3.0


def varied(field: U8, layout: Layout, random: np.random.Generator) -> U8:
    """A field uint8 (h, w, 3) a little turned, moved, scaled, relit and noisy; edges are repeated outward.

    Where parts have no fixed layout it is mirrored too, in either axis, or not.
    """
    height, width = field.shape[:2]
    picture: U8 = field
    if layout == "free":
        rows, columns = random.integers(0, 2, 2) * -2 + 1
        picture = np.ascontiguousarray(field[::rows, ::columns])
    turn, zoom, across, down, gain = random.uniform(-1, 1, 5)
    centre = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, float(turn * _TURN_DEGREES), float(1 + zoom * _SHIFT))
    matrix[:, 2] += across * _SHIFT * width, down * _SHIFT * height
    moved = cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    lit = moved.astype(np.float32) * np.float32(1 + gain * _GAIN)
    lit += random.normal(0, random.uniform(0, _NOISE_LEVELS), lit.shape).astype(np.float32)
    noisy: U8 = np.clip(np.rint(lit), 0, 255).astype(np.uint8)
    return noisy


def copies_of(count: int, most_pictures: int, most_copies: int) -> int:
    """How many varied copies of each of `count` parts are looked at, so that all pictures together are not too many."""
    return max(0, min(most_copies, math.floor(most_pictures / max(1, count)) - 1))
