"""Golden template: each picture has a defect-free reference of its own, as printed circuits have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.quality.baselines.base import Fitting, Group
from benchmarks.quality.predictions import Prediction
from edge.backends.golden import compared_levels
from edge.core.datatypes import F32, U8
from edge.core.errors import UsageError
from edge.core.manifest import ComparisonSpec
from edge.preprocessing.preprocess import Preprocess


class GoldenTemplate:
    """Baseline protocol: the comparison with a golden picture that a bundle makes beside its network, alone.

    Good parts of train/good have no reference, so there is no threshold.
    """

    name = "golden template"
    group: Group = "network-free"
    needs_reference = True
    held_out: F32 | None = None

    def __init__(self, preprocess: Preprocess) -> None:
        self._preprocess = preprocess

    def fit(self, normals: Sequence[U8], fitting: Fitting) -> None:
        """Nothing is learned: the reference says it all."""

    def score(self, picture: U8, reference: U8 | None = None) -> Prediction:
        if reference is None:
            raise UsageError("a picture has no golden sample", fix="put one at the same place under reference/")
        levels = compared_levels(picture, reference, self._preprocess, self._preprocess.shape, ComparisonSpec())
        return Prediction(float(levels.max()) / 255, levels / np.float32(255))
