"""ISSTAD with a pre-trained encoder: masked patches, frozen encoder, a decoder of features and pixels, and a head.

Stage `masked` blanks most patches of good parts; from what the frozen encoder still sees, the decoder rebuilds the
features and the pixels of the whole part, judged on the blank patches alone. Stage `defects` shows altered parts: the
decoder rebuilds the good ones, and the head learns logits at three scales from what is seen and what was rebuilt.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edge.core.manifest import ResidualSpec
from training.losses import at_grid, head_loss, luma, pooled, ssim_map
from training.methods.base import Batch, Design, Draws, Stage, TrainingData, Variant, network_range
from training.methods.patches import draw_masked
from training.methods.pretrained.album import SeeingLearner, SeenBatch, Taps
from training.networks.heads import LEVELS
from training.networks.masked_autoencoder import PATCH, blanked
from training.networks.pretrained import MaskedFeatures

MASKED, DEFECTS = "masked", "defects"
_MASKED_SHARE = 0.6
# a squared error of standardised features is about one before anything is learned, one of pixels about 0.05
_FEATURES, _PIXELS, _STRUCTURE = 1.0, 10.0, 0.5
_MEASURED = 48

PRETRAINED = Variant(
    256,
    (
        Stage(MASKED, 120, 8, 2e-3, preset=None, cached=192),
        Stage(DEFECTS, 250, 8, 2e-3, preset="head_aligned", free_preset="head_free", cached=512),
    ),
    pretrained=True,
    takes_weights=True,
    outputs=("recon", "seg_logit", "emb_dist"),
    ablations=("masking", "clean_target", "deep_supervision", "difference"),
    residuals={
        "squares": ResidualSpec(w_l2=1.0),
        "structure": ResidualSpec(w_l2=0.2, w_ssim=0.4, w_gms=0.4),
    },
)


class IsstadSeeingLearner(SeeingLearner):
    """Trains decoder and head; ablations: see PRETRAINED."""

    network: MaskedFeatures
    sees_clean = True

    def __init__(self, design: Design, field: tuple[int, int]) -> None:
        super().__init__(
            MaskedFeatures(field, aligned=design.layout == "aligned", difference="difference" not in design.ablations)
        )
        self.ablations = design.ablations
        self.keeps = ("corrupted", "clean")

    def attach(self, data: TrainingData) -> None:
        super().attach(data)
        if len(data.weak):
            data.notice(f"isstad learns from good parts alone: the {len(data.weak)} parts in train/weak/ are not used")

    def prepare(self, stage: Stage) -> None:
        if stage.name == MASKED:
            self.network.standardised.fit(self.look_at_some(_MEASURED))

    def parameter_groups(self, stage: Stage) -> list[dict[str, Any]]:
        if stage.name == DEFECTS:
            return super().parameter_groups(stage)
        return [{"params": list(self.network.decoder.parameters()), "scale": 1.0}]

    def altered(self, stage: Stage, batch: Batch, source: Draws) -> Batch:
        """In the first stage patches are blanked, and masks say which."""
        if stage.name != MASKED or "masking" in self.ablations:
            return batch
        count, _, height, width = batch.clean.shape
        masked = draw_masked(count, (height // PATCH, width // PATCH), _MASKED_SHARE, source.random)
        masked = masked.to(batch.clean.device)
        hidden = (blanked(network_range(batch.corrupted), masked) + 1) / 2
        return replace(batch, corrupted=hidden, masks=_enlarged(masked))

    def seen_losses(self, stage: Stage, batch: SeenBatch, share: float) -> dict[str, Tensor]:
        return self._masked_losses(batch) if stage.name == MASKED else self._defect_losses(batch)

    def _masked_losses(self, batch: SeenBatch) -> dict[str, Tensor]:
        made, recon = self.network.rebuilt(self.noisy(batch.seen))
        # without masking it is a plain autoencoder, judged everywhere
        judged = None if "masking" in self.ablations else batch.masks
        features = self._feature_error(made, batch.clean_seen, judged)
        pixels = _mean_where(((recon.float() + 1) / 2 - batch.clean).square(), judged)
        return {"total": _FEATURES * features + _PIXELS * pixels, "features": features, "pixels": pixels}

    def _defect_losses(self, batch: SeenBatch) -> dict[str, Tensor]:
        network, seen = self.network, self.noisy(batch.seen)
        standard = network.standardised(seen)
        made, picture = network.decoder(standard["tap4"])
        copies = "clean_target" in self.ablations
        features = self._feature_error(made, batch.seen if copies else batch.clean_seen, None)
        recon, target = (picture.float() + 1) / 2, batch.corrupted if copies else batch.clean
        pixels = functional.mse_loss(recon, target)
        structure = 1 - ssim_map(luma(recon), luma(target)).mean()
        logits = network.head(standard, made, network_range(batch.corrupted), picture)
        logits = logits[-1:] if "deep_supervision" in self.ablations else logits
        defects = torch.stack([head_loss(logit, at_grid(batch.masks, logit)) for logit in logits]).mean()
        total = defects + _FEATURES * features + _PIXELS * pixels + _STRUCTURE * structure
        return {"total": total, "defects": defects, "features": features, "pixels": pixels, "structure": structure}

    def _feature_error(self, made: Taps, target: Taps, judged: Tensor | None) -> Tensor:
        """Mean squared error over the levels; judged: (n, 1, h, w), 1 on the pixels whose features count."""
        wanted = self.network.standardised(target)
        return torch.stack([_mean_where((made[name] - wanted[name]).square(), judged) for name in LEVELS]).mean()


def _mean_where(error: Tensor, judged: Tensor | None) -> Tensor:
    """Mean of (n, c, h, w) where judged (n, 1, H, W) is 1, on a grid that may be finer; everywhere where it is None."""
    if judged is None:
        return error.mean()
    weight = pooled(judged, error)
    return (error * weight).sum() / (weight.sum() * error.shape[1]).clamp(min=1)


def _enlarged(masked: Tensor) -> Tensor:
    return masked.float().repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
