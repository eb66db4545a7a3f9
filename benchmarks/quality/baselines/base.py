"""What a detector without a network is, and the way of those that give a map: the bundle's own score path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from benchmarks.quality.baselines.alignment import Alignment, alignment_of, moved
from benchmarks.quality.predictions import Prediction
from edge.core.datatypes import F32, U8
from edge.core.errors import UsageError
from edge.core.manifest import ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec
from edge.kernels.cpu import CpuScorePath, NetworkOutputs, NormalStatistics
from edge.kernels.statistics import cross_fitted_paths, normal_statistics
from edge.preprocessing.normal_samples import MINIMUM_HELD_OUT, held_out_split
from edge.preprocessing.preprocess import Preprocess

Group = Literal["network-free", "trivial"]
_LEAST_LEARNED = 5


@dataclass(frozen=True)
class Fitting:
    """How a baseline is fitted: the share of good parts it may reject, and the split of good parts by seed.

    budget None: what its held-out good parts support.
    """

    budget: float | None
    seed: int


class Baseline(Protocol):
    """A detector of a few lines of arithmetic. Scores lie in 0..1, larger = more unusual."""

    @property
    def name(self) -> str: ...
    @property
    def group(self) -> Group: ...
    @property
    def needs_reference(self) -> bool:
        """Whether every picture must come with its golden sample."""

    @property
    def held_out(self) -> F32 | None:
        """Of the image score, from held-out good parts; None before `fit`, and where none can be had."""

    def fit(self, normals: Sequence[U8], fitting: Fitting) -> None:
        """Learn from good parts, uint8 (H, W, 3) BGR; some of them are held out for the threshold."""

    def score(self, picture: U8, reference: U8 | None = None) -> Prediction:
        """Score one picture; reference: its golden sample, where there is one."""


class ErrorModel(Protocol):
    """What differs between the baselines with a map: how far each place of a field is from what is expected there."""

    @property
    def name(self) -> str: ...
    @property
    def in_tolerances(self) -> bool:
        """Whether errors are in units of what is tolerable; else good parts say what is usual."""

    def fit(self, fields: U8) -> None:
        """Learn from fields uint8 (n, s, s, 3) BGR."""

    def error(self, field: U8) -> F32:
        """float32 (s, s), 0 or more."""


def score_spec(shape: tuple[int, int]) -> ScoreSpec:
    """The score path's defaults, in proportion to the field: nothing is tuned."""
    area = shape[0] * shape[1]
    return ScoreSpec(
        residual=ResidualSpec(w_l1=1.0),
        smooth=SmoothSpec(kind="box", radius=max(1, round(10 * math.sqrt(area) / 256))),
        image_score=ImageScoreSpec(k=max(1, round(100 * area / 65536))),
    )


class ScoredErrors:
    """Errors → maps and scores, through the same evidence, smoothing and top-k mean as a bundle's residual."""

    def __init__(self, preprocess: Preprocess, statistics: NormalStatistics) -> None:
        self._preprocess, self._statistics = preprocess, statistics
        self._spec = score_spec(preprocess.shape)
        self._paths: dict[tuple[int, int], CpuScorePath] = {}

    def prediction(self, error: F32, height: int, width: int) -> Prediction:
        """Of the error of a picture of this size."""
        path = self._paths.get((height, width))
        if path is None:
            weight = self._preprocess.weight(height, width)
            path = CpuScorePath(self._spec, self._preprocess.shape, self._statistics, weight=weight)
            self._paths[height, width] = path
        anomaly_map = path.score_error(error, NetworkOutputs())
        return Prediction(anomaly_map.score, anomaly_map.values)


def tolerances(shape: tuple[int, int]) -> NormalStatistics:
    """Statistics for errors that are in tolerances already: they stay as they are."""
    return NormalStatistics(np.zeros(shape, np.float32), np.ones(shape, np.float32))


class MapBaseline:
    """Baseline protocol over an ErrorModel: aligned fields, statistics and threshold from held-out good parts."""

    group: Group = "network-free"
    needs_reference = False

    def __init__(self, model: ErrorModel, preprocess: Preprocess) -> None:
        self.model = model
        self.held_out: F32 | None = None
        self._preprocess = preprocess
        self._alignment = Alignment()
        self._scored: ScoredErrors | None = None

    @property
    def name(self) -> str:
        return self.model.name

    def fit(self, normals: Sequence[U8], fitting: Fitting) -> None:
        learned, held_out = split_normals(normals, fitting.seed)
        fields = np.stack([self._preprocess.field(picture) for picture in learned])
        self._alignment = alignment_of(fields)
        self.model.fit(np.stack([self._alignment.aligned(field)[0] for field in fields]))
        kept = np.stack([self._error(picture) for picture in held_out])
        spec, shape = score_spec(self._preprocess.shape), self._preprocess.shape
        nothing = [NetworkOutputs()] * len(kept)
        if self.model.in_tolerances:
            self._scored = ScoredErrors(self._preprocess, tolerances(shape))
            scores = [self.score(picture).score for picture in held_out]
        else:
            seen = np.stack([self._error(picture) for picture in learned])
            self._scored = ScoredErrors(self._preprocess, normal_statistics(spec, kept, nothing, seen))
            weight = self._preprocess.weight(*held_out[-1].shape[:2])
            paths = cross_fitted_paths(spec, kept, nothing, weight, seen)
            scores = [path.score_error(error, NetworkOutputs()).score for path, error in zip(paths, kept, strict=True)]
        self.held_out = np.array(scores, np.float32)

    def score(self, picture: U8, reference: U8 | None = None) -> Prediction:
        assert self._scored is not None, "fit comes first"
        return self._scored.prediction(self._error(picture), *picture.shape[:2])

    def _error(self, picture: U8) -> F32:
        """Aligned to compare, and moved back: the map lies over the picture."""
        field, offset = self._alignment.aligned(self._preprocess.field(picture))
        return moved(self.model.error(field), (-offset[0], -offset[1]))


def split_normals(normals: Sequence[U8], seed: int) -> tuple[list[U8], list[U8]]:
    """(learned from, held out), as training splits them; raises UsageError for too few."""
    if len(normals) < MINIMUM_HELD_OUT + _LEAST_LEARNED:
        raise UsageError(
            f"{len(normals)} different good parts, at least {MINIMUM_HELD_OUT + _LEAST_LEARNED} are needed",
            fix="take more pictures of good parts",
        )
    learned, held_out = held_out_split(len(normals), seed)
    return [normals[int(i)] for i in learned], [normals[int(i)] for i in held_out]
