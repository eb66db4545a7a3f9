"""Find the part in a frame, by a reference picture of it: where it lies, how it is turned, how large it is.

Everything happens on a reduced grey picture. Three ways, from the simplest: `phase` finds a shift, `template` a shift
and a turn, `ecc` a shift, a turn and a size, starting from what `template` found. How well the part matches is its
correlation with the reference, from which light drops out; a poor match is a part that was not found.
"""

from __future__ import annotations

import base64
import math
import threading
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from edge.core.config import AlignSettings
from edge.core.datatypes import F32, U8, Pose
from edge.core.errors import PartNotFound, UsageError
from edge.core.manifest import AlignSpec
from edge.preprocessing.matching import (
    Sought,
    Transform,
    best_turn,
    correlation,
    even_border,
    middle_of,
    transform,
    warped,
)
from edge.preprocessing.regions import FieldOfView

# longest side of the reduced picture
REDUCED_PX = 128
# between the turns tried first, on half the reduced picture, and between those tried then
_COARSE_DEG, _FINE_DEG = 3.0, 1.5
_ECC_STEPS, _ECC_PRECISION, _ECC_SMOOTH_PX = 40, 1e-4, 5
# parts that a reference is made of, and those of them that it may be laid upon
REFERENCE_PARTS, _CANDIDATES = 24, 6
# of the match that good parts reach
_FOUND_FROM = 0.5
# the match of good parts with each other that makes a reference worth having
_ALIKE_FROM = 0.3
_MINIMUM_PARTS = 5


class Aligner:
    """Finds the part of one reference."""

    def __init__(self, spec: AlignSpec) -> None:
        self._spec = spec
        values = np.frombuffer(base64.b64decode(spec.reference), np.uint8)
        self._reference = values.reshape(spec.height, spec.width).astype(np.float32)
        self._window = cv2.createHanningWindow((spec.width, spec.height), cv2.CV_32F)
        # how far the part may lie off on each side, in places of the reduced picture
        self._margin = math.ceil(spec.max_shift * spec.height), math.ceil(spec.max_shift * spec.width)
        self._sought = Sought(self._reference, self._margin)

    def pose(self, image: U8, view: FieldOfView) -> Pose:
        """Where the part lies in a frame; raises PartNotFound when nothing there matches the reference well enough."""
        searched = self._searched(image, view)
        found = self._found(searched)
        quality = self._quality(searched, found)
        shift, angle, scale = self._placed(found)
        spec = self._spec
        if quality < spec.min_quality:
            raise PartNotFound(
                f"the part was not found: its match with the reference is {quality:.2f}, at least "
                f"{spec.min_quality:.2f} is needed (align.min_quality)",
                fix="look at the picture: is the part there, and the right one? If so, calibrate with `align` again",
            )
        if max(abs(shift[0]) / spec.width, abs(shift[1]) / spec.height) > spec.max_shift + 0.01:
            across, down = shift[0] / spec.width * view.width, shift[1] / spec.height * view.height
            raise PartNotFound(
                f"the part lies {across:.0f}, {down:.0f} px off, more than align.max_shift allows",
                fix="put the part, or the camera, back in place; or calibrate with a larger align.max_shift",
            )
        # the same in the view's pixels: places are centres of cells
        per_place = np.array([view.width / spec.width, view.height / spec.height])
        linear = found[:, :2] * (per_place[:, None] / per_place[None, :])
        offset = (found[:, 2] + 0.5 - found[:, :2] @ (0.5, 0.5)) * per_place
        offset = offset - 0.5 + linear @ (0.5, 0.5) + (view.x, view.y)
        if spec.mode == "phase":
            # whole pixels: nothing is interpolated, and sharpness is the same in every picture
            offset = np.rint(offset)
        matrix = np.concatenate([linear, offset[:, None]], axis=1)
        return Pose(tuple(float(value) for value in matrix.ravel()), quality, angle, scale)

    def _searched(self, image: U8, view: FieldOfView) -> F32:
        """The view, reduced, with the margin around it; beyond the frame its border goes on."""
        spec, (above, beside) = self._spec, self._margin
        margin_y = math.ceil(above * view.height / spec.height)
        margin_x = math.ceil(beside * view.width / spec.width)
        top, left = max(0, view.y - margin_y), max(0, view.x - margin_x)
        bottom = min(image.shape[0], view.y + view.height + margin_y)
        right = min(image.shape[1], view.x + view.width + margin_x)
        scale_y, scale_x = spec.height / view.height, spec.width / view.width
        size = max(1, round((right - left) * scale_x)), max(1, round((bottom - top) * scale_y))
        grey = _reduced_grey(image[top:bottom, left:right], size)
        before_y = above - round((view.y - top) * scale_y)
        before_x = beside - round((view.x - left) * scale_x)
        after_y = spec.height + 2 * above - size[1] - before_y
        after_x = spec.width + 2 * beside - size[0] - before_x
        sides = (max(0, before_y), max(0, after_y), max(0, before_x), max(0, after_x))
        padded = cv2.copyMakeBorder(grey, *sides, cv2.BORDER_REPLICATE)
        return np.asarray(padded[: spec.height + 2 * above, : spec.width + 2 * beside], np.float32)

    def _found(self, searched: F32) -> Transform:
        if self._spec.mode == "phase":
            return self._by_phase(searched)
        found = self._by_template(searched)
        return self._refined(searched, found) if self._spec.mode == "ecc" else found

    def _by_phase(self, searched: F32) -> Transform:
        above, beside = self._margin
        middle = np.ascontiguousarray(searched[above : above + self._spec.height, beside : beside + self._spec.width])
        (across, down), _ = cv2.phaseCorrelate(self._reference, middle, self._window)
        shifted, still = (transform(0.0, 1.0, by, self._reference.shape) for by in ((across, down), (0.0, 0.0)))
        # of a smooth part noise has the last word: all frequencies count the same
        return shifted if self._quality(searched, shifted) > self._quality(searched, still) else still

    def _by_template(self, searched: F32) -> Transform:
        steps = _COARSE_DEG, _FINE_DEG
        return best_turn(searched, self._sought, self._spec.max_angle_deg, steps)[0]

    def _refined(self, searched: F32, found: Transform) -> Transform:
        """Maximise the correlation with OpenCV's ECC; what does not converge stays as it was found."""
        above, beside = self._margin
        inside = found + np.array([[0, 0, beside], [0, 0, above]], np.float32)
        motion = cv2.MOTION_AFFINE if self._spec.max_scale > 0 else cv2.MOTION_EUCLIDEAN
        until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ECC_STEPS, _ECC_PRECISION)
        try:
            _, refined = cv2.findTransformECC(
                self._reference, searched, np.float32(inside), motion, until, None, _ECC_SMOOTH_PX
            )
        except cv2.error:
            return found
        refined = np.asarray(refined, np.float64) - np.array([[0, 0, beside], [0, 0, above]])
        # a part may be turned and nearer, not sheared: that would straighten what is bent
        shift, angle, scale = self._placed(refined)
        least, most = 1 - self._spec.max_scale, 1 + self._spec.max_scale
        limit = self._spec.max_angle_deg
        angle, scale = min(max(angle, -limit), limit), min(max(scale, least), most)
        better = transform(angle, scale, shift, self._reference.shape)
        return better if self._quality(searched, better) >= self._quality(searched, found) else found

    def _quality(self, searched: F32, found: Transform) -> float:
        """The correlation of the part, put in its place, with the reference; 1 is the same picture."""
        above, beside = self._margin
        inside = found + np.array([[0, 0, beside], [0, 0, above]], np.float32)
        placed = np.asarray(warped(searched, inside, self._reference.shape), np.float32)
        return correlation(placed, self._reference)

    def _placed(self, found: Transform) -> tuple[tuple[float, float], float, float]:
        """Shift of the middle in places, turn in degrees clockwise, and scale."""
        angle = math.degrees(math.atan2(found[1, 0] - found[0, 1], found[0, 0] + found[1, 1]))
        scale = math.sqrt(abs(float(found[0, 0] * found[1, 1] - found[0, 1] * found[1, 0])))
        middle = middle_of(self._reference.shape)
        across, down = found[:, :2] @ middle + found[:, 2] - middle
        return (float(across), float(down)), angle, scale


