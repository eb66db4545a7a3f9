"""What parts that stand upright look like, learned from good parts: their outline, their size, their reference."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.core.config import AlignSettings
from edge.core.datatypes import F32, U8
from edge.core.errors import UsageError
from edge.core.manifest import AlignSpec, UprightSpec
from edge.preprocessing.regions import FieldOfView
from edge.preprocessing.silhouette import CONTRASTS, Contrast, Seen, Silhouette
from edge.preprocessing.upright import UprightAligner, laid_mask, placed_at, sampled

MINIMUM_PARTS = 5
NOT_UPRIGHT = "align mode upright: "
# of a canvas's sides, around a part: a bent one must stay on it
MARGIN = 0.06
# a picture's outlines of less than this share of its largest are no parts
_PART_SHARE = 0.5
# longest side of the reference
_REFERENCE_PX = 160
# shares of Otsu's threshold that are tried; outlines that scatter by so much more are as much alike; and those of this
# share of the largest area are as large
_OTSU_SHARES, _ALSO_ALIKE, _AS_LARGE = (1.0, 0.5, 0.25, 0.0), 0.02, 0.75
# pictures that must show parts, and outlines of one size: scatter of areas and lengths about their medians
_FOUND_SHARE, _MOST_SCATTER = 0.9, 0.15
# of the view: more than this is no part on a ground
_MOST_OF_VIEW = 0.6
# of an outline that lies on the view's border, in the median
_MOST_ON_BORDER = 0.1
_LEAST_ELONGATION = 1.5
# taught parts whose lengths scatter more are scaled each by its own length
_OWN_SIZE_FROM = 0.04
# parts that a reference may begin with, and rounds of laying all parts upon the mean
_CANDIDATES, _ROUNDS = 5, 2
# the share of parts whose heavier end must be the same one, for the lean to decide
_LEAN_SURE = 0.95
# the match of good parts with their reference that makes one worth having, and what of it a part must reach
_ALIKE_FROM, _FOUND_FROM = 0.5, 0.55
_NORMAL_MAD = 1.4826


@dataclass(frozen=True)
class Outlines:
    """The parts that were found in pictures of good parts by one contrast and one share of Otsu's threshold.

    parts: for each picture the outlines of a part's size. clutter: the largest other outline, of a part's area.
    """

    contrast: Contrast
    otsu_share: float
    seen: tuple[Seen, ...]
    parts: tuple[tuple[Silhouette, ...], ...]
    clutter: float

    @property
    def all(self) -> list[Silhouette]:
        return [part for parts in self.parts for part in parts]

    @property
    def pairs(self) -> list[tuple[Seen, Silhouette]]:
        return [(seen, part) for seen, parts in zip(self.seen, self.parts, strict=True) for part in parts]

    def median(self, name: str) -> float:
        return float(np.median([getattr(part, name) for part in self.all]))

    @property
    def scatter(self) -> float:
        """Of the parts' size about its median, by length or by the root of the area, whichever is more."""
        roots = [math.sqrt(part.area) for part in self.all]
        return max(_scatter(roots), _scatter([part.length for part in self.all]))


def outlines_of(pictures: Sequence[U8], views: Sequence[FieldOfView]) -> Outlines | str:
    """The outlines by the contrast and threshold that show the parts most alike; or in words why there are none.

    Words begin with a verb: "the parts ...".
    """
    if len(pictures) < MINIMUM_PARTS:
        return f"are too few: {len(pictures)}, {MINIMUM_PARTS} are needed for a reference"
    seen = tuple(Seen(picture, view) for picture, view in zip(pictures, views, strict=True))
    tried = [_by(contrast, share, seen) for contrast in CONTRASTS for share in _OTSU_SHARES]
    usable = [outlines for outlines in tried if isinstance(outlines, Outlines)]
    if not usable:
        # that of any difference says most
        return next(words for words in reversed(tried) if isinstance(words, str))
    # the whole part, where that is as much alike: what is dark on a grey part must not stand for the part. A shadow
    # makes an outline larger too, but falls another way on each part
    alike = min(outlines.scatter for outlines in usable) + _ALSO_ALIKE
    most = max(outlines.median("area") for outlines in usable if outlines.scatter <= alike)
    whole = [each for each in usable if each.scatter <= alike and each.median("area") >= _AS_LARGE * most]
    # signed contrasts come first, since what differs anyhow may be a glint; and the highest threshold, which keeps
    # parts apart
    return min(whole, key=_odds)


