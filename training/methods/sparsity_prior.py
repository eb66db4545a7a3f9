"""Sparsity prior: a generator that repairs parts, and a segmenter that is told little more than that defects are rare.

Losses and stages: training/methods/sparsity_learner.py, and for variant `pretrained`, whose encoder ImageNet taught,
training/methods/pretrained/sparsity_prior.py.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar, Literal

from edge.core.manifest import BlendSpec, ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec
from training.methods.base import Design, Layout, Learner, OutputName, Stage, Variant, field_of, norm_for
from training.methods.pretrained.sparsity_prior import PRETRAINED, SparsitySeeingLearner
from training.methods.sparsity_learner import SparsityLearner, SparsityNetwork


def _stages(generator: int, segmenter: int, batch: int, rate: float) -> tuple[Stage, ...]:
    return (
        Stage("generator", generator, batch, rate),
        Stage("segmenter", segmenter, batch, rate, preset="sparsity_prior"),
    )


@dataclass(frozen=True)
class _Shape:
    """Widths of generator, bottleneck, segmenter and discriminator."""

    widths: tuple[int, ...]
    bottleneck: int
    fusion: int
    discriminator: tuple[int, ...]


class SparsityPrior:
    """Method protocol."""

    name: Literal["sparsity_prior"] = "sparsity_prior"
    outputs: ClassVar[tuple[OutputName, ...]] = ("recon", "seg_logit")
    # without the area term, without the discriminator, without artificial masks (the prior alone)
    ablations: ClassVar[tuple[str, ...]] = ("sparsity", "adversary", "synthetic")
    variants: ClassVar[dict[str, Variant]] = {
        "smoke": Variant(64, _stages(60, 40, 8, 3e-3)),
        "tiny": Variant(128, _stages(750, 450, 16, 2e-3), bend=0.04),
        "edge": Variant(256, _stages(1500, 800, 8, 2e-3), bend=0.04),
        "pretrained": PRETRAINED,
        "full": Variant(256, _stages(10000, 5000, 32, 1e-3), bend=0.04),
    }
    # the encoder runs twice, on the picture and on its repair: a width of 64 at the second level would pass two GMAC
    _shapes: ClassVar[dict[tuple[str, Layout], _Shape]] = {
        ("smoke", "aligned"): _Shape((16, 32, 48), 16, 16, (8, 16, 32)),
        ("smoke", "free"): _Shape((16, 32, 48), 16, 16, (8, 16, 32)),
        ("tiny", "aligned"): _Shape((16, 32, 48, 64), 4, 16, (16, 32, 64)),
        ("tiny", "free"): _Shape((16, 32, 48), 32, 16, (16, 32, 64)),
        ("edge", "aligned"): _Shape((32, 48, 64, 64, 64), 4, 32, (32, 64, 128)),
        ("edge", "free"): _Shape((32, 48, 64, 64), 64, 32, (32, 64, 128)),
        ("full", "aligned"): _Shape((64, 128, 256, 256, 256), 16, 64, (64, 128, 256)),
        ("full", "free"): _Shape((64, 128, 256, 256), 128, 64, (64, 128, 256)),
    }

    def learner(self, design: Design) -> Learner:
        plan = self.variants[design.variant]
        if plan.pretrained:
            return SparsitySeeingLearner(design, field_of(design, plan))
        shape = self._shapes[design.variant, design.layout]
        return SparsityLearner(
            SparsityNetwork(shape.widths, shape.bottleneck, shape.fusion),
            field_of(design, plan),
            norm_for(design.layout),
            None if "adversary" in design.ablations else shape.discriminator,
            design.ablations,
        )

    def score_candidates(self, size: int, layout: Layout) -> dict[str, ScoreSpec]:
        residuals = {
            "structure": ResidualSpec(w_l2=0.3, w_ssim=0.7),
            "intensity+gradient+colour": ResidualSpec(w_l1=1.0, w_gms=0.3, w_col=3.0),
        }
        blends = (
            BlendSpec(mode="product", alpha=0.5, beta=1.0),
            BlendSpec(mode="noisy_or"),
            BlendSpec(mode="max"),
            BlendSpec(mode="wsum", alpha=0.5),
        )
        scales: tuple[Literal[1, 2], ...] = (1, 2)
        candidates: dict[str, ScoreSpec] = {}
        for (name, residual), blend, scale, top in itertools.product(residuals.items(), blends, scales, (100, 1000)):
            side = size // scale
            sigma, k = max(1, round(4 * side / 256)), max(1, top * side * side // 65536)
            candidates[f"{name}, {blend.mode}, {side}x{side} map, Gaussian {sigma}, top {k}"] = ScoreSpec(
                map_scale=scale,
                residual=residual,
                norm=norm_for(layout),
                blend=blend,
                smooth=SmoothSpec(kind="gaussian", radius=sigma),
                image_score=ImageScoreSpec(k=k),
            )
        return candidates
