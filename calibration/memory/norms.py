"""In deviations of what distances count: of good parts at each place, or over all places; found out by defects.

Where parts lie the same way, some places differ more than others. Where they vary, a place that a part seldom covers
would take every part on it for a defect; yet textures end somewhere too, and are less alike there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.memory.fitting import CrossFit, distance_map, in_deviations
from calibration.memory.places import places_of
from edge.core.datatypes import F32, U8
from edge.metrics import image_auroc
from export.memory_graph import with_memories

# of the places of a part, the farthest so many say how unusual it is
_TOP = 0.01
# of image AUROC, by which the norm over all places must be worse
_CLEARLY = 0.01


def choose_norm(
    model: bytes, fit: CrossFit, altered: U8, origins: NDArray[np.int64], threads: int | None
) -> tuple[CrossFit, str]:
    """The fit with the norm that tells altered parts from good ones, each by memories that have not seen it; in words.

    model: the exported network with its taps as outputs. altered: fields (m, h, w, 3) BGR with artificial defects.
    origins: which of the parts each of them was.
    """
    if not len(altered):
        return fit.judging(False), "in deviations over all places, as no defect could be drawn"
    own = [list(places) for places in places_of(with_memories(model, fit.memories), altered, threads)]
    folds = [fit.folds[fit.fold_of[origin]] for origin in origins]
    distances = [
        np.stack([distance_map(fold[number], places[number]) for fold, places in zip(folds, own, strict=True)])
        for number in range(len(fit.memories))
    ]
    labels = np.repeat([0, 1], [len(fit.fold_of), len(altered)])
    auroc, fits = {}, {by_place: fit.judging(by_place) for by_place in (False, True)}
    for by_place, made in fits.items():
        defective = in_deviations([made.folds[made.fold_of[origin]] for origin in origins], distances)
        scores = np.array([_score(emb_dist) for emb_dist in (*made.held_out, *defective)])
        auroc[by_place] = image_auroc(labels, scores)
    by_place = auroc[True] > auroc[False] + _CLEARLY
    chosen = "at each place" if by_place else "over all places"
    words = f"in deviations {chosen} (image AUROC of artificial defects {auroc[True]:.3f} by place, {auroc[False]:.3f})"
    return fits[by_place], words


def _score(emb_dist: F32) -> float:
    largest = np.sort(emb_dist.ravel())[-max(1, round(_TOP * emb_dist.size)) :]
    return float(largest.mean())