def _odds(outlines: Outlines) -> float:
    loose = _ALSO_ALIKE * (1 - outlines.otsu_share)
    return outlines.scatter + 0.01 * CONTRASTS.index(outlines.contrast) + loose


def _by(contrast: Contrast, otsu_share: float, seen: Sequence[Seen]) -> Outlines | str:
    found = [each.silhouettes(contrast, otsu_share) for each in seen]
    largest = [silhouettes[0].area for silhouettes in found if silhouettes]
    if len(largest) < _FOUND_SHARE * len(seen):
        return f"do not stand out from their ground: an outline was found in {len(largest)} of {len(seen)} pictures"
    usual = float(np.median(largest))
    parts = tuple(tuple(each for each in silhouettes if each.area > _PART_SHARE * usual) for silhouettes in found)
    others = [each.area for silhouettes in found for each in silhouettes if each.area <= _PART_SHARE * usual]
    outlines = Outlines(contrast, otsu_share, tuple(seen), parts, max(others, default=0.0) / usual)
    return _refusal(outlines) or outlines


def _refusal(outlines: Outlines) -> str | None:
    """Why these are no parts that could be stood upright, in words."""
    shown = sum(bool(parts) for parts in outlines.parts)
    if shown < _FOUND_SHARE * len(outlines.seen):
        return f"have outlines that vary: one of their usual size was found in {shown} of {len(outlines.seen)} pictures"
    views = [seen.view for seen, _ in outlines.pairs]
    filled = float(
        np.median([part.area / (view.width * view.height) for part, view in zip(outlines.all, views, strict=True)])
    )
    if filled > _MOST_OF_VIEW:
        return f"fill the picture: their outline covers {filled:.0%} of it"
    on_border = outlines.median("on_border")
    if on_border > _MOST_ON_BORDER:
        return f"reach over the picture's border: {on_border:.0%} of their outline lies on it"
    if outlines.scatter > _MOST_SCATTER:
        return f"have outlines that vary: their size scatters by {outlines.scatter:.0%}"
    elongation = outlines.median("elongation")
    if elongation < _LEAST_ELONGATION:
        return f"have no axis: they are {elongation:.1f} times as long as broad, {_LEAST_ELONGATION} is needed"
    return None


def aspect_of(outlines: Outlines) -> float:
    """Width over height of the canvas that holds these parts with their margin."""
    return outlines.median("length") / outlines.median("breadth")


