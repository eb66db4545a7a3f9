"""Defects drawn on a picture of a good part, to see whether the line would find them: scratch, spot, missing patch.

Numpy and OpenCV alone, since the device has no torch. They are meant to be found: plain, of a stated size, with a
contrast that a person sees at once, on the place of several that they change most. Repeatable: the same picture and
number give the same defect.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from edge.core.datatypes import F32, U8
from edge.preprocessing.preprocess import Preprocess
from edge.preprocessing.regions import FieldOfView
from edge.preprocessing.upright import upright_aligner_of

_SEED = 20
# tried for each defect; the one where it changes the picture most is taken
_PLACES = 8
# grey levels between a defect and what it lies on
_CONTRAST = 90.0
# a missing patch that changes less than this would not be seen: it lies on even ground
_LEAST_CHANGE = 40.0
# filling a shape also draws its outline, half a pixel on each side
_DRAWN_EDGE = 1.0
# length over width
_SLENDERNESS = {"scratch": 14.0, "spot": 1.3, "missing patch": 1.0}
KINDS = tuple(_SLENDERNESS)


@dataclass(frozen=True)
class SyntheticDefect:
    """A picture with one defect, uint8 (H, W, 3) BGR. area: the altered share of the inspected area.

    length_px: its longer side, in pixels of the picture.
    """

    kind: str
    name: str
    picture: U8
    area: float
    length_px: float


def synthetic_defects(picture: U8, preprocess: Preprocess, count: int, area: float) -> Iterator[SyntheticDefect]:
    """`count` defects of each about the share `area` of the inspected region, one a picture, kinds in turn.

    picture: uint8 (H, W, 3) BGR; the region must lie inside. Raises PartNotFound where parts that are stood upright are
    not found.
    """
    inside = _inspected(picture, preprocess)
    places = np.flatnonzero(inside)
    surround = _surround(picture, inside)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        random = np.random.default_rng((_SEED, number))
        spots = [divmod(int(place), inside.shape[1]) for place in random.choice(places, _PLACES)]
        patches = [_patch(picture, inside, spot, kind, area * len(places), surround, random) for spot in spots]
        patch = max(patches, key=lambda made: (made.natural, made.change))
        altered = picture.copy()
        altered[patch.rows, patch.columns] = patch.picture
        length_px = math.sqrt(area * len(places) * _SLENDERNESS[kind])
        yield SyntheticDefect(
            kind, f"{kind} {number // len(KINDS) + 1}", altered, patch.area_px / len(places), length_px
        )


@dataclass(frozen=True)
class _Patch:
    """The altered part of a picture, and where it goes. natural: as its kind looks. change: summed grey levels."""

    rows: slice
    columns: slice
    picture: U8
    area_px: float
    natural: bool
    change: float


def _inspected(picture: U8, preprocess: Preprocess) -> U8:
    """1 where the network looks, (H, W)."""
    height, width = picture.shape[:2]
    view = preprocess.field_of_view(height, width)
    assert view is not None, "the caller checked that the region lies inside"
    inside = np.zeros((height, width), np.uint8)
    inside[view.y : view.y + view.height, view.x : view.x + view.width] = 1
    if preprocess.polygon is not None:
        polygon = np.zeros((height, width), np.uint8)
        cv2.fillPoly(polygon, [np.array(preprocess.polygon, np.int32)], 1)
        inside &= polygon
    return inside & _on_parts(picture, preprocess, view)


def _on_parts(picture: U8, preprocess: Preprocess, view: FieldOfView) -> U8:
    """1 on the parts that are stood upright, whose ground nobody inspects; 1 everywhere for others, (H, W)."""
    height, width = picture.shape[:2]
    if preprocess.align is None or preprocess.align.upright is None:
        return np.ones((height, width), np.uint8)
    outline = upright_aligner_of(preprocess.align).silhouette
    spread = cv2.resize(outline, (view.width, view.height), interpolation=cv2.INTER_NEAREST)
    parts = np.zeros((height, width), np.uint8)
    for placed in preprocess.placed(picture):
        assert placed.pose is not None, "every upright part has one"
        matrix = np.array(placed.pose.matrix, np.float64).reshape(2, 3)
        parts |= cv2.warpAffine(spread, matrix, (width, height), flags=cv2.INTER_NEAREST)
    return parts


def _patch(
    picture: U8,
    inside: U8,
    spot: tuple[int, int],
    kind: str,
    area_px: float,
    surround: F32,
    random: np.random.Generator,
) -> _Patch:
    """The surroundings of a spot (row, column) with a defect on it; no more, since frames may be large."""
    slenderness = _SLENDERNESS[kind]
    length, width = math.sqrt(area_px * slenderness), max(1.5, math.sqrt(area_px / slenderness))
    blur = max(0.6, math.sqrt(area_px) / 25)
    reach = math.ceil(math.hypot(length, width) / 2 + 3 * blur) + 1
    top, left = max(0, spot[0] - reach), max(0, spot[1] - reach)
    rows, columns = slice(top, spot[0] + reach + 1), slice(left, spot[1] + reach + 1)
    ground = picture[rows, columns].astype(np.float32)
    shape = np.zeros(ground.shape[:2], np.float32)
    _fill(shape, kind, (spot[1] - left, spot[0] - top), (length, width), float(random.uniform(0, 180)))
    # soft edges, as optics make them
    cover = np.asarray(cv2.GaussianBlur(shape, (0, 0), blur), np.float32) * inside[rows, columns]
    here = (ground * cover[..., None]).sum((0, 1)) / max(float(cover.sum()), 1e-6)
    shows_surround = kind == "missing patch" and float(np.abs(surround - here).max()) >= _LEAST_CHANGE
    # where the surround cannot be told apart: lighter or darker than the ground
    colour = surround if shows_surround else here + (-_CONTRAST if here.mean() > 127 else _CONTRAST)
    altered = (ground + cover[..., None] * (colour - ground)).round().clip(0, 255)
    return _Patch(
        rows,
        columns,
        altered.astype(np.uint8),
        float(cover.sum()),
        natural=shows_surround or kind != "missing patch",
        change=float(np.abs(altered - ground).max(axis=2).sum()),
    )


def _fill(shape: F32, kind: str, centre: tuple[float, float], sides: tuple[float, float], angle: float) -> None:
    """Set a turned rectangle of these sides about the centre (x, y), or an ellipse of the same area, to 1."""
    if kind == "spot":
        axes = [max(0.0, 2 / math.sqrt(math.pi) * side - _DRAWN_EDGE) for side in sides]
        cv2.ellipse(shape, (centre, (axes[0], axes[1]), angle), (1.0,), cv2.FILLED)
        return
    corners = cv2.boxPoints((centre, (sides[0] - _DRAWN_EDGE, sides[1] - _DRAWN_EDGE), angle))
    # in sixteenths of a pixel: a scratch on a small picture is a pixel wide
    cv2.fillPoly(shape, [np.round(corners * 16).astype(np.int32)], (1.0,), shift=4)


def _surround(picture: U8, inside: U8) -> F32:
    """The median colour along the border of the inspected region: the background, where there is one."""
    core = cv2.erode(inside, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    border = picture[(inside > 0) & (core == 0)]
    return np.asarray(np.median(border, axis=0), np.float32)
