"""What good parts look like: levels of z, and quantiles of the features of their candidate regions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edge.core.datatypes import F32, U8
from edge.core.errors import UsageError
from training.labelling.contrast import NormalContrast, normal_contrast
from training.labelling.region_features import RawFeatures, measure
from training.labelling.regions import candidate_regions
from training.rules.expression import Is
from training.rules.features import FEATURES, QUANTILE_SHARES
from training.rules.membership import F64, Membership
from training.rules.rulebook import Mask, RuleBook

LEVEL_QUANTILES = (0.95, 0.98, 0.99, 0.995, 0.999)
# the quartiles of these fit `auto` sets: the regions of highest mean z in each weak part
_STRONGEST_EACH = 3


@dataclass(frozen=True)
class NormalReference:
    """levels: z of good parts' pixels at LEVEL_QUANTILES. quantiles: raw feature → values at QUANTILE_SHARES over the
    candidate regions of good parts; empty while there are none. quartiles: raw feature → lower and upper quartile of
    the strongest regions of weak parts, once `with_weak_parts` has seen them. contrast: of good parts, for candidates
    that the picture itself gives; None: there are none of those.
    """

    levels: tuple[float, ...]
    quantiles: dict[str, F64] = field(default_factory=dict)
    pictures: int = 0
    regions: int = 0
    quartiles: dict[str, tuple[float, float]] = field(default_factory=dict)
    contrast: NormalContrast | None = None

    def scaled(self, book: RuleBook, raw: RawFeatures) -> RawFeatures:
        """Every feature on the book's scale of 0..1."""
        return {name: book.scaling_of(name)(raw[name], self.quantiles.get(name)) for name in raw}

    def membership(self, book: RuleBook, leaf: Is) -> Membership:
        """The set that a condition of a rule names, with numbers; raises UsageError for `auto` before weak parts."""
        name = leaf.feature
        found = book.words_of(name)[leaf.word]
        quantiles, scaling = self.quantiles.get(name), book.scaling_of(name)
        if found.shape == "auto" and name not in self.quartiles:
            raise UsageError(
                f"`{name} is {leaf.word}` is `{found}`: it is fitted to pictures of defects, and there are none",
                fix="put pictures of defective parts into train/weak/, or write the set's numbers",
            )

        def scaled_quantile(share: float) -> float:
            if quantiles is None:
                return share
            return float(scaling(np.interp(share, QUANTILE_SHARES, quantiles), quantiles))

        strongest = None
        if name in self.quartiles:
            lower, upper = (float(scaling(value, quantiles)) for value in self.quartiles[name])
            strongest = (lower, upper)
        return found.bound(FEATURES[name].circular, scaled_quantile, strongest)


def fit_reference(pictures: Sequence[U8], zmaps: Sequence[F32], roi: Mask | None = None) -> NormalReference:
    """Learn from good parts: pictures uint8 (h, w, 3) BGR, their z-maps float32 (h, w), all of one size.

    roi: bool (h, w), True where the part is inspected. The same pictures in the same order give the same numbers.
    """
    if len(pictures) == 0:
        raise ValueError("a reference needs at least one good part")
    for picture, zmap in zip(pictures, zmaps, strict=True):
        check_pair(picture, zmap)
    inspected = np.concatenate([np.ravel(zmap if roi is None else zmap[roi]) for zmap in zmaps])
    levels = tuple(float(level) for level in np.quantile(inspected, LEVEL_QUANTILES))
    found = [measure(p, candidate_regions(z, levels, roi), roi) for p, z in zip(pictures, zmaps, strict=True)]
    raw = _joined(found)
    regions = len(raw["grey"])
    quantiles = {name: np.quantile(raw[name], QUANTILE_SHARES) for name in FEATURES} if regions else {}
    return NormalReference(levels, quantiles, len(pictures), regions, contrast=normal_contrast(pictures, roi))


def with_weak_parts(
    reference: NormalReference, pictures: Iterable[U8], zmaps: Iterable[F32], roi: Mask | None = None
) -> NormalReference:
    """The reference, and where the strongest regions of defective parts lie; `auto` sets need it."""
    found = []
    for picture, zmap in zip(pictures, zmaps, strict=True):
        check_pair(picture, zmap)
        candidates = candidate_regions(zmap, reference.levels, roi)
        strongest = sorted(candidates, key=lambda candidate: -candidate.mean_z)[:_STRONGEST_EACH]
        found.append(measure(picture, strongest, roi))
    raw = _joined(found)
    if len(raw["grey"]) == 0:
        return reference
    quartiles = {name: (float(low), float(high)) for name, (low, high) in _quartiles(raw).items()}
    return replace(reference, quartiles=quartiles)


def check_pair(picture: U8, zmap: F32) -> None:
    """Raises ValueError unless this is a picture and a finite z-map of the same size."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"need uint8 (h, w, 3), got {picture.dtype} {picture.shape}")
    if zmap.shape != picture.shape[:2]:
        raise ValueError(f"the z-map is {zmap.shape}, its picture {picture.shape[:2]}")
    if not np.isfinite(zmap).all():
        raise ValueError("the z-map holds values that are not finite")


def _joined(found: list[RawFeatures]) -> RawFeatures:
    return {name: np.concatenate([np.empty(0), *(raw[name] for raw in found)]) for name in FEATURES}


def _quartiles(raw: RawFeatures) -> dict[str, F64]:
    return {name: np.quantile(raw[name], (0.25, 0.75)) for name in FEATURES}
