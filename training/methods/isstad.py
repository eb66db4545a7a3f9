"""ISSTAD: a masked autoencoder of good parts, taught by artificial defects to repair them and to say where they are.

Stage `masked` blanks most patches of good parts and learns to fill them in; its loss looks at those patches alone.
Stage `defects` alters good parts, and learns two outputs jointly: the part without its defect, and a logit of every
pixel, which earlier scales (or transformer blocks) predict as well. The encoder then learns at a tenth of the rate.

The score is the product of residual evidence and probability: both must agree, so what one of them finds in a good
part seldom counts. Convolutions (training/networks/large_kernel.py) are the form that quantises; the transformer
(training/networks/transformer.py) is the published form, for devices with fast half precision. Variant `pretrained`
has a frozen encoder that ImageNet taught, as the published one (training/methods/pretrained/isstad.py). Variant `board`
has the second stage alone, without a reconstruction, for circuits (training/methods/isstad_board.py).
"""

from __future__ import annotations

import itertools
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from edge.core.manifest import BlendSpec, ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec
from training.losses import focal_loss, luma, size_weights, ssim_map
from training.methods.base import (
    Batch,
    Design,
    Layout,
    Learner,
    OutputName,
    Stage,
    TrainingData,
    Variant,
    field_of,
    network_range,
    norm_for,
    seeded,
)
from training.methods.isstad_board import BOARD, BoardLearner
from training.methods.patches import draw_masked
from training.methods.pretrained.isstad import DEFECTS, MASKED, PRETRAINED, IsstadSeeingLearner
from training.networks.large_kernel import LargeKernelNetwork
from training.networks.masked_autoencoder import PATCH, MaskedAutoencoder
from training.networks.transformer import Transformer, TransformerShape

_SLOW = 0.1
# 0.5 MSE in the network's range -1..1, as published, is 2 MSE of pictures in 0..1. Structure has five times its
# published weight: a small network trained from scratch leaves out the small parts of an object otherwise
_PIXELS, _STRUCTURE = 2.0, 0.5
# share of plain cross entropy: the focal loss alone pushes good pixels down with the cube of their probability, and
# leaves a veil of it over every good part
_ENTROPY = 0.1


