"""Score paths worth trying: the method's own, by place too, of one blend; and sums of z-scores beside a memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Literal

from edge.core.errors import UsageError
from edge.core.manifest import BlendSpec, ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec
from training.methods.base import Blend, Layout, Method, norm_for

# standard deviation of the smoothing, in pixels of a field of 256 x 256; the usual one first
SIGMAS = (4, 2, 8, 0)
# share of the map that the score is the mean of: of usual defects, of small, large and whole ones, of specks
TOP_SHARES = (0.03, 0.01, 0.07, 0.15, 0.001)
# weight of a head or a residual beside the memory
_BESIDE = (1.0, 0.5, 2.0)
# for sums: at five deviations half of the range is used, so that mixtures of two do not saturate
_TAU = 8.0
# deviations below the usual that stay apart where a map's median is taken off
_LIFT = 3.0
_REFERENCE_SIDE = 256
_NONE = ResidualSpec()


def sum_candidates(
    outputs: Collection[str],
    shape: tuple[int, int],
    layout: Layout,
    residuals: Mapping[str, ResidualSpec] | None = None,
) -> dict[str, ScoreSpec]:
    """Each evidence alone, and sums of their z-scores, in the order in which equals are preferred: the memory first.

    outputs: of the network, `emb_dist` being the memory's distance. shape: (height, width) of the field. residuals: by
    name, of a network with `recon`.
    """
    side = math.sqrt(shape[0] * shape[1])
    norm = norm_for(layout).model_copy(update={"tau": _TAU})
    candidates: dict[str, ScoreSpec] = {}
    seen = set()
    # a fine map costs more, and says more only where there is something fine to see
    scales: tuple[Literal[2, 4], ...] = (4,) if set(outputs) == {"emb_dist"} else (4, 2)
    for scale, (evidence, blend, residual), sigma, share in itertools.product(
        scales, _mixtures(outputs, residuals or {}), SIGMAS, TOP_SHARES
    ):
        rows, columns = shape[0] // scale, shape[1] // scale
        radius = round(sigma * side / _REFERENCE_SIDE / scale)
        spec = ScoreSpec(
            map_scale=scale,
            residual=residual,
            norm=norm,
            blend=blend,
            smooth=SmoothSpec(kind="gaussian", radius=radius) if radius else SmoothSpec(kind="none", radius=0),
            image_score=ImageScoreSpec(k=max(1, round(share * rows * columns)), minus_median=blend.lift > 0),
        )
        median = " minus median" if spec.image_score.minus_median else ""
        name = f"{evidence}, {columns}x{rows} map, sigma {radius * scale} px, top {100 * share:g} %{median}"
        # on a small map several widths round to one
        if spec not in seen:
            candidates[name] = spec
            seen.add(spec)
    return candidates


def _mixtures(
    outputs: Collection[str], residuals: Mapping[str, ResidualSpec]
) -> Iterator[tuple[str, BlendSpec, ResidualSpec]]:
    """What is summed, by name, with the weights and the residual; last the same with the median taken off."""
    memory, logit = "emb_dist" in outputs, "seg_logit" in outputs
    alone = [("memory", _sum(gamma=1), _NONE)] if memory else []
    alone += [("logit", _sum(beta=1), _NONE)] if logit else []
    alone += [(f"residual ({name})", _sum(alpha=1), residual) for name, residual in residuals.items()]
    yield from alone
    if memory and logit:
        for weight in _BESIDE:
            yield f"memory + {weight:g} logit", _sum(beta=weight, gamma=1), _NONE
    for name, residual in residuals.items():
        if memory:
            for weight in _BESIDE:
                yield f"memory + {weight:g} residual ({name})", _sum(alpha=weight, gamma=1), residual
        if logit:
            yield f"logit + residual ({name})", _sum(alpha=1, beta=1), residual
        if memory and logit:
            yield f"memory + logit + residual ({name})", _sum(alpha=1, beta=1, gamma=1), residual
    yield from ((name, blend.model_copy(update={"lift": _LIFT}), residual) for name, blend, residual in alone)


def _sum(alpha: float = 0, beta: float = 0, gamma: float = 0) -> BlendSpec:
    return BlendSpec(mode="sum", alpha=alpha, beta=beta, gamma=gamma)


def score_candidates(
    method: Method, variant: str, shape: tuple[int, int], layout: Layout, blend: Blend | None = None
) -> dict[str, ScoreSpec]:
    """By name, in the order in which equals are preferred; blend: only those that blend so.

    Raises UsageError when there is none.
    """
    plan = method.variants[variant]
    if plan.scores:
        candidates = dict(plan.scores)
    elif plan.pretrained:
        candidates = sum_candidates(plan.outputs or method.outputs, shape, layout, plan.residuals)
    else:
        candidates = method.score_candidates(shape[0], layout)
    if layout == "free":
        candidates |= by_place(candidates)
    if blend is None:
        return candidates
    chosen = {name: spec for name, spec in candidates.items() if spec.blend.mode == blend}
    if not chosen:
        modes = ", ".join(sorted({spec.blend.mode for spec in candidates.values()}))
        raise UsageError(f"{method.name} has no score path that blends by {blend}", fix=f"choose one of: {modes}")
    return chosen


def by_place(candidates: dict[str, ScoreSpec]) -> dict[str, ScoreSpec]:
    """Those that weigh a residual, with statistics for each place.

    Pictures of textures end somewhere too: at the edge of a part, or of its lighting, good parts differ more.
    """
    return {
        f"{name}, by place": spec.model_copy(update={"norm": spec.norm.model_copy(update={"kind": "pixel"})})
        for name, spec in candidates.items()
        if spec.residual.used and spec.norm.kind == "global"
    }


def distances_by_place(candidates: dict[str, ScoreSpec]) -> dict[str, ScoreSpec]:
    """With statistics of distances for each place of the frame: for tiles of parts that always lie the same way."""
    update = {"distances": "by_place"}
    return {
        name: spec.model_copy(update={"norm": spec.norm.model_copy(update=update)}) for name, spec in candidates.items()
    }
