"""The scores that two models give the same parts; a model scores each part once, whatever it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from edge.backends.base import Backend
from edge.core.datatypes import U8, AnomalyMap
from edge.core.errors import PartNotFound
from edge.core.latency import StageClock
from export.evaluation_set import Mask

_THUMBNAIL_PX = 160


@dataclass(frozen=True)
class GateSample:
    """A part to be scored: frame uint8 (H, W, 3) BGR; mask (h, w) of its network field where the defect is known.

    part: pixel hash of the good part that it is, or that the defect was drawn on; None: a part by itself.
    """

    name: str
    frame: U8
    defective: bool
    mask: Mask | None = None
    part: str | None = None


@dataclass(frozen=True)
class SampleScore:
    """The map and the score of one gate sample by one model; thumbnail uint8, BGR."""

    gate_sample: str
    defective: bool
    mask: Mask | None
    thumbnail: U8
    anomaly_map: AnomalyMap


@dataclass
class ScoredModel:
    """A backend with the threshold that was fitted on it, and the scores of the gate samples that it has seen.

    sample_scores: None before any. They hold for every threshold, so that a model with another threshold may keep them.
    judge: by a part's pixel hash, a backend whose memory has not seen it; None: no memory has.
    """

    backend: Backend
    threshold: float
    sample_scores: list[SampleScore] | None = None
    judge: Callable[[str], Backend] | None = None

    def backend_for(self, gate_sample: GateSample) -> Backend:
        """What may judge it."""
        if self.judge is None or gate_sample.part is None:
            return self.backend
        return self.judge(gate_sample.part)

    @property
    def named(self) -> dict[str, Any]:
        return {
            "backend": self.backend.name, "model_sha256": self.backend.model_sha256, "threshold": self.threshold,
        }  # fmt: skip


@dataclass(frozen=True)
class ScorePair:
    """The scores of one gate sample by both models, each relative to the model's own threshold: above zero is NG."""

    name: str
    defective: bool
    mask: Mask | None
    thumbnail: U8
    reference: AnomalyMap
    candidate: AnomalyMap
    reference_excess: float
    candidate_excess: float

    @property
    def flipped(self) -> bool:
        return (self.reference_excess > 0) != (self.candidate_excess > 0)


def score_pairs(gate_samples: Iterable[GateSample], reference: ScoredModel, candidate: ScoredModel) -> list[ScorePair]:
    """Score every gate sample that an alignment finds by both models; a model that has its scores already keeps them.

    Raises ModelError when one of the networks fails, as it would on the line.
    """
    _score(gate_samples, [model for model in (reference, candidate) if model.sample_scores is None])
    return [
        ScorePair(
            name=before.gate_sample,
            defective=before.defective,
            mask=before.mask,
            thumbnail=before.thumbnail,
            reference=before.anomaly_map,
            candidate=after.anomaly_map,
            reference_excess=before.anomaly_map.score - reference.threshold,
            candidate_excess=after.anomaly_map.score - candidate.threshold,
        )
        for before, after in zip(reference.sample_scores or (), candidate.sample_scores or (), strict=True)
    ]


def _score(gate_samples: Iterable[GateSample], models: Sequence[ScoredModel]) -> None:
    """Score the samples by all of the models at once: the iterable makes every sample once."""
    if not models:
        return
    sample_scores: list[list[SampleScore]] = [[] for _ in models]
    for gate_sample in gate_samples:
        # alignment comes before the network: a part that it does not find says nothing about the networks' difference
        with suppress(PartNotFound):
            maps = [model.backend_for(gate_sample).score(gate_sample.frame, StageClock(0)) for model in models]
            thumbnail = _thumbnail(gate_sample.frame)
            for scores, anomaly_map in zip(sample_scores, maps, strict=True):
                scores.append(
                    SampleScore(gate_sample.name, gate_sample.defective, gate_sample.mask, thumbnail, anomaly_map)
                )
    for model, scores in zip(models, sample_scores, strict=True):
        model.sample_scores = scores


def _thumbnail(frame: U8) -> U8:
    scale = _THUMBNAIL_PX / max(frame.shape[:2])
    size = [max(1, round(side * min(1.0, scale))) for side in frame.shape[1::-1]]
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