class IsstadLearner(Learner):
    """Both stages; masked_share: how many patches are blanked."""

    def __init__(self, network: MaskedAutoencoder, masked_share: float, ablations: frozenset[str]) -> None:
        super().__init__()
        self.network: MaskedAutoencoder = network
        self.masked_share, self.ablations = masked_share, ablations

    def attach(self, data: TrainingData) -> None:
        super().attach(data)
        if len(data.weak):
            data.notice(f"isstad learns from good parts alone: the {len(data.weak)} parts in train/weak/ are not used")

    def parameter_groups(self, stage: Stage) -> list[dict[str, Any]]:
        if stage.name == MASKED or "slow_encoder" in self.ablations:
            return super().parameter_groups(stage)
        slow = self.network.slow_parameters()
        known = {id(parameter) for parameter in slow}
        fast = [parameter for parameter in self.network.parameters() if id(parameter) not in known]
        return [{"params": slow, "scale": _SLOW}, {"params": fast, "scale": 1.0}]

    def losses(self, stage: Stage, batch: Batch, share: float) -> dict[str, Tensor]:
        return self._masked_losses(batch, self.data.random) if stage.name == MASKED else self._defect_losses(batch)

    def validation_loss(self, stage: Stage, batch: Batch) -> Tensor:
        # the same patches every time, and none of the run's own random numbers
        losses = self._masked_losses(batch, seeded(0)) if stage.name == MASKED else self._defect_losses(batch)
        return losses["total"]

    def _masked_losses(self, batch: Batch, random: torch.Generator) -> dict[str, Tensor]:
        count, _, side, _ = batch.clean.shape
        # without masking it is a plain autoencoder, judged everywhere
        share = 0.0 if "masking" in self.ablations else self.masked_share
        masked = draw_masked(count, (side // PATCH, side // PATCH), share, random).to(batch.clean.device)
        recon = (self.network.reconstruct_masked(network_range(batch.corrupted), masked).float() + 1) / 2
        error = (recon - batch.clean).square()
        if share:
            # as many patches in every picture: the mean over patches is the mean over what was blanked
            error = functional.avg_pool2d(error, PATCH)[masked.expand(-1, 3, -1, -1)]
        return {"total": error.mean()}

    def _defect_losses(self, batch: Batch) -> dict[str, Tensor]:
        seen = self.network.inspect(network_range(batch.corrupted))
        recon = (seen.recon.float() + 1) / 2
        target = batch.corrupted if "clean_target" in self.ablations else batch.clean
        pixels = functional.mse_loss(recon, target)
        structure = 1 - ssim_map(luma(recon), luma(target)).mean()
        logits = seen.logits[-1:] if "deep_supervision" in self.ablations else seen.logits
        defects = torch.stack([_pixel_loss(logit, cells(batch.masks, logit)) for logit in logits]).mean()
        total = defects + _PIXELS * pixels + _STRUCTURE * structure
        return {"total": total, "defects": defects, "pixels": pixels, "structure": structure}


def cells(masks: Tensor, logit: Tensor) -> Tensor:
    """Masks (n, 1, s, s) at the size of a coarser logit: a cell is defective if any of its pixels is."""
    scale = masks.shape[-1] // logit.shape[-1]
    return functional.max_pool2d(masks, scale) if scale > 1 else masks


def _pixel_loss(logit: Tensor, masks: Tensor) -> Tensor:
    """Focal loss with a little cross entropy, a scalar; pixels of small defects count for more."""
    entropy = functional.binary_cross_entropy_with_logits(logit.float(), masks, reduction="none")
    return ((focal_loss(logit, masks) + _ENTROPY * entropy) * size_weights(masks)).mean()


def _stages(masked: tuple[int, int, float], defects: tuple[int, int, float]) -> tuple[Stage, ...]:
    """Steps, batch and learning rate of both stages."""
    return (
        Stage(MASKED, *masked, preset=None),
        Stage(DEFECTS, *defects, preset="isstad_aligned", free_preset="isstad_free"),
    )


class Isstad:
    """Method protocol."""

    name: Literal["isstad"] = "isstad"
    outputs: ClassVar[tuple[OutputName, ...]] = ("recon", "seg_logit")
    ablations: ClassVar[tuple[str, ...]] = (
        "masking", "clean_target", "deep_supervision", "difference", "slow_encoder",
    )  # fmt: skip
    variants: ClassVar[dict[str, Variant]] = {
        "smoke": Variant(64, _stages((40, 8, 3e-3), (100, 8, 3e-3))),
        "mini": Variant(96, _stages((400, 8, 2e-3), (700, 8, 2e-3)), bend=0.04, free_field=192),
        "tiny": Variant(128, _stages((500, 16, 2e-3), (800, 16, 2e-3)), bend=0.04, free_field=256),
        "edge": Variant(256, _stages((1000, 8, 2e-3), (1500, 8, 2e-3)), bend=0.04),
        "pretrained": PRETRAINED,
        "board": BOARD,
        "tiny-vit": Variant(128, _stages((600, 16, 1e-3), (800, 16, 1e-3)), bend=0.04),
        "edge-vit": Variant(256, _stages((1500, 16, 1e-3), (2000, 16, 1e-3)), bend=0.04),
        "full": Variant(256, _stages((20000, 64, 6e-4), (10000, 32, 5e-4)), bend=0.04),
    }
    # widths, blocks and bottleneck. Parts that lie the same way pass 8 x 8 places of few channels, so that a missing
    # or foreign part cannot; other layouts need a wide bottleneck, which repairs small places only
    _convolutional: ClassVar[dict[str, dict[Layout, tuple[tuple[int, ...], tuple[int, ...], int]]]] = {
        "smoke": {"aligned": ((16, 32, 48), (1, 1), 8), "free": ((16, 32), (1,), 32)},
        "mini": {"aligned": ((16, 32, 48), (1, 2), 6), "free": ((16, 32, 48), (1, 1), 32)},
        "tiny": {"aligned": ((16, 32, 48, 64), (1, 1, 2), 4), "free": ((16, 32, 48), (1, 2), 32)},
        "edge": {
            "aligned": ((32, 64, 96, 128, 128), (1, 2, 2, 2), 4),
            "free": ((32, 64, 96, 128), (1, 2, 2), 64),
        },
    }
    _transformers: ClassVar[dict[str, TransformerShape]] = {
        "tiny-vit": TransformerShape(encoder=(96, 4, 4), decoder=(64, 3, 4), stem=16),
        "edge-vit": TransformerShape(encoder=(192, 8, 6), decoder=(128, 4, 4), stem=24),
        "full": TransformerShape(encoder=(384, 12, 6), decoder=(192, 6, 6), stem=48),
    }

    def learner(self, design: Design) -> Learner:
        plan = self.variants[design.variant]
        if plan.pretrained:
            return IsstadSeeingLearner(design, field_of(design, plan))
        if plan.native:
            return BoardLearner(design.ablations)
        sees_difference = "difference" not in design.ablations
        if design.variant in self._transformers:
            shape, size = self._transformers[design.variant], self.variants[design.variant].size
            return IsstadLearner(Transformer(size, shape, sees_difference), 0.75, design.ablations)
        widths, blocks, bottleneck = self._convolutional[design.variant][design.layout]
        network = LargeKernelNetwork(widths, blocks, bottleneck, sees_difference)
        return IsstadLearner(network, 0.6, design.ablations)

    def score_candidates(self, size: int, layout: Layout) -> dict[str, ScoreSpec]:
        residuals = {"squares": ResidualSpec(w_l2=1.0), "structure": ResidualSpec(w_l2=0.2, w_ssim=0.4, w_gms=0.4)}
        blends = (BlendSpec(mode="product"), BlendSpec(mode="wsum", alpha=0.5), BlendSpec(mode="max"))
        scales: tuple[Literal[1, 2], ...] = (1, 2)
        # smoothing and top places of 256 x 256: of specks, of spots, of defects, of whole parts; free layouts have none
        reaches = ((1, 12), (4, 100), (4, 1000), (4, 6554))[: 3 if layout == "free" else 4]
        candidates = {}
        for (name, residual), blend, scale, (sigma, top) in itertools.product(
            residuals.items(), blends, scales, reaches
        ):
            side = size // scale
            candidates[f"{blend.mode}, {name}, {side}x{side} map, sigma {sigma}/256, top {top}/65536"] = ScoreSpec(
                map_scale=scale,
                residual=residual,
                norm=norm_for(layout),
                blend=blend,
                smooth=SmoothSpec(kind="gaussian", radius=max(1, sigma * side // 256)),
                image_score=ImageScoreSpec(k=max(1, top * side * side // 65536)),
            )
        # where good parts vary much, a residual may say nothing: the probability alone
        for scale, (sigma, top) in itertools.product(scales, reaches):
            side = size // scale
            candidates[f"probability alone, {side}x{side} map, sigma {sigma}/256, top {top}/65536"] = ScoreSpec(
                map_scale=scale,
                norm=norm_for(layout),
                smooth=SmoothSpec(kind="gaussian", radius=max(1, sigma * side // 256)),
                image_score=ImageScoreSpec(k=max(1, top * side * side // 65536)),
            )
        return candidates
