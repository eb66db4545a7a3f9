"""Raw features of regions: what training/rules/features.py names, measured on a picture. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.core.datatypes import F32, U8
from training.labelling.regions import Candidate
from training.rules.features import FEATURES
from training.rules.membership import F64
from training.rules.rulebook import Mask

RING_PX = 5
_TEXTURE_SIDE = 5
# what `count` takes for the same kind of region
_SAME_GREY = 0.1
_SAME_SIZE = 4.0

_RING = np.ones((2 * RING_PX + 1, 2 * RING_PX + 1), np.uint8)

# name → raw value of every region, in the order of the regions
RawFeatures = dict[str, F64]


@dataclass(frozen=True)
class _Planes:
    """What is computed once for a picture: float32 (h, w), grey and saturation in 0..1, colour as a vector."""

    grey: F32
    saturation: F32
    colour_cos: F32
    colour_sin: F32
    gradient: F32
    texture: F32
    border: F32


def measure(picture: U8, candidates: Sequence[Candidate], roi: Mask | None = None) -> RawFeatures:
    """Raw features of every candidate of a picture, uint8 (h, w, 3) BGR; roi: where the part is inspected."""
    planes = _planes(picture, roi)
    rows = [_features(planes, candidate) for candidate in candidates]
    raw = {name: np.array([row[name] for row in rows], np.float64) for name in FEATURES if name != "count"}
    return raw | {"count": _counts(candidates, raw["grey"])}


def _planes(picture: U8, roi: Mask | None) -> _Planes:
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32) / 255
    hsv = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV).astype(np.float32)
    saturation = hsv[..., 1] / 255
    angle = hsv[..., 0] * (2 * np.pi / 180)
    across = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8, borderType=cv2.BORDER_REFLECT)
    down = cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8, borderType=cv2.BORDER_REFLECT)
    side = (_TEXTURE_SIDE, _TEXTURE_SIDE)
    mean = cv2.boxFilter(grey, -1, side, borderType=cv2.BORDER_REFLECT)
    square = cv2.sqrBoxFilter(grey, -1, side, borderType=cv2.BORDER_REFLECT)
    return _Planes(
        grey=grey,
        saturation=saturation,
        # grey pixels have no colour: they must not turn the mean
        colour_cos=np.cos(angle) * saturation,
        colour_sin=np.sin(angle) * saturation,
        # not cv2.magnitude: its last bit depends on where the arrays lie in memory
        gradient=np.sqrt(across * across + down * down),
        texture=np.sqrt(np.maximum(square - mean * mean, 0)),
        border=_border_distance(grey.shape[0], grey.shape[1], roi),
    )


def _border_distance(height: int, width: int, roi: Mask | None) -> F32:
    """Pixels from each pixel to the nearest one outside the inspected field, over half the field's shorter side."""
    inside = np.ones((height, width), np.uint8) if roi is None else roi.astype(np.uint8)
    distance = cv2.distanceTransform(cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 5)
    return np.asarray(distance[1:-1, 1:-1] - 1, np.float32) / (min(height, width) / 2)


def _features(planes: _Planes, candidate: Candidate) -> dict[str, float]:
    height, width = planes.grey.shape
    window, mask = candidate.window, candidate.mask
    area = candidate.area_px

    def mean(plane: F32) -> float:
        return float(plane[window][mask].mean(dtype=np.float64))

    grey = mean(planes.grey)
    step = grey - _ring_grey(planes.grey, candidate, grey)
    rows, columns = np.nonzero(mask)
    elongation, orientation = _axes(rows, columns)
    return {
        "grey": grey,
        "contrast": abs(step),
        "darker": max(0.0, -step),
        "brighter": max(0.0, step),
        "hue": float(np.arctan2(mean(planes.colour_sin), mean(planes.colour_cos)) / (2 * np.pi)) % 1.0,
        "saturation": mean(planes.saturation),
        "area": area / (height * width),
        "elongation": elongation,
        "thickness": _thickness(mask) / float(np.sqrt(height * width)),
        "orientation": orientation,
        "solidity": min(1.0, area / _hull_area(mask)),
        "extent": area / mask.size,
        "gradient": mean(planes.gradient),
        "texture": mean(planes.texture),
        "border_distance": float(planes.border[window][mask].min()),
        "x": (candidate.x + float(columns.mean()) + 0.5) / width,
        "y": (candidate.y + float(rows.mean()) + 0.5) / height,
        "mean_z": candidate.mean_z,
        "max_z": candidate.max_z,
    }


def _ring_grey(grey: F32, candidate: Candidate, alone: float) -> float:
    """Mean grey of the ring around a region; `alone` when the region leaves nothing around it."""
    height, width = grey.shape
    top, left = max(0, candidate.y - RING_PX), max(0, candidate.x - RING_PX)
    bottom = min(height, candidate.y + candidate.height + RING_PX)
    right = min(width, candidate.x + candidate.width + RING_PX)
    inside = np.zeros((bottom - top, right - left), np.uint8)
    y, x = candidate.y - top, candidate.x - left
    inside[y : y + candidate.height, x : x + candidate.width] = candidate.mask
    ring = (cv2.dilate(inside, _RING) > 0) & (inside == 0)
    return float(grey[top:bottom, left:right][ring].mean(dtype=np.float64)) if ring.any() else alone


def _axes(rows: np.ndarray, columns: np.ndarray) -> tuple[float, float]:
    """(1 - short / long axis, angle of the long axis as a share of 180 degrees), from second moments.

    Angles run from the horizontal, anticlockwise on the screen; a region as wide as high gets its moments' angle.
    """
    # a pixel is a square, not a point: 1/12 of its side squared
    across, down = float(columns.var()) + 1 / 12, float(rows.var()) + 1 / 12
    mixed = float(np.mean((columns - columns.mean()) * (rows - rows.mean())))
    middle, spread = (across + down) / 2, float(np.hypot((across - down) / 2, mixed))
    ratio = float(np.sqrt(max(middle - spread, 0.0) / (middle + spread)))
    # rows grow downwards on the screen
    angle = 0.5 * float(np.arctan2(-2 * mixed, across - down))
    return 1 - ratio, (angle / np.pi) % 1.0


def _thickness(mask: Mask) -> float:
    """Diameter in pixels of the largest disc inside: 1 for a line one pixel wide."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    return 2 * float(cv2.distanceTransform(padded, cv2.DIST_L2, 5).max()) - 1


def _hull_area(mask: Mask) -> float:
    """Area of the convex hull of the pixels' squares."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    centres = np.concatenate([outline[:, 0] for outline in outlines]).astype(np.float32)
    corners = np.concatenate([centres + np.array(offset, np.float32) for offset in ((0, 0), (0, 1), (1, 0), (1, 1))])
    return float(cv2.contourArea(cv2.convexHull(corners)))


def _counts(candidates: Sequence[Candidate], grey: F64) -> F64:
    """How many regions of the same level, grey and size there are, each counting itself."""
    level = np.array([c.level for c in candidates])
    size = np.log(np.array([c.area_px for c in candidates], np.float64))
    same = level[:, None] == level[None]
    same &= np.abs(grey[:, None] - grey[None]) <= _SAME_GREY
    same &= np.abs(size[:, None] - size[None]) <= np.log(_SAME_SIZE)
    return np.asarray(same.sum(1), np.float64)
