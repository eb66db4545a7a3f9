"""The same parts through several networks: what each makes of them, seen once and compared as often as is wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    """A part to be judged: frame uint8 (H, W, 3) BGR; mask (s, s) of its network field where the defect is known."""

    name: str
    frame: U8
    defective: bool
    mask: Mask | None = None


@dataclass(frozen=True)
class Sight:
    """One gate_sample as one backend saw it; thumbnail uint8, BGR."""

    gate_sample: str
    defective: bool
    mask: Mask | None
    thumbnail: U8
    anomaly_map: AnomalyMap


@dataclass
class ScoredModel:
    """A backend with the threshold that was fitted on it; it remembers what it saw of the gate_samples shown to it.

    sights: None before. They hold for every threshold, so a judge with another one may keep them.
    """

    backend: Backend
    threshold: float
    sights: list[Sight] | None = None

    @property
    def named(self) -> dict[str, Any]:
        return {
            "backend": self.backend.name, "model_sha256": self.backend.model_sha256, "threshold": self.threshold,
        }  # fmt: skip


@dataclass(frozen=True)
class Replayed:
    """One gate_sample as both judges saw it; scores are relative to the judge's own threshold: above zero is NG."""

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


def replay(gate_samples: Iterable[GateSample], reference: ScoredModel, candidate: ScoredModel) -> list[Replayed]:
    """Both judges on every gate_sample that an alignment finds; a judge that has seen these before remembers.

    Raises ModelError when one of the networks fails, as it would on the line.
    """
    _show(gate_samples, [judge for judge in (reference, candidate) if judge.sights is None])
    return [
        Replayed(
            name=before.gate_sample,
            defective=before.defective,
            mask=before.mask,
            thumbnail=before.thumbnail,
            reference=before.anomaly_map,
            candidate=after.anomaly_map,
            reference_excess=before.anomaly_map.score - reference.threshold,
            candidate_excess=after.anomaly_map.score - candidate.threshold,
        )
        for before, after in zip(reference.sights or (), candidate.sights or (), strict=True)
    ]


def _show(gate_samples: Iterable[GateSample], judges: Sequence[ScoredModel]) -> None:
    """Every gate_sample is made once, for all of the judges."""
    if not judges:
        return
    sights: list[list[Sight]] = [[] for _ in judges]
    for gate_sample in gate_samples:
        # found or not before a network sees it: such a part says nothing about their difference
        with suppress(PartNotFound):
            maps = [judge.backend.score(gate_sample.frame, StageClock(0)) for judge in judges]
            thumbnail = _thumbnail(gate_sample.frame)
            for seen, anomaly_map in zip(sights, maps, strict=True):
                seen.append(Sight(gate_sample.name, gate_sample.defective, gate_sample.mask, thumbnail, anomaly_map))
    for judge, seen in zip(judges, sights, strict=True):
        judge.sights = seen


def _thumbnail(frame: U8) -> U8:
    scale = _THUMBNAIL_PX / max(frame.shape[:2])
    size = [max(1, round(side * min(1.0, scale))) for side in frame.shape[1::-1]]
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