def upright_spec(outlines: Outlines, canvas: tuple[int, int], settings: AlignSettings) -> AlignSpec:
    """The specification of these parts on a canvas (height, width); raises UsageError where they do not match."""
    height, width = canvas
    inner = 1 - 2 * MARGIN
    lengths = [part.length for part in outlines.all]
    length, breadth = float(np.median(lengths)), outlines.median("breadth")
    frame_px = max(length / (inner * width), breadth / (inner * height))
    areas = np.array([part.area for part in outlines.all])
    factor = min(1.0, _REFERENCE_PX / max(canvas))
    shape = max(16, round(height * factor)), max(16, round(width * factor))

    # without a lean the reference decides which end is which: of outlines that miss a part, the lean says nothing
    def spec(
        reference: F32, silhouette: F32, match: float = 0.0, least: float = 0.0, outside: float = 1.0, lean: float = 0.0
    ) -> AlignSpec:
        return AlignSpec(
            mode="upright",
            width=shape[1],
            height=shape[0],
            reference=_text(reference),
            max_shift=settings.max_shift,
            max_angle_deg=settings.max_angle_deg,
            max_scale=settings.max_scale,
            min_quality=least,
            upright=UprightSpec(
                height=height,
                width=width,
                contrast=outlines.contrast,
                otsu_share=outlines.otsu_share,
                frame_px=frame_px,
                own_size=_scatter(lengths) > _OWN_SIZE_FROM,
                length_px=length,
                area_px=(float(areas.min()), float(np.median(areas)), float(areas.max())),
                lean=lean,
                match=match,
                outside=outside,
                clutter=outlines.clutter,
                parts=settings.parts,
                silhouette=_text(silhouette),
            ),
        )

    pairs = outlines.pairs
    every = max(1, len(pairs) // _CANDIDATES)
    best: UprightAligner | None = None
    reached = -1.0
    for seen, part in pairs[::every]:
        scale = frame_px * width / shape[1]
        fit = placed_at(part, 0.0, scale, shape)
        own = laid_mask(seen, part, fit, shape)
        begun = UprightAligner(spec(sampled(seen, fit, shape), own))
        match = float(np.median([begun.fitted(*pair)[1] for pair in pairs]))
        if match > reached:
            best, reached = begun, match
    assert best is not None, "there are parts"
    fits: list[tuple[NDArray[np.float64], float]] = []
    reference = silhouette = best.reference
    for _ in range(_ROUNDS):
        fits = [best.fitted(*pair) for pair in pairs]
        laid = [sampled(seen, fit, shape) for (seen, _), (fit, _) in zip(pairs, fits, strict=True)]
        masks = [laid_mask(seen, part, fit, shape) for (seen, part), (fit, _) in zip(pairs, fits, strict=True)]
        reference, silhouette = np.rint(np.mean(laid, axis=0)), np.rint(np.mean(masks, axis=0))
        best = UprightAligner(spec(reference, silhouette))
    leaning = _lean_kept(pairs, fits)
    if leaning < 0.5:
        # it began with a part that leant the other way
        reference, silhouette = np.rot90(reference, 2), np.rot90(silhouette, 2)
        best = UprightAligner(spec(reference, silhouette))
    lean = outlines.median("lean") if max(leaning, 1 - leaning) >= _LEAN_SURE else 0.0
    fits = [best.fitted(*pair) for pair in pairs]
    matches = [match for _, match in fits]
    match = float(np.median(matches))
    if match < _ALIKE_FROM:
        raise UsageError(
            f"the good parts, stood upright, do not match each other: {match:.2f} in the median, "
            f"{_ALIKE_FROM} is needed",
            fix="use align mode none: the parts differ in form",
        )
    outside = max(best.outside(fit, seen.frame) for (seen, _), (fit, _) in zip(pairs, fits, strict=True))
    least = settings.min_quality if settings.min_quality is not None else _FOUND_FROM * match
    return spec(reference, silhouette, min(max(match, 0.0), 1.0), least, outside, lean)


def _lean_kept(pairs: Sequence[tuple[Seen, Silhouette]], fits: Sequence[tuple[NDArray[np.float64], float]]) -> float:
    """The share of parts whose heavier end came to lie at the left."""
    kept = 0
    for (_, part), (fit, _) in zip(pairs, fits, strict=True):
        axis = math.radians(part.angle_deg)
        kept += bool(fit[0, 0] * math.cos(axis) + fit[1, 0] * math.sin(axis) > 0)
    return kept / len(pairs)


def _text(picture: F32) -> str:
    return base64.b64encode(np.rint(picture).clip(0, 255).astype(np.uint8).tobytes()).decode()


def _scatter(values: Sequence[float]) -> float:
    """Deviation about the median, of the median; a few odd ones do not count."""
    median = float(np.median(values))
    return _NORMAL_MAD * float(np.median(np.abs(np.asarray(values) - median))) / max(median, 1e-9)
