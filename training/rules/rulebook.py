"""What an expert knows about one product, read and checked: regions, scales, words, rules. No files here."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from training.rules.expression import Logic, leaves
from training.rules.features import FEATURES, Scaling
from training.rules.membership import FuzzySet
from training.rules.rule_text import Rule

Mask = NDArray[np.bool_]

# a region with less than this share inside the inspected polygon is no defect of the part
DEFAULT_INSIDE_ROI = 0.5


@dataclass(frozen=True)
class PictureRules:
    """What holds for a defective picture as a whole.

    area: least and largest share of the picture that its defects take together. count: least and largest number of
    separate defects. inside_roi: share of a region that must lie inside the polygon.
    """

    area: tuple[float, float] | None = None
    count: tuple[int, int] | None = None
    inside_roi: float = DEFAULT_INSIDE_ROI


@dataclass(frozen=True)
class RuleBook:
    """The knowledge about one product; an empty one is legal and means plain self-training.

    roi: corners of the inspected polygon as shares of width and height, None for the whole field. scalings, sets: what
    the author defined; everything else is as in FEATURES.
    """

    product: str = ""
    logic: Logic = field(default_factory=Logic)
    roi: tuple[tuple[float, float], ...] | None = None
    picture: PictureRules = field(default_factory=PictureRules)
    scalings: dict[str, Scaling] = field(default_factory=dict)
    sets: dict[str, dict[str, FuzzySet]] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()

    def scaling_of(self, feature: str) -> Scaling:
        return self.scalings.get(feature, FEATURES[feature].scaling)

    def words_of(self, feature: str) -> dict[str, FuzzySet]:
        """Every word that may follow `feature is`; the author's own ones first."""
        own = self.sets.get(feature, {})
        return {**own, **{word: found for word, found in FEATURES[feature].words.items() if word not in own}}

    @property
    def used(self) -> dict[tuple[str, str], FuzzySet]:
        """The sets that rules speak of, by (feature, word), in order of appearance."""
        pairs = [(leaf.feature, leaf.word) for rule in self.rules for leaf in leaves(rule.expression)]
        return {(feature, word): self.words_of(feature)[word] for feature, word in pairs}

    def roi_mask(self, height: int, width: int) -> Mask | None:
        """True inside the polygon, (height, width); None when the whole field is inspected."""
        if self.roi is None:
            return None
        mask = np.zeros((height, width), np.uint8)
        corners = np.array(self.roi) * (width, height) - 0.5
        cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
        return mask.astype(bool)
