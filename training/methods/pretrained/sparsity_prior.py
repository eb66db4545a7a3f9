"""The sparsity prior with a pre-trained encoder: one encoder looks at the picture and at its repair, and compares.

Stage `generator` is the one of the method: a small trunk repairs altered parts, pixel by pixel. Stage `segmenter` reads
the encoder's features of the picture, those of the repair and their difference, all in one space.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from edge.core.manifest import ResidualSpec
from training.data.augmentation import with_sensor_noise
from training.losses import at_grid, head_loss, sparsity_loss, total_variation
from training.methods.base import Batch, Design, Layout, Stage, TrainingData, Variant, network_range, norm_for, seeded
from training.methods.pretrained.album import Album, Seeing, SeenBatch
from training.methods.sparsity_learner import SparsityLearner
from training.networks.pretrained import SiameseSegmenter

# of artificial masks: the encoder makes them worth more than a segmenter from scratch does
_SYNTHETIC = 0.5
# varied copies of weak parts that are looked at
_WEAK_COPIES, _AT_ONCE = 192, 16
_WEAK_SEED = 2000
# widths and bottleneck of the generator, small: a step of it costs more than all of the second stage's
_GENERATORS: dict[Layout, tuple[tuple[int, ...], int]] = {
    "aligned": ((16, 24, 32, 48, 64), 6),
    "free": ((16, 24, 48), 32),
}
_DISCRIMINATOR = (16, 32, 64)

PRETRAINED = Variant(
    256,
    (
        Stage("generator", 300, 6, 3e-3),
        Stage("segmenter", 250, 8, 2e-3, preset="head_aligned", free_preset="head_free", cached=384),
    ),
    bend=0.04,
    pretrained=True,
    takes_weights=True,
    outputs=("recon", "seg_logit", "emb_dist"),
    residuals={
        "structure": ResidualSpec(w_l2=0.3, w_ssim=0.7),
        "intensity+gradient+colour": ResidualSpec(w_l1=1.0, w_gms=0.3, w_col=3.0),
    },
)


class SparsitySeeingLearner(Seeing, SparsityLearner):
    """Trains generator and segmenter, one after the other; ablations: see SparsityPrior."""

    network: SiameseSegmenter
    keeps = ("corrupted",)

    def __init__(self, design: Design, field: tuple[int, int]) -> None:
        super().__init__(
            SiameseSegmenter(*_GENERATORS[design.layout]),
            field,
            norm_for(design.layout),
            None if "adversary" in design.ablations else _DISCRIMINATOR,
            design.ablations,
        )
        self._synthetic = 0.0 if "synthetic" in design.ablations else _SYNTHETIC
        self._weak: Album | None = None

    def attach(self, data: TrainingData) -> None:
        super().attach(data)
        self.weights_sha256 = self.encoder.load_weights(data.weights)

    def losses(self, stage: Stage, batch: Batch, share: float) -> dict[str, Tensor]:
        if not self.repaired(stage):
            return super().losses(stage, batch, share)
        seen = batch if isinstance(batch, SeenBatch) else self.looked_at(stage, batch)
        weak = self._weak_album().draw(self.data.random, len(seen.masks) // 2) if len(self.data.weak) else None
        return self._seen_losses(seen, weak)

    @staticmethod
    def repaired(stage: Stage) -> bool:
        """Whether the generator is done, and its repairs are what is looked at."""
        return stage.name == "segmenter"

    @torch.no_grad()
    def looked_at(self, stage: Stage, batch: Batch) -> SeenBatch:
        """With the features of the repair, the repair itself and what of the picture it does not explain."""
        seen = super().looked_at(stage, batch)
        self.network.generator.eval()
        features = self.repair(batch.corrupted)
        unexplained = self.unexplained(batch.corrupted, features)
        made = self.encoder(features, self.taps[-1])
        kept = {name: made[name].float() for name in self.taps}
        return replace(seen, made=kept | {"recon": features, "unexplained": at_quarter(unexplained)})

    def repair(self, pictures: Tensor) -> Tensor:
        """(n, 3, h, w) in -1..1 of pictures in 0..1."""
        made: Tensor = self.network.generator(network_range(pictures))
        return made.float().clamp(-1, 1)

    def _weak_album(self) -> Album:
        if self._weak is None:
            source = self.data.draws(_WEAK_SEED)
            weak, random = self.data.weak, seeded(_WEAK_SEED)
            stage = PRETRAINED.stages[1]
            looked = []
            for start in range(0, max(_WEAK_COPIES, len(weak)), _AT_ONCE):
                chosen = torch.arange(start, start + _AT_ONCE, device=weak.device) % len(weak)
                pictures = with_sensor_noise(source.vary(weak[chosen]), random)
                looked.append(self.looked_at(stage, Batch(pictures, pictures, torch.zeros_like(pictures[:, :1]))))
            self._weak = Album(looked)
        return self._weak

    def _seen_losses(self, batch: SeenBatch, weak: SeenBatch | None) -> dict[str, Tensor]:
        """As those of the segmenter from scratch, on the grid of the logit."""
        logit = self._logit(batch)
        mask = torch.sigmoid(logit)
        drawn = batch.masks.amax((1, 2, 3)) > 0
        nothing = logit.sum() * 0
        # production pictures take the place of altered normals
        judged, unexplained = mask[drawn], batch.made["unexplained"][drawn]
        if weak is not None:
            judged, unexplained = torch.sigmoid(self._logit(weak)), weak.made["unexplained"]
        losses = {
            "explanation": self._mean((1 - judged) * unexplained) if len(judged) else nothing,
            "sparsity": sparsity_loss(self._areas(judged), *self._area) if len(judged) else nothing,
            "clean": self._mean(functional.softplus(logit[~drawn])) if not drawn.all() else nothing,
            "synthetic": head_loss(logit, at_grid(batch.masks, logit)),
            "variation": total_variation(mask),
        }
        return self._weighed(losses)

    def _logit(self, batch: SeenBatch) -> Tensor:
        made = {name: batch.made[name] for name in self.taps}
        logits = self.network.segmenter(
            self.noisy(batch.seen), made, network_range(batch.corrupted), batch.made["recon"]
        )
        last: Tensor = logits[-1].float()
        return last


def at_quarter(plane: Tensor) -> Tensor:
    return functional.avg_pool2d(plane, 4)
