"""How parts come into the network's field: chosen from the good parts alone, and told in words.

Three choices: are parts found and put in their place, what shape has the field, and how does a view come to its aspect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.capture.images.image_reader import PLAIN, ImageReader
from edge.core.config import AlignSettings
from edge.core.datatypes import U8
from edge.core.errors import PartNotFound, UsageError
from edge.core.manifest import AlignSpec
from edge.preprocessing.alignment import align_spec, aligner_of, match_as_they_lie
from edge.preprocessing.field_shape import FIELD_STEP, LONGEST_PX, SHORTEST_PX, field_shape, upright_shape
from edge.preprocessing.normal_samples import normal_samples_folder, parts_to_align, required_outlines
from edge.preprocessing.preprocess import Preprocess
from edge.preprocessing.regions import FieldOfView
from edge.preprocessing.upright import upright_aligner_of
from edge.preprocessing.upright_reference import MARGIN, MINIMUM_PARTS, NOT_UPRIGHT, Outlines, upright_spec

FitWish = Literal["letterbox", "stretch", "native"]

# views whose aspects lie within this share of their median are stretched to one shape; others get a letterbox
_ASPECTS_ALIKE = 0.1
# a square field for views that are this much longer than broad, or the other way round, is a letterbox
_ENLARGED = 2.0
# parts lie anyhow when their turns, or their places in lengths of a part, scatter by more than this
_TURNED_DEG, _MOVED_LENGTHS = 5.0, 0.06
# parts shift worth following: share of the view's sides; turn in degrees; of the parts; and what match they reach
_SHIFTED_SHARE, _TILTED_DEG, _SHIFTED_PARTS, _FOLLOWED_MATCH, _FOLLOWED_GAIN = 0.03, 3.0, 0.25, 0.85, 0.05


@dataclass(frozen=True)
class GeometryWish:
    """What the person asks for; None: chosen from the good parts. field: (height, width)."""

    align: AlignSettings
    fit: FitWish | None = None
    field: tuple[int, int] | None = None


@dataclass(frozen=True)
class Geometry:
    """What was chosen; said: a line for each choice, with its reason."""

    preprocess: Preprocess
    said: tuple[str, ...]


def chosen_geometry(
    square: Preprocess, data: Path, wish: GeometryWish, *, any_shape: bool, reader: ImageReader = PLAIN
) -> Geometry:
    """How the good parts of a folder are put into a field.

    square: the network's own field, with the region of interest. any_shape: whether the network takes fields of other
    shapes. Raises UsageError for a wish that cannot be had.
    """
    if wish.field is not None:
        _require_field(wish.field, any_shape, square)
    files = reader.pictures_in(normal_samples_folder(data))
    stamps = tuple((path.name, path.stat().st_mtime_ns) for path in files)
    return _chosen(square, data, stamps, wish, any_shape, reader)


# several methods may be tried on the same parts: what was found out about them is kept
@lru_cache(maxsize=8)
def _chosen(
    square: Preprocess, data: Path, stamps: tuple[tuple[str, int], ...], wish: GeometryWish, any_shape: bool,
    reader: ImageReader,
) -> Geometry:  # fmt: skip
    """stamps: names and times of the pictures, so that others under the same path are looked at anew."""
    pictures, views = parts_to_align(square, data, reader)
    if not pictures:
        return Geometry(square, ())
    mode = wish.align.mode
    if wish.fit == "native" and mode in ("upright", "template", "phase", "ecc"):
        raise UsageError(
            f"--fit native keeps every pixel where it is; align mode {mode} moves them", fix="leave one of the two out"
        )
    if mode is None and wish.fit != "native":
        align, words = _chosen_alignment(square, pictures, views, wish, any_shape)
    elif mode == "upright":
        align, words = _upright(square, pictures, views, wish, any_shape, required=True)
    elif mode in (None, "none"):
        align, words = None, ""
    else:
        align, words = align_spec(pictures, views, wish.align), ""
    if align is not None and align.upright is not None:
        field = (align.upright.height, align.upright.width)
        size = f"field: {field[1]}x{field[0]} px, the part's own aspect" if any_shape else ""
        shaped = replace(square, height=field[0], width=field[1], align=align)
        return Geometry(shaped, tuple(line for line in (words, size) if line))
    shaped, fit_words = _fitted(square, views, wish, any_shape)
    return Geometry(replace(shaped, align=align), tuple(line for line in (words, fit_words) if line))


def _require_field(field: tuple[int, int], any_shape: bool, square: Preprocess) -> None:
    height, width = field
    if not any_shape and field != square.shape:
        raise UsageError(
            f"this network inspects a field of {square.width}x{square.height} px here, and no other",
            fix="leave --field out, or take a variant with the pre-trained encoder",
        )
    if height % FIELD_STEP or width % FIELD_STEP or min(field) < SHORTEST_PX:
        raise UsageError(
            f"a field of {width}x{height} px does not fit the network",
            fix=f"give sides in multiples of {FIELD_STEP}, at least {SHORTEST_PX}",
        )


def _chosen_alignment(
    square: Preprocess, pictures: Sequence[U8], views: Sequence[FieldOfView], wish: GeometryWish, any_shape: bool
) -> tuple[AlignSpec | None, str]:
    if len(pictures) < MINIMUM_PARTS:
        return None, ""
    try:
        align, words = _upright(square, pictures, views, wish, any_shape, required=False)
    except UsageError as error:
        align, words = None, error.message.removeprefix(NOT_UPRIGHT)
    if align is not None:
        return align, words
    followed = _worth_following(pictures, views, wish.align)
    if isinstance(followed, AlignSpec):
        return followed, "align: template (the parts lie nearly the same way, but not in the same place)"
    return None, f"align: none ({words}; {followed})"


def _upright(
    square: Preprocess, pictures: Sequence[U8], views: Sequence[FieldOfView], wish: GeometryWish, any_shape: bool,
    *, required: bool,
) -> tuple[AlignSpec | None, str]:  # fmt: skip
    """The alignment that stands parts upright; None and why where they need none or cannot be stood upright."""
    outlines = required_outlines(square, pictures, views)
    length, breadth = outlines.median("length"), outlines.median("breadth")
    shape = square.shape
    if wish.field is not None:
        shape = wish.field
    elif any_shape:
        side = round(math.sqrt(square.height * square.width))
        shape = upright_shape(length, breadth, MARGIN, side, _ENLARGED)
    spec = upright_spec(outlines, shape, wish.align)
    turned, moved = _scattered(outlines, spec)
    lying = f"their turns scatter by {turned:.0f} degrees, their places by {moved:.0%} of a part's length"
    if not required and turned < _TURNED_DEG and moved < _MOVED_LENGTHS:
        return None, f"the parts always lie the same way: {lying}"
    several = sum(len(parts) > 1 for parts in outlines.parts)
    shown = "one part" if not several else "several parts"
    return spec, (
        f"align: upright ({shown} a picture, {length / breadth:.1f} times as long as broad, "
        f"{_DIFFERENCE[outlines.contrast]} the ground; {lying})"
    )


_DIFFERENCE = {"dark": "darker than", "bright": "brighter than", "colour": "of another colour than", "any": "unlike"}


def _scattered(outlines: Outlines, spec: AlignSpec) -> tuple[float, float]:
    """Deviation of the parts' turns in degrees, and of their places in lengths of a part; infinite for several."""
    if any(len(parts) > 1 for parts in outlines.parts):
        return 180.0, math.inf
    aligner = upright_aligner_of(spec)
    fits = [aligner.fitted(seen, part)[0] for seen, part in outlines.pairs]
    turns = np.array([math.atan2(fit[1, 0], fit[0, 0]) for fit in fits])
    # of directions: 1 where all are the same, 0 where they point anywhere
    concentration = min(float(np.hypot(np.cos(turns).mean(), np.sin(turns).mean())), 1.0)
    turned = min(math.degrees(math.sqrt(-2 * math.log(max(concentration, 1e-9)))), 180.0)
    places = np.array([(part.x, part.y) for part in outlines.all])
    return turned, float(np.sqrt(places.var(axis=0).sum())) / outlines.median("length")


