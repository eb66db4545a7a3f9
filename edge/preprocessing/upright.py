"""Find parts that lie anyhow, and stand each upright: its axis level, its heavier end at the left, its aspect kept.

The outline of a part (edge/preprocessing/silhouette.py) says where it lies, its lean which end is which. Both are then
corrected by the correlation with a reference, the mean of good parts that stand upright: a bent tip or a cut end moves
an outline's middle, and must not move the part.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32, U8, Pose
from edge.core.errors import PartNotFound
from edge.core.manifest import AlignSpec
from edge.preprocessing.matching import Sought, Transform, best_turn, even_border, warped
from edge.preprocessing.regions import FieldOfView
from edge.preprocessing.silhouette import Seen, Silhouette

F64 = NDArray[np.float64]

# areas of parts, of the taught ones' smallest and largest: below and above it is another thing, or two that touch
_LEAST_AREA, _MOST_AREA = 0.45, 1.6
# smaller than a part and larger than this share of one: not dirt, and not to be passed unseen
_UNKNOWN_AREA = 0.3
# taught parts lean at least so far when they have a heavier end; a part's own lean decides from this share of theirs on
_HEAVIER_FROM, _LEAN_SHARE = 0.015, 0.5
# what a lean of one length would count for in a sum of correlations
_LEAN_COUNTS = 2.0
# of the match that taught parts reach; below it the other turn is tried as well
_SURE_FROM = 0.9
# how far from the outline's pose the best match is looked for, in degrees and of the reference's width
_SEARCHED_DEG, _STEPS_DEG, _SEARCHED_SHARE = 6.0, (2.0, 1.0), 0.08
# the reference holds half the difference from the ground, about this level
_GROUND_LEVEL, _HALVED = 128.0, 0.5
# a part may reach so much further out of the frame than taught ones, of its area
_OUTSIDE_SHARE = 0.03
_INSIDE = 127
# around other parts, on the reduced picture: their edges and shadows
_AROUND_PX = 4
# from so many frame pixels a canvas pixel on a frame is reduced first, so that nothing is skipped
_REDUCED_FROM = 1.3


@dataclass(frozen=True)
class UprightPart:
    """A part that was found; to_frame: (2, 3), from pixels of its canvas to frame pixels."""

    pose: Pose
    to_frame: F64
    silhouette: Silhouette


class UprightAligner:
    """Finds parts of one reference."""

    def __init__(self, spec: AlignSpec) -> None:
        assert spec.upright is not None, "AlignSpec checks it"
        self._spec, self._upright = spec, spec.upright
        shape = (spec.height, spec.width)
        reference, inside = (
            np.frombuffer(base64.b64decode(text), np.uint8).reshape(shape)
            for text in (spec.reference, spec.upright.silhouette)
        )
        self.reference = np.asarray(reference, np.float32)
        self._mask = inside > _INSIDE
        # 1 where a part is, on the reference
        self.silhouette = np.asarray(self._mask, np.uint8)
        self._inside = np.stack(np.nonzero(self._mask)[::-1], axis=1).astype(np.float64)
        margin = math.ceil(_SEARCHED_SHARE * spec.width)
        self._margin = (margin, margin)
        self._sought = Sought(self.reference, self._margin)
        self._places_per_canvas = spec.width / spec.upright.width

    def placed(self, image: U8, view: FieldOfView) -> list[tuple[U8, Pose]]:
        """Every part in the view, from left to right: its canvas, uint8 (height, width, 3), and where it lies.

        Raises PartNotFound where there is no part, and where one cannot be judged.
        """
        seen = Seen(image, view)
        silhouettes = self._plausible(seen.silhouettes(self._upright.contrast, self._upright.otsu_share))
        parts = [self._part(seen, silhouette, image.shape[:2]) for silhouette in silhouettes]
        parts.sort(key=lambda part: (part.silhouette.x, part.silhouette.y))
        return [(self._canvas(image, seen, part, parts), part.pose) for part in parts]

    def fitted(self, seen: Seen, silhouette: Silhouette) -> tuple[F64, float]:
        """The best place of the reference about an outline, (2, 3) from its places to frame pixels, and the match."""
        heavier = self._upright.lean >= _HEAVIER_FROM
        decided = heavier and silhouette.lean >= _LEAN_SHARE * self._upright.lean
        first = self._matched(seen, silhouette, 0.0)
        if decided and first[1] >= _SURE_FROM * self._upright.match:
            return first
        second = self._matched(seen, silhouette, 180.0)
        # outlines that are alike at both ends match either way: what is drawn on the part decides as well, and the lean
        # of the outline as far as it leans
        one, other = (fit[1] + self._match_within(seen, silhouette, fit[0]) for fit in (first, second))
        return first if one + _LEAN_COUNTS * silhouette.lean >= other else second

    def _plausible(self, silhouettes: Sequence[Silhouette]) -> list[Silhouette]:
        upright = self._upright
        least, usual, most = _LEAST_AREA * upright.area_px[0], upright.area_px[1], _MOST_AREA * upright.area_px[2]
        parts = [silhouette for silhouette in silhouettes if least <= silhouette.area <= most]
        others = [silhouette for silhouette in silhouettes if not least <= silhouette.area <= most]
        unknown = max(_UNKNOWN_AREA, 1.5 * upright.clutter)
        odd = next((silhouette for silhouette in others if silhouette.area > unknown * usual), None)
        if odd is not None:
            size = f"an outline of {odd.area / usual:.0%} of a part's area at {odd.x:.0f}, {odd.y:.0f} px"
            raise PartNotFound(
                f"the part was not found: {size}",
                fix="is it two parts that touch, a broken one, or something else? Take it away, or apart",
            )
        if not parts:
            seen = f"the largest has {others[0].area / usual:.0%} of a part's area" if others else "there is none"
            raise PartNotFound(
                f"the part was not found: no outline of a part's size stands out from the ground; {seen}",
                fix="look at the picture: is the part there, and the light as it was taught?",
            )
        if upright.parts is not None and len(parts) != upright.parts:
            raise PartNotFound(
                f"{len(parts)} parts were found, {upright.parts} are expected (align.parts)",
                fix="look at the picture: is a part missing, or does it touch another?",
            )
        return parts

    def _part(self, seen: Seen, silhouette: Silhouette, frame: tuple[int, int]) -> UprightPart:
        fitted, quality = self.fitted(seen, silhouette)
        where = f"at {silhouette.x:.0f}, {silhouette.y:.0f} px"
        if quality < self._spec.min_quality:
            raise PartNotFound(
                f"the part was not found: the match of what lies {where} with the reference is {quality:.2f}, at least "
                f"{self._spec.min_quality:.2f} is needed (align.min_quality)",
                fix="look at the picture: is it the right part? If so, calibrate with `align` again",
            )
        outside = self.outside(fitted, frame)
        if outside > self._upright.outside + _OUTSIDE_SHARE:
            raise PartNotFound(
                f"the part was not found: the frame's border cuts off {outside:.0%} of what lies {where}",
                fix="put the part inside the frame, or move the camera away",
            )
        spec, upright, view = self._spec, self._upright, seen.view
        to_frame = composed(fitted, rescaled((upright.height, upright.width), (spec.height, spec.width)))
        # the canvas laid over the view's rectangle: all that knows the view by its sides works as it is
        matrix = composed(to_frame, rescaled((view.height, view.width), (upright.height, upright.width)))
        angle = math.degrees(math.atan2(fitted[1, 0], fitted[0, 0]))
        scale = self._places_per_canvas * float(np.hypot(fitted[0, 0], fitted[1, 0])) / upright.frame_px
        pose = Pose(tuple(float(value) for value in matrix.ravel()), quality, angle, scale)
        return UprightPart(pose, to_frame, silhouette)

    def outside(self, fitted: F64, frame: tuple[int, int]) -> float:
        """The share of a part, as the reference has it, that would lie beyond the frame's border."""
        lying = self._inside @ fitted[:, :2].T + fitted[:, 2]
        height, width = frame
        beyond = (lying < -0.5).any(axis=1) | (lying[:, 0] > width - 0.5) | (lying[:, 1] > height - 0.5)
        return float(beyond.mean()) if len(beyond) else 0.0

    def _match_within(self, seen: Seen, silhouette: Silhouette, fitted: F64) -> float:
        """The correlation with the reference where both are: an end that is missing has no say."""
        shape = self.reference.shape
        both = self._mask & (laid_mask(seen, silhouette, fitted, shape) > _INSIDE)
        if not both.any():
            return 0.0
        placed, reference = sampled(seen, fitted, shape)[both], self.reference[both]
        placed, reference = placed - placed.mean(), reference - reference.mean()
        return float(placed @ reference) / max(float(np.sqrt((placed @ placed) * (reference @ reference))), 1e-6)

    def _matched(self, seen: Seen, silhouette: Silhouette, turned: float) -> tuple[F64, float]:
        upright, shape = self._upright, self.reference.shape
        # frame pixels a place of the reference
        scale = upright.frame_px / self._places_per_canvas
        if upright.own_size:
            scale *= silhouette.length / upright.length_px
        start = placed_at(silhouette, turned, scale, (shape[0], shape[1]))
        above, beside = self._margin
        shifted = np.array([[1, 0, -beside], [0, 1, -above]], np.float64)
        grown = (shape[0] + 2 * above, shape[1] + 2 * beside)
        searched = sampled(seen, composed(start, shifted), grown)
        within, match = best_turn(searched, self._sought, _SEARCHED_DEG, _STEPS_DEG)
        return composed(start, within), match

    def _canvas(self, image: U8, seen: Seen, part: UprightPart, parts: Sequence[UprightPart]) -> U8:
        """The part on its canvas; others that reach into it are painted over with ground."""
        shape = (self._upright.height, self._upright.width)
        canvas = taken(image, part.to_frame, shape)
        masks = [other.silhouette.mask for other in parts if other is not part]
        if not masks:
            return canvas
        to_reduced = composed(inverse(seen.to_frame()), part.to_frame)
        strangers = cv2.dilate(np.bitwise_or.reduce(masks), np.ones((2 * _AROUND_PX + 1, 2 * _AROUND_PX + 1), np.uint8))
        # what lies beyond the frame belongs to no one
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cover = cv2.warpAffine(np.asarray(strangers, np.float32) / 255, to_reduced, shape[::-1], flags=flags)
        if not cover.any():
            return canvas
        ground = warped(seen.ground, to_reduced, shape)
        return np.asarray(np.rint(canvas + cover[..., None] * (ground - canvas)).clip(0, 255), np.uint8)


