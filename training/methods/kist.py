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
from training.blocks import EdgeTrunk
from training.losses import reconstruction_loss
from training.methods.base import Batch, OutputName, Variant

MAP_SCALES: tuple[Literal[1, 2], ...] = (1, 2)


class Reconstructor(nn.Module):
    """EdgeTrunk with its output named."""

    def __init__(self, widths: tuple[int, ...], bottleneck: int) -> None:
        super().__init__()
        self.trunk = EdgeTrunk(widths, bottleneck)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"recon": self.trunk(image)}


class Kist:
    """Method protocol."""

    name = "kist"
    outputs: ClassVar[tuple[OutputName, ...]] = ("recon",)
    variants: ClassVar = {
        "smoke": Variant(size=64, steps=60, batch=8, learning_rate=3e-3),
        "tiny": Variant(size=128, steps=900, batch=16, learning_rate=2e-3, bend=0.04),
        "tiny-wide": Variant(size=128, steps=900, batch=16, learning_rate=2e-3),
        "edge": Variant(size=256, steps=1500, batch=8, learning_rate=2e-3, bend=0.04),
        "edge-wide": Variant(size=256, steps=1000, batch=8, learning_rate=2e-3),
    }
    _networks: ClassVar = {
        "smoke": ((16, 32, 48), 16),
        "tiny": ((16, 32, 48, 64), 4),
        "tiny-wide": ((16, 32, 48), 32),
        "edge": ((32, 64, 64, 64, 64), 4),
        "edge-wide": ((32, 64, 96, 128), 64),
    }

    def build(self, variant: str) -> nn.Module:
        widths, bottleneck = self._networks[variant]
        return Reconstructor(widths, bottleneck)

    def loss(self, outputs: dict[str, Tensor], batch: Batch) -> Tensor:
        return reconstruction_loss((outputs["recon"] + 1) / 2, batch.clean)

    def score_candidates(self, size: int) -> dict[str, ScoreSpec]:
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
                smooth=SmoothSpec(kind="box", radius=radius),
                image_score=ImageScoreSpec(k=k),
            )
        return candidates
