"""KIST, round 0: a reconstructor that sees altered normals and must return the clean ones.

For parts that always lie the same way its bottleneck is narrow (8 x 8 places, few channels), so that a missing or
foreign part cannot pass through. Textures and varying layouts need the wide one, which repairs small places only.
Formulas: reconstruction_loss in training/losses.py; the score is residual evidence alone.
"""

from __future__ import annotations

import itertools
from typing import ClassVar, Literal

from torch import Tensor, nn

from edge.manifest import ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec
from training.losses import reconstruction_loss
from training.methods.base import (
    Batch,
    Design,
    Layout,
    Learner,
    OutputName,
    Stage,
    Variant,
    network_range,
    norm_for,
    one_stage,
)
from training.networks.blocks import EdgeTrunk

MAP_SCALES: tuple[Literal[1, 2], ...] = (1, 2)


class Reconstructor(nn.Module):
    """EdgeTrunk with its output named."""

    def __init__(self, widths: tuple[int, ...], bottleneck: int) -> None:
        super().__init__()
        self.trunk = EdgeTrunk(widths, bottleneck)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"recon": self.trunk(image)}


class KistLearner(Learner):
    """Trains the reconstructor."""

    def __init__(self, network: Reconstructor) -> None:
        super().__init__()
        self.network = network

    def losses(self, stage: Stage, batch: Batch, share: float) -> dict[str, Tensor]:
        outputs = self.network(network_range(batch.corrupted))
        return {"total": reconstruction_loss((outputs["recon"] + 1) / 2, batch.clean)}


class Kist:
    """Method protocol."""

    name: Literal["kist"] = "kist"
    outputs: ClassVar[tuple[OutputName, ...]] = ("recon",)
    ablations: ClassVar[tuple[str, ...]] = ()
    variants: ClassVar = {
        "smoke": Variant(size=64, stages=one_stage(60, 8, 3e-3)),
        "tiny": Variant(size=128, stages=one_stage(900, 16, 2e-3), bend=0.04),
        "edge": Variant(size=256, stages=one_stage(1500, 8, 2e-3), bend=0.04),
    }
    # widths of the trunk and channels of its bottleneck
    _networks: ClassVar[dict[tuple[str, Layout], tuple[tuple[int, ...], int]]] = {
        ("smoke", "aligned"): ((16, 32, 48), 16),
        ("smoke", "free"): ((16, 32, 48), 16),
        ("tiny", "aligned"): ((16, 32, 48, 64), 4),
        ("tiny", "free"): ((16, 32, 48), 32),
        ("edge", "aligned"): ((32, 64, 64, 64, 64), 4),
        ("edge", "free"): ((32, 64, 96, 128), 64),
    }

    def learner(self, design: Design) -> Learner:
        widths, bottleneck = self._networks[design.variant, design.layout]
        return KistLearner(Reconstructor(widths, bottleneck))

    def score_candidates(self, size: int, layout: Layout) -> dict[str, ScoreSpec]:
        residuals = {
            "structure": ResidualSpec(w_l2=0.2, w_ssim=0.4, w_gms=0.4),
            "gradient+colour": ResidualSpec(w_gms=1.0, w_col=1.0),
            "intensity+gradient+colour": ResidualSpec(w_l1=1.0, w_gms=0.3, w_col=3.0),
        }
        candidates: dict[str, ScoreSpec] = {}
        for (name, residual), box, scale, top in itertools.product(
            residuals.items(), (11, 21), MAP_SCALES, (100, 1000)
        ):
            side = size // scale
            radius, k = max(1, box // 2 * side // 256), max(1, top * side * side // 65536)
            candidates[f"{name}, {side}x{side} map, box {2 * radius + 1}, top {k}"] = ScoreSpec(
                map_scale=scale,
                residual=residual,
                norm=norm_for(layout),
                smooth=SmoothSpec(kind="box", radius=radius),
                image_score=ImageScoreSpec(k=k),
            )
        return candidates