def _worth_following(pictures: Sequence[U8], views: Sequence[FieldOfView], settings: AlignSettings) -> AlignSpec | str:
    """The reference of parts that shift or tilt a little; or in words why following them is not worth it."""
    if not _alike(views):
        return "their views differ in aspect"
    try:
        spec = align_spec(pictures, views, settings.model_copy(update={"mode": "template"}))
    except UsageError as error:
        return error.message
    assert spec is not None, "a mode was given"
    aligner, shifts, turns, matches = aligner_of(spec), [], [], []
    for picture, view in zip(pictures, views, strict=True):
        try:
            pose = aligner.pose(picture, view)
        except PartNotFound:
            return "not all parts match each other"
        matrix = np.array(pose.matrix).reshape(2, 3)
        middle = np.array([(view.width - 1) / 2, (view.height - 1) / 2])
        shifts.append((matrix[:, :2] @ middle + matrix[:, 2] - middle - (view.x, view.y)) / (view.width, view.height))
        turns.append(pose.angle_deg)
        matches.append(pose.quality)
    # about the usual place: the reference itself may lie beside it
    shifted = np.abs(np.array(shifts) - np.median(shifts, axis=0)).max(axis=1) > _SHIFTED_SHARE
    moved = shifted | (np.abs(np.array(turns) - np.median(turns)) > _TILTED_DEG)
    match, before = float(np.median(matches)), match_as_they_lie(pictures, views)
    if match < _FOLLOWED_MATCH:
        return f"their match with each other is {match:.2f}, {_FOLLOWED_MATCH} is needed to follow them"
    if np.mean(moved) < _SHIFTED_PARTS or match < before + _FOLLOWED_GAIN:
        return f"they keep their place: followed, they match by {match:.2f}, as they lie by {before:.2f}"
    return spec