@lru_cache(maxsize=16)
def upright_aligner_of(spec: AlignSpec) -> UprightAligner:
    """The aligner of a specification, made once; safe for several threads."""
    return UprightAligner(spec)


def placed_at(silhouette: Silhouette, turned: float, scale: float, shape: tuple[int, int]) -> F64:
    """(2, 3), from places of an upright picture to frame pixels: its middle lies on the outline's."""
    radians = math.radians(silhouette.angle_deg + turned)
    linear = scale * np.array([[math.cos(radians), -math.sin(radians)], [math.sin(radians), math.cos(radians)]])
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    offset = np.array((silhouette.x, silhouette.y)) - linear @ middle
    return np.concatenate([linear, offset[:, None]], axis=1)


def sampled(seen: Seen, to_frame: F64, shape: tuple[int, ...]) -> F32:
    """Half the grey levels above the ground, plus 128: of this shape, taken from where `to_frame` (2, 3) says."""
    grey = warped(seen.grey, composed(inverse(seen.to_frame()), to_frame), shape)
    return np.asarray(np.clip(_HALVED * grey + _GROUND_LEVEL, 0, 255), np.float32)


def laid_mask(seen: Seen, silhouette: Silhouette, to_frame: F64, shape: tuple[int, ...]) -> F32:
    """An outline laid upon a picture of this shape: 255 inside, 0 outside and beyond the frame."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    matrix = composed(inverse(seen.to_frame()), to_frame)
    return np.asarray(cv2.warpAffine(silhouette.mask, matrix, shape[1::-1], flags=flags), np.float32)


def composed(outer: Transform, inner: Transform) -> F64:
    """(2, 3): `inner` first, `outer` then."""
    rows = np.vstack([inner, (0, 0, 1)]).astype(np.float64)
    return np.asarray(np.asarray(outer, np.float64) @ rows, np.float64)


def rescaled(shape: tuple[int, int], other: tuple[int, int]) -> F64:
    """(2, 3), from the pixels of a picture of this shape to those of the same picture in the other shape."""
    down, across = other[0] / shape[0], other[1] / shape[1]
    return np.array([[across, 0, 0.5 * across - 0.5], [0, down, 0.5 * down - 0.5]], np.float64)


def inverse(matrix: F64) -> F64:
    return np.asarray(np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2], np.float64)


def taken(image: U8, to_frame: F64, shape: tuple[int, int]) -> U8:
    """A canvas of this shape taken from a frame; beyond the frame its border goes on, evened."""
    height, width = shape
    corners = np.array([(-1, -1), (width, -1), (-1, height), (width, height)], np.float64)
    lying = corners @ to_frame[:, :2].T + to_frame[:, 2]
    left, top = np.floor(lying.min(axis=0)).astype(int) - 2
    right, bottom = np.ceil(lying.max(axis=0)).astype(int) + 3
    leaves_frame = min(left, top) < 0 or right > image.shape[1] or bottom > image.shape[0]
    left, right = (int(np.clip(edge, 0, image.shape[1] - 1)) for edge in (left, right - 1))
    top, bottom = (int(np.clip(edge, 0, image.shape[0] - 1)) for edge in (top, bottom - 1))
    crop = image[top : bottom + 1, left : right + 1]
    to_crop = to_frame - np.array([[0, 0, left], [0, 0, top]], np.float64)
    scale = float(np.sqrt(abs(np.linalg.det(to_frame[:, :2]))))
    if scale > _REDUCED_FROM:
        size = max(1, round(crop.shape[1] / scale)), max(1, round(crop.shape[0] / scale))
        to_crop = composed(rescaled((crop.shape[0], crop.shape[1]), (size[1], size[0])), to_crop)
        crop = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)
    if leaves_frame:
        crop = crop.copy()
        even_border(crop)
    return np.asarray(warped(crop, to_crop, shape), np.uint8)
