"""What a rule can speak about: the features of a region, their scales of 0..1, and the words that come with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from training.rules.membership import F64, FuzzySet, set_from_text

# quantiles of good parts' regions that a reference keeps, 0 to 100 %
QUANTILE_SHARES = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Scaling:
    """How a raw feature becomes 0..1, clipped.

    range: linear between low and high. log: logarithmic between them. normal: the share of good parts' regions whose
    value is below; linear between low and high while there are none.
    """

    kind: Literal["range", "log", "normal"]
    low: float
    high: float

    def __str__(self) -> str:
        return self.kind if self.kind == "normal" else f"{self.kind} {self.low:g} {self.high:g}"

    def __call__(self, raw: ArrayLike, quantiles: F64 | None = None) -> F64:
        """quantiles: raw values of good parts' regions at QUANTILE_SHARES; None when there are none."""
        values = np.asarray(raw, np.float64)
        if self.kind == "normal" and quantiles is not None:
            # the middle of both sides: many regions may share one value, and it is neither low nor high then
            below = np.searchsorted(quantiles, values, "left")
            upto = np.searchsorted(quantiles, values, "right")
            between = np.interp(values, quantiles, QUANTILE_SHARES)
            tied = (below + upto - 1) / 2 / (len(quantiles) - 1)
            return np.asarray(np.where(upto > below, tied, between))
        if self.kind == "log":
            floor = np.maximum(values, self.low)
            return np.asarray(np.clip(np.log(floor / self.low) / np.log(self.high / self.low), 0, 1))
        return np.asarray(np.clip((values - self.low) / (self.high - self.low), 0, 1))


@dataclass(frozen=True)
class Feature:
    """One thing that is measured on every region; `meaning` is for people."""

    name: str
    meaning: str
    scaling: Scaling
    words: dict[str, FuzzySet] = field(default_factory=dict)
    circular: bool = False

    def __post_init__(self) -> None:
        self.words.update({word: found for word, found in _COMMON_WORDS.items() if word not in self.words})


# every feature has these, if it does not say otherwise itself
_COMMON_WORDS = {
    "low": set_from_text("trapezoid 0 0 0.2 0.4"),
    "medium": set_from_text("trapezoid 0.2 0.4 0.6 0.8"),
    "high": set_from_text("trapezoid 0.6 0.8 1 1"),
}


def _feature(
    name: str,
    meaning: str,
    kind: Literal["range", "log", "normal"] = "range",
    between: tuple[float, float] = (0.0, 1.0),
    *,
    circular: bool = False,
    **words: str,
) -> Feature:
    sets = {word: set_from_text(text) for word, text in words.items()}
    return Feature(name, meaning, Scaling(kind, *between), sets, circular)


_LEFT, _MIDDLE, _RIGHT = "trapezoid 0 0 0.25 0.4", "trapezoid 0.25 0.4 0.6 0.75", "trapezoid 0.6 0.75 1 1"

_ALL = (
    _feature("grey", "mean grey value", dark="trapezoid 0 0 0.2 0.4", bright="trapezoid 0.6 0.8 1 1"),
    _feature("contrast", "difference of grey to a ring of 5 px around, either way", between=(0, 0.3)),
    _feature("darker", "how much darker than the ring around", between=(0, 0.3)),
    _feature("brighter", "how much brighter than the ring around", between=(0, 0.3)),
    _feature(
        "hue", "mean colour on the colour circle; means nothing where saturation is low", circular=True,
        red="trapezoid -0.12 -0.06 0.03 0.07", orange="trapezoid 0.03 0.06 0.1 0.13",
        yellow="trapezoid 0.1 0.14 0.19 0.23", green="trapezoid 0.19 0.25 0.42 0.48",
        cyan="trapezoid 0.42 0.47 0.53 0.58", blue="trapezoid 0.53 0.58 0.7 0.76",
        violet="trapezoid 0.7 0.76 0.88 0.94",
    ),
    _feature(
        "saturation", "mean strength of colour",
        colourless="trapezoid 0 0 0.1 0.2", colourful="trapezoid 0.3 0.5 1 1",
    ),
    _feature(
        "area", "share of the picture", "log", (0.0003, 0.3),
        small="trapezoid 0 0 0.3 0.5", large="trapezoid 0.6 0.8 1 1",
    ),
    _feature(
        "elongation", "1 - short axis / long axis: 0 for a disc, 0.9 for ten to one",
        compact="trapezoid 0 0 0.4 0.6", elongated="trapezoid 0.5 0.75 1 1",
    ),
    _feature(
        "thickness", "its thickest place, as a share of the picture's side", "log", (0.008, 0.25),
        thin="trapezoid 0 0 0.3 0.5", thick="trapezoid 0.5 0.7 1 1",
    ),
    _feature(
        "orientation", "angle of the long axis, 0 to 180 degrees against the horizontal", circular=True,
        horizontal="gaussian 0 0.08", vertical="gaussian 0.5 0.08", rising="gaussian 0.25 0.08",
        falling="gaussian 0.75 0.08",
    ),
    _feature(
        "solidity", "share of its convex hull that it fills",
        ragged="trapezoid 0 0 0.5 0.7", solid="trapezoid 0.7 0.85 1 1",
    ),
    _feature("extent", "share of its bounding box that it fills"),
    _feature(
        "gradient", "mean steepness of grey inside", "normal", (0, 0.1),
        flat="trapezoid 0 0 0.2 0.4", steep="trapezoid 0.6 0.8 1 1",
    ),
    _feature(
        "texture", "mean local spread of grey inside (5 px)", "normal", (0, 0.15),
        smooth="trapezoid 0 0 0.2 0.4", rough="trapezoid 0.6 0.8 1 1",
    ),
    _feature(
        "border_distance", "distance to the nearest border of the inspected field, as a share of half its side",
        touching="trapezoid 0 0 0.03 0.08", near="trapezoid 0 0 0.1 0.25", far="trapezoid 0.25 0.5 1 1",
    ),
    _feature("x", "centre, from the left", left=_LEFT, centre=_MIDDLE, right=_RIGHT),
    _feature("y", "centre, from the top", top=_LEFT, centre=_MIDDLE, bottom=_RIGHT),
    _feature("mean_z", "mean residual, in standard deviations of good parts", between=(0, 10)),
    _feature("max_z", "highest residual, in standard deviations of good parts", between=(0, 10)),
    _feature(
        "count", "regions of the same level, grey (±0.1) and size (a quarter to four times) in this picture", "log",
        (1, 32), single="trapezoid 0 0 0.05 0.2", many="trapezoid 0.5 0.7 1 1",
    ),
)  # fmt: skip

FEATURES: dict[str, Feature] = {feature.name: feature for feature in _ALL}