@lru_cache(maxsize=16)
def aligner_of(spec: AlignSpec) -> Aligner:
    """The aligner of a specification, made once; safe for several threads."""
    return Aligner(spec)


def placed_view(image: U8, view: FieldOfView, pose: Pose) -> U8:
    """The view as it would be if the part lay as in the reference; beyond the frame its border goes on, evened."""
    matrix = np.array(pose.matrix, np.float64).reshape(2, 3)
    if np.array_equal(matrix[:, :2], np.eye(2)):
        left, top = np.floor(matrix[:, 2] + 0.5).astype(int)
        return _shifted_view(image, view, int(left), int(top))
    # the same values in half the time: OpenCV warps four channels at once and three one by one. What they are warped
    # in is kept, because new memory of this size takes as long as the warp
    wide = _scratch.array("wide", (*image.shape[:2], 4))
    turned = _scratch.array("turned", (view.height, view.width, 4))
    cv2.cvtColor(image, cv2.COLOR_BGR2BGRA, dst=wide)
    even_border(wide)
    warped(wide, matrix, turned.shape, dst=turned)
    return np.asarray(cv2.cvtColor(turned, cv2.COLOR_BGRA2BGR), np.uint8)


def _shifted_view(image: U8, view: FieldOfView, left: int, top: int) -> U8:
    """The view with its first pixel there in the frame: what a warp to the nearest pixel gives, by copying alone."""
    height, width = image.shape[:2]
    # further out it is the border all the same
    left = min(max(left, 1 - view.width), width - 1)
    top = min(max(top, 1 - view.height), height - 1)
    right, bottom = left + view.width, top + view.height
    if left < 1 or top < 1 or right >= width or bottom >= height:
        evened = _scratch.array("evened", image.shape)
        np.copyto(evened, image)
        even_border(evened)
        image = evened
    inside = image[max(0, top) : bottom, max(0, left) : right]
    sides = max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width)
    return np.asarray(cv2.copyMakeBorder(inside, *sides, cv2.BORDER_REPLICATE), np.uint8)


