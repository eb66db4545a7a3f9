"""SLSG with a pre-trained encoder: a graph over its features, and a head that artificial anomalies teach.

The published encoder is pre-trained and frozen too. Its stage `position` taught encoder and graph together; here the
encoder stays as it is, because the memory is fitted to what it sees, and so there is nothing left for that stage.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from training.defects.logical_components import Anatomy, anatomy_of
from training.losses import at_grid, head_loss
from training.methods.base import Batch, Design, Draws, Stage, TrainingData, Variant, seeded
from training.methods.logical import with_grafts, with_logical
from training.methods.pretrained.album import SeeingLearner, SeenBatch
from training.networks.pretrained import RelatedHead

# share of altered pictures that are logical anomalies
_LOGICAL = 0.35

PRETRAINED = Variant(
    256,
    (Stage("anomalies", 250, 8, 2e-3, preset="head_aligned", free_preset="head_free", cached=512),),
    pretrained=True,
    takes_weights=True,
    outputs=("seg_logit", "emb_dist"),
    ablations=("graph", "dense", "sparse", "logical"),
)


class SlsgSeeingLearner(SeeingLearner):
    """Trains graph and head."""

    network: RelatedHead

    def __init__(self, design: Design, field: tuple[int, int]) -> None:
        super().__init__(RelatedHead(field, aligned=design.layout == "aligned", ablations=design.ablations))
        # components and places mean something only where parts always lie the same way
        self.logical = "logical" not in design.ablations and design.layout == "aligned"
        self._anatomy: Anatomy | None = None

    def attach(self, data: TrainingData) -> None:
        super().attach(data)
        if self.logical:
            self._anatomy = anatomy_of(data.normals, seeded(0))

    def altered(self, stage: Stage, batch: Batch, source: Draws) -> Batch:
        """Some of the defects become logical anomalies, and some of the good parts carry a harmless graft."""
        if self._anatomy is None:
            return batch
        drawn = batch.masks.flatten(1).any(1)
        pictures, masks = with_logical(batch, self._anatomy, source.random, _LOGICAL)
        grafted = with_grafts(batch.corrupted, self._anatomy, source.random)
        pictures = torch.where(drawn.view(-1, 1, 1, 1), pictures, grafted)
        return replace(batch, corrupted=pictures, masks=masks * drawn.view(-1, 1, 1, 1))

    def seen_losses(self, stage: Stage, batch: SeenBatch, share: float) -> dict[str, Tensor]:
        logit = self.network.logit(self.noisy(batch.seen))
        return {"total": head_loss(logit, at_grid(batch.masks, logit))}
