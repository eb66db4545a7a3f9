"""The learner of the sparsity prior: a generator repairs parts, a segmenter is told that defects are rare.

Stage `generator`: an EdgeTrunk sees altered normals and must return the clean ones, watched by a discriminator.
Stage `segmenter`: the generator is frozen. The mask must cover what the generator could not explain, while a Bernoulli
Kullback-Leibler term holds its area to what defects usually have; artificial masks have a small say. Production
pictures without masks take the place of the altered normals where there are some. Formulas: losses below.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.core.manifest import NormSpec, ResidualSpec, ScoreSpec
from edge.kernels.statistics import normal_statistics
from training.data.augmentation import with_sensor_noise
from training.labelling import load_rules
from training.losses import focal_loss, luma, pooled, residual_error, sparsity_loss, ssim_map, total_variation
from training.methods.base import Batch, Learner, Stage, TrainingData, network_range
from training.networks.adversary import Adversary
from training.networks.blocks import EdgeTrunk
from training.networks.fusion import FusionSegmenter

# generator: weights of L1, structure, latent distance and adversary. Structure weighs half as much as L1: with a tenth,
# held-out normals came back less alike in both
_L1, _STRUCTURE, _LATENT, _ADVERSARY = 50.0, 25.0, 1.0, 1.0
# the discriminator learns alone for so many steps, or this share of a short stage
_WARM_UP_STEPS, _WARM_UP_SHARE = 200, 0.25
# segmenter: weights of explanation, sparsity, clean parts, artificial masks and total variation
_EXPLANATION, _SPARSITY, _CLEAN, _SYNTHETIC, _VARIATION = 1.0, 0.5, 1.0, 0.2, 1e-3
# least and largest share of a defective picture that is defective, where no rules say: a single share made small
# defects grow to it
_USUAL_AREA = (0.0005, 0.2)
# a range that an expert gave holds harder; and how far inside of it, as a factor, the area term starts to pull
_SPARSITY_RANGE, _MARGIN = 2.0, 1.5
# normals that say what an ordinary residual is
_NORMALS_MEASURED = 128
_CHUNK = 16
# what counts as unexplained: structure, and colour where structure says nothing
_EXPLAINED = ResidualSpec(w_l1=1.0, w_gms=0.3, w_col=3.0)


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

    field: (height, width) of the network. norm: of the statistics that make the residual comparable. discriminator: its
    widths, None for the method without one. ablations: see SparsityPrior.
    """

    network: Any
    error_mean: Tensor
    error_inv_std: Tensor

    def __init__(
        self,
        network: nn.Module,
        field: tuple[int, int],
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
        self.register_buffer("error_mean", torch.zeros(1, 1, *field))
        self.register_buffer("error_inv_std", torch.zeros(1, 1, *field))
        self._frozen = False
        self._area = _held_area(*_USUAL_AREA)
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
        """See the module's first lines. weak: production pictures, (m, 3, h, w) in 0..1."""
        count = len(batch.corrupted)
        pictures = batch.corrupted if weak is None else torch.cat([batch.corrupted, weak])
        with torch.no_grad():
            features = self.network.generator.features(network_range(pictures))
        logit = self.network.segmenter(network_range(pictures), features).float()
        mask = torch.sigmoid(logit)
        drawn = batch.masks.amax((1, 2, 3)) > 0
        # production pictures take the place of altered normals
        judged = drawn if weak is None else torch.arange(len(pictures), device=drawn.device) >= count
        unexplained = self.unexplained(pictures, features.reconstruction)
        nothing = logit.sum() * 0
        losses = {
            "explanation": self._mean(((1 - mask) * unexplained)[judged]) if judged.any() else nothing,
            "sparsity": sparsity_loss(self._areas(mask[judged]), *self._area) if judged.any() else nothing,
            # -ln(1 - mask)
            "clean": self._mean(functional.softplus(logit[:count][~drawn])) if not drawn.all() else nothing,
            "synthetic": self._mean(focal_loss(logit[:count], batch.masks)),
            "variation": total_variation(mask),
        }
        return self._weighed(losses)

    def _weighed(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """The losses of a segmenter, and their weighted sum as `total`."""
        weights = {
            "explanation": _EXPLANATION,
            "sparsity": self._sparsity,
            "clean": _CLEAN,
            "synthetic": self._synthetic,
            "variation": _VARIATION,
        }
        return {"total": torch.stack([weights[name] * value for name, value in losses.items()]).sum()} | losses

    @torch.no_grad()
    def unexplained(self, pictures: Tensor, reconstruction: Tensor) -> Tensor:
        """Residual of each pixel in standard deviations of normal parts, cut off and scaled to 0..1; (n, 1, h, w).

        pictures in 0..1, reconstruction in -1..1.
        """
        error = residual_error(pictures, (reconstruction + 1) / 2, self._spec.residual)
        limit = self._spec.norm.z_max
        return ((error - self.error_mean) * self.error_inv_std).clamp(0, limit) / limit

    def _errors(self, pictures: Tensor) -> np.ndarray:
        """Residual errors (n, h, w) of pictures in 0..1."""
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
        roi = pooled(self.data.roi, mask)
        return (mask * roi).sum((1, 2, 3)) / roi.sum()

    def _mean(self, plane: Tensor) -> Tensor:
        """Mean over the pictures and the judged field of (n, 1, h, w)."""
        return self._areas(plane).mean()