class _Scratch(threading.local):
    """Pictures that a thread writes over with each frame."""

    def __init__(self) -> None:
        self._arrays: dict[str, U8] = {}

    def array(self, name: str, shape: tuple[int, ...]) -> U8:
        known = self._arrays.get(name)
        if known is None or known.shape != shape:
            known = self._arrays[name] = np.empty(shape, np.uint8)
        return known


_scratch = _Scratch()


def align_spec(pictures: Sequence[U8], views: Sequence[FieldOfView], settings: AlignSettings) -> AlignSpec | None:
    """A reference made of good parts, uint8 (H, W, 3) BGR: the mean of all, laid upon the one that others match best.

    None for mode none. Raises UsageError when the parts do not match each other.
    """
    if settings.mode is None or settings.mode == "none":
        return None
    if len(pictures) < _MINIMUM_PARTS:
        raise UsageError(
            f"{len(pictures)} good parts are too few for a reference to align to; {_MINIMUM_PARTS} are needed",
            fix="add pictures of good parts, or use align mode none",
        )
    shown = list(zip(pictures, views, strict=True))
    candidates = [_spec(_reduced(*shown[place]), settings) for place in range(0, len(shown), _every(len(shown)))]
    qualities = [[_match(candidate, *part)[1] for part in shown] for candidate in candidates]
    medians = np.median(qualities, axis=1)
    best = candidates[int(np.argmax(medians))]
    if medians.max() < _ALIKE_FROM:
        raise UsageError(
            f"the good parts do not match each other: {medians.max():.2f} in the median with the one that others match "
            f"best, {_ALIKE_FROM} is needed",
            fix="use align mode none, or a larger align.max_shift; free layouts and textures have nothing to align to",
        )
    laid = []
    for image, view in shown:
        pose, _ = _match(best, image, view)
        if pose is not None:
            laid.append(_reduced(placed_view(image, view, pose), FieldOfView(0, 0, view.width, view.height)))
    reference = _spec(np.rint(np.mean(laid, axis=0)).astype(np.uint8), settings)
    reached = float(np.median([_match(reference, *part)[1] for part in shown]))
    least = settings.min_quality if settings.min_quality is not None else _FOUND_FROM * reached
    return reference.model_copy(update={"min_quality": least})


def match_as_they_lie(pictures: Sequence[U8], views: Sequence[FieldOfView]) -> float:
    """The median correlation of good parts with their mean where nothing is moved."""
    reduced = [_reduced(*shown) for shown in zip(pictures, views, strict=True)]
    size = reduced[0].shape[::-1]
    # views of other sizes have other reduced ones
    small = np.stack([cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in reduced]).astype(np.float32)
    mean = small.mean(axis=0)
    return float(np.median([cv2.matchTemplate(each, mean, cv2.TM_CCOEFF_NORMED)[0, 0] for each in small]))


def _every(count: int) -> int:
    return max(1, count // _CANDIDATES)


def _match(spec: AlignSpec, image: U8, view: FieldOfView) -> tuple[Pose | None, float]:
    try:
        pose = aligner_of(spec).pose(image, view)
    except PartNotFound:
        return None, 0.0
    return pose, pose.quality


def _spec(reference: U8, settings: AlignSettings) -> AlignSpec:
    """Takes whatever matches at all: the least match is known only later."""
    assert settings.mode is not None and settings.mode != "none", "the caller asked"
    return AlignSpec(
        mode=settings.mode,
        width=reference.shape[1],
        height=reference.shape[0],
        reference=base64.b64encode(reference.tobytes()).decode(),
        max_shift=settings.max_shift,
        max_angle_deg=settings.max_angle_deg,
        max_scale=settings.max_scale,
        min_quality=0.0,
    )


def _reduced(image: U8, view: FieldOfView) -> U8:
    scale = min(1.0, REDUCED_PX / max(view.width, view.height))
    size = max(16, round(view.width * scale)), max(16, round(view.height * scale))
    seen = image[view.y : view.y + view.height, view.x : view.x + view.width]
    return _reduced_grey(seen, size)


def _reduced_grey(picture: U8, size: tuple[int, int]) -> U8:
    """A picture in grey, of this (width, height): means of areas. Grey and halves come first: they take less time."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    while not any(side % 2 for side in grey.shape) and grey.shape[1] >= 4 * size[0] and grey.shape[0] >= 4 * size[1]:
        grey = cv2.resize(grey, (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
