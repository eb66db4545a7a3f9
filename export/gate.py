"""The gate: compare the network that would run with the FP32 network on the same parts, each with its own calibration.

It compares verdict by verdict and map by map, and holds the differences against the limits of the settings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge.core.config import GateSettings
from edge.core.datatypes import F32, AnomalyMap
from edge.core.errors import UsageError
from edge.metrics import aupro, image_auroc, region_overlaps
from export.evaluation_set import Mask, of_map
from export.paired_scores import ScoredModel, ScorePair

# shares are compared after arithmetic: 0.71 - 0.705 is a little more than 0.005
_ROUNDING = 1e-9
_RESAMPLES, _CONFIDENCE = 1000, 0.95


@dataclass(frozen=True)
class GateReport:
    """What the comparison found. `exceeded` names every limit that does not hold; none: passed.

    new_rejects, fewer_rejects: good parts that only the candidate, or only the reference, rejects. missed, found: the
    same for defective ones. auroc, aupro: of reference and candidate, None where nothing can be said (no defective
    parts, or no masks). auroc_drop_proven, aupro_drop_proven: what they fall by at least, with 95 % confidence. score
    shifts: change of score minus threshold of good parts, in margins; margin: threshold minus the median good score.
    """

    target: str
    precision: str
    created_utc: str
    reference: dict[str, Any]
    candidate: dict[str, Any]
    defects: str
    normals: int
    defective: int
    flips_allowed: int
    new_rejects: int
    fewer_rejects: int
    missed: int
    found: int
    auroc: tuple[float, float] | None
    auroc_drop_proven: float | None
    aupro: tuple[float, float] | None
    aupro_drop_proven: float | None
    margin: float
    score_shift_mean: float
    score_shift_max: float
    map_correlation: float
    map_difference_max: float
    limits: dict[str, Any]
    exceeded: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.exceeded

    def as_dict(self) -> dict[str, Any]:
        return {"passed": self.passed, **asdict(self)}

    def summary(self) -> list[str]:
        """For a person, a line each."""
        state = "passed" if self.passed else f"REFUSED: {'; '.join(self.exceeded)}"
        lines = [
            f"gate {self.target}, {self.precision}: {state}",
            f"  {self.normals} good parts: {self.new_rejects} newly rejected ({self.flips_allowed} allowed), "
            f"{self.fewer_rejects} no longer; scores shift by {self.score_shift_mean:.1%} of the margin, "
            f"{self.score_shift_max:.1%} at most",
        ]
        if self.auroc is not None:
            pixels = "" if self.aupro is None else f", AUPRO {self.aupro[0]:.4f} to {self.aupro[1]:.4f}"
            lines.append(
                f"  {self.defective} {self.defects}: {self.missed} newly missed, {self.found} newly found; "
                f"image AUROC {self.auroc[0]:.4f} to {self.auroc[1]:.4f}{pixels}"
            )
        return lines


def gate_report(
    pairs: Sequence[ScorePair],
    reference: ScoredModel,
    candidate: ScoredModel,
    limits: GateSettings,
    *,
    budget: float,
    target: str,
    precision: str,
    defects: str,
    created_utc: str,
) -> GateReport:
    """Compare, and hold against the limits; budget: the false-reject budget of the calibration.

    defects: what the defective gate_samples are, for the record. Raises UsageError without good parts.
    """
    normals = [part for part in pairs if not part.defective]
    defective = [part for part in pairs if part.defective]
    if not normals:
        raise UsageError("no good parts to replay", fix="give --data a folder of good parts the network has not seen")
    flips = [part for part in pairs if part.flipped]
    new_rejects = sum(not part.defective and part.candidate_excess > 0 for part in flips)
    missed = sum(part.defective and part.candidate_excess <= 0 for part in flips)
    normal_flips = sum(not part.defective for part in flips)
    share = budget if limits.flip_share is None else limits.flip_share
    allowed = math.floor(share * len(normals) + _ROUNDING)
    more_missed = missed - (len(flips) - normal_flips - missed)
    may_miss = math.floor(limits.missed_share * len(defective) + _ROUNDING)
    auroc = _both(_image_auroc, pairs) if defective else None
    proven = _proven_drop(normals, defective) if defective else None
    masked = bool(defective) and all(part.mask is not None and part.mask.any() for part in defective)
    regions = _both(_aupro, pairs) if masked else None
    regions_proven = _proven_overlap_drop(pairs) if masked else None
    margin = max(-float(np.median([part.reference_excess for part in normals])), 1e-6)
    shifts = np.array([abs(part.candidate_excess - part.reference_excess) for part in normals]) / margin
    exceeded = []
    if new_rejects > allowed:
        exceeded.append(f"{new_rejects} good parts newly rejected, {allowed} allowed")
    if more_missed > may_miss:
        exceeded.append(f"{more_missed} more defective parts missed, {may_miss} allowed")
    if auroc is not None and proven is not None and proven > limits.auroc_drop + _ROUNDING:
        fall = f"image AUROC falls by {auroc[0] - auroc[1]:.4f}, by {proven:.4f} at least"
        exceeded.append(f"{fall}, {limits.auroc_drop:.4f} allowed")
    if regions is not None and regions_proven is not None and regions_proven > limits.aupro_drop + _ROUNDING:
        fall = f"AUPRO falls by {regions[0] - regions[1]:.4f}, by {regions_proven:.4f} at least"
        exceeded.append(f"{fall}, {limits.aupro_drop:.4f} allowed")
    return GateReport(
        target=target,
        precision=precision,
        created_utc=created_utc,
        reference=reference.named,
        candidate=candidate.named,
        defects=defects,
        normals=len(normals),
        defective=len(defective),
        flips_allowed=allowed,
        new_rejects=new_rejects,
        fewer_rejects=normal_flips - new_rejects,
        missed=missed,
        found=len(flips) - normal_flips - missed,
        auroc=auroc,
        auroc_drop_proven=proven,
        aupro=regions,
        aupro_drop_proven=regions_proven,
        margin=margin,
        score_shift_mean=float(shifts.mean()),
        score_shift_max=float(shifts.max()),
        map_correlation=float(np.mean([_correlation(part) for part in pairs])),
        map_difference_max=max(float(np.abs(p.candidate.values - p.reference.values).max()) for p in pairs),
        limits=limits.model_dump(),
        exceeded=tuple(exceeded),
    )


def _both(figure: Any, pairs: Sequence[ScorePair]) -> tuple[float, float]:
    return (
        figure(pairs, [part.reference for part in pairs]),
        figure(pairs, [part.candidate for part in pairs]),
    )


def _image_auroc(pairs: Sequence[ScorePair], maps: Sequence[AnomalyMap]) -> float:
    return image_auroc([part.defective for part in pairs], [anomaly_map.score for anomaly_map in maps])


def _proven_drop(normals: Sequence[ScorePair], defective: Sequence[ScorePair]) -> float:
    """The one-sided lower confidence bound of the AUROC's fall: bootstrap over parts, both models on the same ones.

    With eight good parts one pair that changes places is a quarter of a point; that alone says nothing.
    """

    def orders(model: str) -> F32:
        good, bad = (np.array([getattr(part, model).score for part in parts]) for parts in (normals, defective))
        ahead = bad[:, None] - good[None]
        return np.asarray((np.sign(ahead) + 1) / 2, np.float32)

    change = orders("reference") - orders("candidate")
    random = np.random.default_rng(0)
    rows, columns = (random.integers(0, side, (_RESAMPLES, side)) for side in change.shape)
    falls = [float(change[np.ix_(row, column)].mean()) for row, column in zip(rows, columns, strict=True)]
    return float(np.quantile(falls, 1 - _CONFIDENCE))


def _proven_overlap_drop(pairs: Sequence[ScorePair]) -> float:
    """The same bound for the AUPRO: bootstrap over defective parts, each with what its regions add to it."""
    masks = _masks(pairs)
    before, after = (
        region_overlaps(masks, [getattr(part, model).values for part in pairs]) for model in ("reference", "candidate")
    )
    falls = np.array([(first - second).sum() for first, second in zip(before, after, strict=True) if first.size])
    counts = np.array([areas.size for areas in before if areas.size])
    drawn = np.random.default_rng(0).integers(0, falls.size, (_RESAMPLES, falls.size))
    return float(np.quantile(falls[drawn].sum(axis=1) / counts[drawn].sum(axis=1), 1 - _CONFIDENCE))


def _aupro(pairs: Sequence[ScorePair], maps: Sequence[AnomalyMap]) -> float:
    return aupro(_masks(pairs), [anomaly_map.values for anomaly_map in maps])


def _masks(pairs: Sequence[ScorePair]) -> list[Mask]:
    """Of all parts, of the shape of their maps; empty for good ones."""
    like = pairs[0].reference.values
    empty = np.zeros(like.shape, np.bool_)
    return [empty if part.mask is None else of_map(part.mask, like) for part in pairs]


def _correlation(part: ScorePair) -> float:
    """Pearson's, of the two maps; 1 where both are flat."""
    first, second = (_centred(plane) for plane in (part.reference.values, part.candidate.values))
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return 1.0 if scale < 1e-12 else float((first * second).sum()) / scale


def _centred(plane: F32) -> F32:
    return np.asarray(plane - plane.mean(), np.float32)