def _aspects(views: Sequence[FieldOfView]) -> NDArray[np.float64]:
    return np.array([view.width / view.height for view in views])


def _alike(views: Sequence[FieldOfView]) -> bool:
    """Whether their aspects differ so little that one shape shows all of them."""
    aspects = _aspects(views)
    return bool(np.abs(np.log(aspects / np.median(aspects))).max() <= _ASPECTS_ALIKE)


def _fitted(
    square: Preprocess, views: Sequence[FieldOfView], wish: GeometryWish, any_shape: bool
) -> tuple[Preprocess, str]:
    """The field's shape, and how views come to it."""
    aspects = _aspects(views)
    aspect, alike = float(np.median(aspects)), _alike(views)
    if wish.fit == "native":
        return _native(square, views, any_shape), "fit: native (one frame pixel is one field pixel)"
    shape = square.shape
    if wish.field is not None:
        shape = wish.field
    elif any_shape:
        shape = field_shape(aspect, square.height * square.width)
    fit = wish.fit or ("stretch" if alike else "letterbox")
    shaped = replace(square, height=shape[0], width=shape[1], fit=fit)
    said = []
    if shape != square.shape:
        said.append(f"field: {shape[1]}x{shape[0]} px (the inspected area is {aspect:.2f} times as wide as high)")
    if wish.fit is None and not alike:
        said.append(f"fit: letterbox (aspects vary from {aspects.min():.2f} to {aspects.max():.2f})")
    return shaped, "; ".join(said)


def _native(square: Preprocess, views: Sequence[FieldOfView], any_shape: bool) -> Preprocess:
    sizes = {(view.height, view.width) for view in views}
    height, width = next(iter(sizes))
    if len(sizes) > 1:
        raise UsageError(
            f"--fit native needs pictures of one size; these have {len(sizes)}",
            fix="give roi.rectangle, which cuts the same size from each, or use --fit letterbox",
        )
    if not any_shape and (height, width) != square.shape:
        raise UsageError(
            f"--fit native needs a field of {width}x{height} px; this network takes {square.width}x{square.height} px",
            fix="take a variant with the pre-trained encoder, or leave --fit out",
        )
    sides = (height, width)
    if min(sides) < SHORTEST_PX or max(sides) > LONGEST_PX or any(side % FIELD_STEP for side in sides):
        least = [max(SHORTEST_PX, min(side, LONGEST_PX) // FIELD_STEP * FIELD_STEP) for side in (width, height)]
        raise UsageError(
            f"--fit native: {width}x{height} px are no field; sides are multiples of {FIELD_STEP}, "
            f"up to {LONGEST_PX} px",
            fix=f"set roi.rectangle to what must be inspected, such as {least[0]}x{least[1]} px; several bundles with "
            "a rectangle each cover a larger part; or use --fit letterbox",
        )
    return replace(square, height=height, width=width)
