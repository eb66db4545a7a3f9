"""Choose a score path on held-out normal samples and artificial defects; test pictures are never used."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from edge.core.datatypes import F32
from edge.core.manifest import ResidualSpec, ScoreSpec
from edge.kernels.cpu import CpuScorePath, NetworkOutputs
from edge.kernels.statistics import cross_fitted_paths, residual_errors
from edge.metrics import image_auroc
from training.data.augmentation import crop_places, cut
from training.defects import DefectGenerator, DefectPreset

SELECTION_RULE = (
    "score path: image AUROC of artificial defects, of families not trained on, on held-out normals against those "
    "normals, cross-fitted; the smallest map within 0.005 of the best, then the best; weights: averaged, "
    "those with the lowest validation loss where a stage keeps the best"
)
# of training.defects.PRESETS: families that no training draws
JUDGED_BY = "judging"
# a map of half the side costs a quarter: it is taken unless the difference could be seen
_EQUAL_AUROC = 0.005
# with fewer, the best of so many score paths is the luckiest
_DEFECTIVE = 192
_BATCH = 16
# outputs that a score path reads; a network with a pre-trained encoder hands on its taps beside them
_SCORED = ("recon", "seg_logit", "emb_dist")
# errors of so many residuals are kept: score paths that differ later alone share them
_KEPT_ERRORS = 8
# trained-on parts looked at: enough to say where good parts differ
_TRAINED = 128
# on the sheet: normals, and parts with artificial defects
_SHOWN_NORMALS, _SHOWN_DEFECTIVE = 2, 6


class Examples(NamedTuple):
    """Held-out normals, plain and with artificial defects, and what the chosen path needs to score each."""

    pictures: Tensor
    masks: Tensor
    outputs: list[NetworkOutputs]
    paths: list[CpuScorePath]


@dataclass(frozen=True)
class Choice:
    """The score path chosen, and the AUROC of every candidate on held-out normals and artificial defects."""

    name: str
    spec: ScoreSpec
    auroc: dict[str, float]
    examples: Examples = field(compare=False)


def choose_score(
    network: nn.Module,
    candidates: dict[str, ScoreSpec],
    held_out: Tensor,
    trained: Tensor,
    preset: DefectPreset,
    seed: int,
    roi: Tensor | None = None,
    crop: int | None = None,
) -> Choice:
    """held_out, trained: (n, 3, s, s) in 0..1 on the network's device; statistics are fitted as in calibration.

    roi: (1, 1, s, s), 1 where the map is scored and defects are drawn. crop: defects are drawn in squares of this side,
    as large as training saw them; None: as large as the field lets them be. Fields have any aspect.
    """
    count = held_out.shape[0]
    repeats = -(-_DEFECTIVE // count)
    defective_only = replace(preset, clean_share=0.0)
    region = None if roi is None else roi.cpu()
    weight = None if region is None else region[0, 0].numpy()
    plain = held_out.cpu().repeat(repeats, 1, 1, 1)
    defective, masks = draw_in_squares(DefectGenerator(defective_only, seed), plain, region, crop)
    pictures = torch.cat([held_out.cpu(), defective])
    images = (pictures * 2 - 1).numpy()
    outputs = run_network(network, torch.from_numpy(images).to(held_out.device))
    some = trained[torch.linspace(0, trained.shape[0] - 1, min(_TRAINED, trained.shape[0])).round().long()]
    seen_images, seen_outputs = list((some.cpu() * 2 - 1).numpy()), run_network(network, some * 2 - 1)
    labels = np.repeat([0, 1], [count, count * repeats])

    @lru_cache(maxsize=_KEPT_ERRORS)
    def errors_of(residual: ResidualSpec, map_scale: Literal[1, 2]) -> tuple[F32, F32]:
        spec = ScoreSpec(residual=residual, map_scale=map_scale)
        held = residual_errors(spec, list(images[:count]), outputs[:count])
        return held, residual_errors(spec, seen_images, seen_outputs)

    def fitted(spec: ScoreSpec) -> list[CpuScorePath]:
        errors, seen = errors_of(spec.residual, spec.map_scale)
        paths = cross_fitted_paths(spec, errors, outputs[:count], weight, trained=seen)
        return [paths[index % count] for index in range(len(images))]

    auroc = {}
    for name, spec in candidates.items():
        scores = [p.score(i, o).score for p, i, o in zip(fitted(spec), images, outputs, strict=True)]
        auroc[name] = image_auroc(labels, np.array(scores))
    limit = max(auroc.values()) - _EQUAL_AUROC
    chosen = max((name for name in auroc if auroc[name] >= limit), key=lambda n: (candidates[n].map_scale, auroc[n]))
    shown = [*range(min(_SHOWN_NORMALS, count)), *range(count, count + min(_SHOWN_DEFECTIVE, count * repeats))]
    paths = fitted(candidates[chosen])
    all_masks = torch.cat([torch.zeros_like(held_out[:, :1]).cpu(), masks])
    examples = Examples(pictures[shown], all_masks[shown], [outputs[i] for i in shown], [paths[i] for i in shown])
    return Choice(chosen, candidates[chosen], auroc, examples)


def draw_in_squares(
    generator: DefectGenerator, plain: Tensor, region: Tensor | None, crop: int | None
) -> tuple[Tensor, Tensor]:
    """Each picture (n, 3, s, s) with a defect in a square of `crop` pixels of it, and masks (n, 1, s, s)."""
    if crop is None or plain.shape[2:] == (crop, crop):
        return generator(plain, region)
    places = crop_places(plain, crop, generator.random)
    pictures, masks = plain.clone(), torch.zeros_like(plain[:, :1])
    for number, (place, *altered) in enumerate(zip(places, *generator(cut(plain, places)), strict=True)):
        pictures[number][place], masks[number][place] = altered
    return pictures, masks


def run_network(network: nn.Module, images: Tensor) -> list[NetworkOutputs]:
    """Outputs in float32 for pictures (n, 3, s, s) in -1..1, in evaluation mode."""
    network.eval()
    results = []
    with torch.no_grad():
        for batch in torch.split(images, _BATCH):
            named = {name: values.float().cpu().numpy() for name, values in network(batch).items()}
            for index in range(batch.shape[0]):
                planes = {
                    name: values[index] if values.shape[1] == 3 else values[index, 0]
                    for name, values in named.items()
                    if name in _SCORED
                }
                results.append(NetworkOutputs(**planes))
    return results
