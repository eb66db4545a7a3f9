"""Sparsity prior: a generator that repairs parts, and a segmenter that is told little more than that defects are rare.

Stage `generator`: an EdgeTrunk sees altered normals and must return the clean ones, watched by a discriminator.
Stage `segmenter`: the generator is frozen. The mask must cover what the generator could not explain, while a Bernoulli
Kullback-Leibler term holds its area to what defects usually have; artificial masks have a small say. Production
pictures without masks take the place of the altered normals where there are some. Formulas: losses below.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.core.manifest import BlendSpec, ImageScoreSpec, NormSpec, ResidualSpec, ScoreSpec, SmoothSpec
from edge.kernels.statistics import normal_statistics
from training.data.augmentation import with_sensor_noise
from training.labelling import load_rules
from training.losses import focal_loss, luma, residual_error, sparsity_loss, ssim_map, total_variation
from training.methods.base import (
    Batch,
    Design,
    Layout,
    Learner,
    OutputName,
    Stage,
    TrainingData,
    Variant,
    network_range,
    norm_for,
)
from training.networks.adversary import Adversary
from training.networks.blocks import EdgeTrunk, TrunkFeatures
from training.networks.fusion import FusionSegmenter

# generator: weights of L1, structure, latent distance and adversary. Structure weighs half as much as L1: with a tenth,
# held-out normals came back less alike in both
_L1, _STRUCTURE, _LATENT, _ADVERSARY = 50.0, 25.0, 1.0, 1.0
# the discriminator learns alone for so many steps, or this share of a short stage
_WARM_UP_STEPS, _WARM_UP_SHARE = 200, 0.25
# segmenter: weights of explanation, sparsity, clean parts, artificial masks and total variation
_EXPLANATION, _SPARSITY, _CLEAN, _SYNTHETIC, _VARIATION = 1.0, 0.5, 1.0, 0.2, 1e-3
# share of a defective picture that is defective, where no rules say
_USUAL_AREA = 0.02
# a range that an expert gave holds harder; and how far inside of it, as a factor, the area term starts to pull
_SPARSITY_RANGE, _MARGIN = 2.0, 1.5
# normals that say what an ordinary residual is
_NORMALS_MEASURED = 128
_CHUNK = 16
# what counts as unexplained: structure, and colour where structure says nothing
_EXPLAINED = ResidualSpec(w_l1=1.0, w_gms=0.3, w_col=3.0)


def _stages(generator: int, segmenter: int, batch: int, rate: float) -> tuple[Stage, ...]:
    return (
        Stage("generator", generator, batch, rate),
        Stage("segmenter", segmenter, batch, rate, preset="sparsity_prior"),
    )


def area_prior(rules: Path | None) -> tuple[float, float] | None:
    """Least and largest share of a picture that its defects take together, as a rules file says; None: it does not."""
    return None if rules is None else load_rules(rules).picture.area


def _held_area(low: float, high: float) -> tuple[float, float]:
    """The range that the area term pulls into, inside the one wanted: what pulls outwards settles it near an end."""
    middle = math.sqrt(low * high) if low else high
    return min(low * _MARGIN, middle), max(high / _MARGIN, middle)


class SparsityNetwork(nn.Module):
    """The deployed network: reconstruction and anomaly logit of every pixel."""

    def __init__(self, widths: tuple[int, ...], bottleneck: int, fusion: int) -> None:
        super().__init__()
        self.generator = EdgeTrunk(widths, bottleneck)
        self.segmenter = FusionSegmenter(widths, fusion)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features = self.generator.features(image)
        return {"recon": features.reconstruction, "seg_logit": self.segmenter(image, features)}


class SparsityLearner(Learner):
    """Trains generator and segmenter, one after the other.

    size: side of the network. kind: of the statistics that make the residual comparable. discriminator: its widths,
    None for the method without one. ablations: see SparsityPrior.
    """

    network: SparsityNetwork
    error_mean: Tensor
    error_inv_std: Tensor

    def __init__(
        self,
        network: SparsityNetwork,
        size: int,
        norm: NormSpec,
        discriminator: tuple[int, ...] | None,
        ablations: frozenset[str],
    ) -> None:
        super().__init__()
        self.network = network
        self.adversary = None if discriminator is None else Adversary(discriminator)
        self._spec = ScoreSpec(residual=_EXPLAINED, norm=norm)
        self._sparsity = 0.0 if "sparsity" in ablations else _SPARSITY
        self._synthetic = 0.0 if "synthetic" in ablations else _SYNTHETIC
        self.register_buffer("error_mean", torch.zeros(1, 1, size, size))
        self.register_buffer("error_inv_std", torch.zeros(1, 1, size, size))
        self._frozen = False
        self._area = (_USUAL_AREA, _USUAL_AREA)
        self._waiting: tuple[Batch, Tensor] | None = None

    def attach(self, data: TrainingData) -> None:
        super().attach(data)
        given = area_prior(data.rules)
        if given is not None:
            self._area = _held_area(*given)
            self._sparsity *= _SPARSITY_RANGE / _SPARSITY

    @torch.no_grad()
    def prepare(self, stage: Stage) -> None:
        """The segmenter's stage starts by measuring what an ordinary residual is, as calibration does."""
        if stage.name != "segmenter":
            return
        self.network.generator.eval()
        normals = self.data.normals
        some = torch.linspace(0, len(normals) - 1, min(_NORMALS_MEASURED, len(normals))).round().long()
        trained = self._errors(normals[some.to(normals.device)])
        statistics = normal_statistics(self._spec, self._errors(self.data.held_out), [], trained)
        for buffer, values in ((self.error_mean, statistics.mean), (self.error_inv_std, statistics.inv_std)):
            buffer.copy_(torch.from_numpy(values)[None, None])

    def set_up(self, stage: Stage) -> None:
        self._frozen = stage.name == "segmenter"
        self.network.generator.requires_grad_(not self._frozen)

    def train(self, mode: bool = True) -> SparsityLearner:
        """Statistics of a frozen generator's batch norms stay as they are."""
        super().train(mode)
        if self._frozen:
            self.network.generator.eval()
        return self

    def parameter_groups(self, stage: Stage) -> list[dict[str, Any]]:
        trained = self.network.segmenter if self._frozen else self.network.generator
        return [{"params": list(trained.parameters()), "scale": 1.0}]

    def losses(self, stage: Stage, batch: Batch, share: float) -> dict[str, Tensor]:
        if self._frozen:
            weak = self._draw_weak(len(batch.clean) // 2) if len(self.data.weak) else None
            return self._segmenter_losses(batch, weak)
        made = self._made_of(batch)
        losses = self._generator_losses(made, batch)
        if self.adversary is not None and share * stage.steps >= min(_WARM_UP_STEPS, _WARM_UP_SHARE * stage.steps):
            repair = _L1 * losses["l1"] + _STRUCTURE * losses["structure"]
            losses["adversarial"] = self.adversary.generator_loss(made, repair, self.data.notice)
            losses["total"] = losses["total"] + _ADVERSARY / _L1 * losses["adversarial"]
        return losses

    def validation_loss(self, stage: Stage, batch: Batch) -> Tensor:
        """What the adversary thinks says nothing of quality, and production pictures would differ each time."""
        if self._frozen:
            return self._segmenter_losses(batch, None)["total"]
        return self._generator_losses(self._made_of(batch), batch)["total"]

    def adversary_parameters(self, stage: Stage) -> list[nn.Parameter]:
        return [] if self._frozen or self.adversary is None else list(self.adversary.parameters())

    def adversary_losses(self, stage: Stage, batch: Batch, share: float) -> dict[str, Tensor]:
        assert self.adversary is not None, "asked only when it has parameters"
        made = self._made_of(batch)
        # the generator's own step comes next and needs the same reconstruction
        self._waiting = (batch, made)
        return {"total": self.adversary.discriminator_loss(network_range(batch.clean), made, self.data.notice)}

    def _made_of(self, batch: Batch) -> Tensor:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting[0] is batch:
            return waiting[1]
        made: Tensor = self.network.generator(network_range(batch.corrupted))
        return made

    def _generator_losses(self, made: Tensor, batch: Batch) -> dict[str, Tensor]:
        """50 L1 + 25 (1 - SSIM) + distance of bottleneck codes, over 50 so that rates mean what they do elsewhere."""
        picture = (made.float() + 1) / 2
        pixels = functional.l1_loss(picture, batch.clean)
        structure = 1 - ssim_map(luma(picture), luma(batch.clean)).mean()
        encoder = self.network.generator.encoder
        training = encoder.training
        # what runs is fed pictures, not reconstructions: these must not count in the batch norms' statistics
        encoder.eval()
        with torch.no_grad():
            code = encoder(network_range(batch.clean))
        latent = functional.smooth_l1_loss(encoder(made).float(), code.float())
        encoder.train(training)
        total = (_L1 * pixels + _STRUCTURE * structure + _LATENT * latent) / _L1
        return {"total": total, "l1": pixels, "structure": structure, "latent": latent}

    def _segmenter_losses(self, batch: Batch, weak: Tensor | None) -> dict[str, Tensor]:
        """See the module's first lines. weak: production pictures, (m, 3, s, s) in 0..1."""
        count = len(batch.corrupted)
        pictures = batch.corrupted if weak is None else torch.cat([batch.corrupted, weak])
        with torch.no_grad():
            features = self.network.generator.features(network_range(pictures))
        logit = self.network.segmenter(network_range(pictures), features).float()
        mask = torch.sigmoid(logit)
        drawn = batch.masks.amax((1, 2, 3)) > 0
        # production pictures take the place of altered normals
        judged = drawn if weak is None else torch.arange(len(pictures), device=drawn.device) >= count
        unexplained = self._unexplained(pictures, features)
        nothing = logit.sum() * 0
        losses = {
            "explanation": self._mean(((1 - mask) * unexplained)[judged]) if judged.any() else nothing,
            "sparsity": sparsity_loss(self._areas(mask[judged]), *self._area) if judged.any() else nothing,
            # -ln(1 - mask)
            "clean": self._mean(functional.softplus(logit[:count][~drawn])) if not drawn.all() else nothing,
            "synthetic": self._mean(focal_loss(logit[:count], batch.masks)),
            "variation": total_variation(mask),
        }
        weights = {
            "explanation": _EXPLANATION,
            "sparsity": self._sparsity,
            "clean": _CLEAN,
            "synthetic": self._synthetic,
            "variation": _VARIATION,
        }
        total = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
        return {"total": total} | losses

    @torch.no_grad()
    def _unexplained(self, pictures: Tensor, features: TrunkFeatures) -> Tensor:
        """Residual of each pixel in standard deviations of normal parts, cut off and scaled to 0..1; (n, 1, s, s)."""
        error = residual_error(pictures, (features.reconstruction + 1) / 2, self._spec.residual)
        limit = self._spec.norm.z_max
        return ((error - self.error_mean) * self.error_inv_std).clamp(0, limit) / limit

    def _errors(self, pictures: Tensor) -> np.ndarray:
        """Residual errors (n, s, s) of pictures in 0..1."""
        chunks = [
            residual_error(chunk, (self.network.generator(network_range(chunk)) + 1) / 2, self._spec.residual)[:, 0]
            for chunk in torch.split(pictures, _CHUNK)
        ]
        return torch.cat(chunks).cpu().numpy()

    def _draw_weak(self, count: int) -> Tensor:
        weak, random = self.data.weak, self.data.random
        pictures = self.data.vary(weak[torch.randint(len(weak), (count,), generator=random).to(weak.device)])
        # as the normals have it, or noise would tell the two apart
        return with_sensor_noise(pictures, random)

    def _areas(self, mask: Tensor) -> Tensor:
        """Share of the judged field that each mask covers, (n,)."""
        if self.data.roi is None:
            return mask.mean((1, 2, 3))
        return (mask * self.data.roi).sum((1, 2, 3)) / self.data.roi.sum()

    def _mean(self, plane: Tensor) -> Tensor:
        """Mean over the pictures and the judged field of (n, 1, s, s)."""
        return self._areas(plane).mean()


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
        "full": Variant(256, _stages(10000, 5000, 32, 1e-3), bend=0.04),
    }
    _shapes: ClassVar[dict[tuple[str, Layout], _Shape]] = {
        ("smoke", "aligned"): _Shape((16, 32, 48), 16, 16, (8, 16, 32)),
        ("smoke", "free"): _Shape((16, 32, 48), 16, 16, (8, 16, 32)),
        ("tiny", "aligned"): _Shape((16, 32, 48, 64), 4, 16, (16, 32, 64)),
        ("tiny", "free"): _Shape((16, 32, 48), 32, 16, (16, 32, 64)),
        ("edge", "aligned"): _Shape((32, 64, 64, 64, 64), 4, 32, (32, 64, 128)),
        ("edge", "free"): _Shape((32, 64, 64, 64), 64, 32, (32, 64, 128)),
        ("full", "aligned"): _Shape((64, 128, 256, 256, 256), 16, 64, (64, 128, 256)),
        ("full", "free"): _Shape((64, 128, 256, 256), 128, 64, (64, 128, 256)),
    }

    def learner(self, design: Design) -> Learner:
        shape = self._shapes[design.variant, design.layout]
        return SparsityLearner(
            SparsityNetwork(shape.widths, shape.bottleneck, shape.fusion),
            self.variants[design.variant].size,
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
