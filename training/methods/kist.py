"""KIST: a reconstructor of good parts, then rounds of self-training on parts that are known to be defective.

Round 0 sees altered normals and must return the clean ones. For parts that always lie the same way its bottleneck is
narrow (8 x 8 places, few channels), so that a missing or foreign part cannot pass through; textures and varying layouts
need the wide one, which repairs small places only. Every further round labels the pixels of the weak parts by the
residual of the round before and the expert's rules, and learns to reconstruct what is labelled normal and not what is
labelled anomalous (docs/rules.md). Without weak parts there is round 0 alone. The score is residual evidence.
"""

from __future__ import annotations

import itertools
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from edge.core.datatypes import F32
from edge.core.manifest import ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec
from edge.kernels.statistics import residual_errors
from training.data.augmentation import cropped, mirrored, vary_labelled, with_sensor_noise
from training.losses import error_map, gradient_loss, reconstruction_loss, suppression
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
    run_network,
)
from training.methods.kist_rounds import WEAK_SHIFT, WEAK_TURN_DEGREES, Rounds, round_of
from training.methods.pretrained.kist import PRETRAINED, KistSeeingLearner
from training.networks.kist_network import HighPassReconstructor, Reconstructor

MAP_SCALES: tuple[Literal[1, 2], ...] = (1, 2)
RESIDUALS = {
    "structure": ResidualSpec(w_l2=0.2, w_ssim=0.4, w_gms=0.4),
    "gradient+colour": ResidualSpec(w_gms=1.0, w_col=1.0),
    "intensity+gradient+colour": ResidualSpec(w_l1=1.0, w_gms=0.3, w_col=3.0),
}
# labels follow borders of defects: windows of structure terms reach three pixels beyond them
_LABELLING = ResidualSpec(w_l1=1.0, w_ssim=0.1, w_col=1.0)

# the weight of suppression, and the share of a round over which it grows to that
SUPPRESSION, _RAMP = 0.1, 0.2
# one weak part for so many normals
_NORMALS_PER_WEAK = 3
# normal pixels' error in which losses are measured: this quantile, averaged over about twenty steps
_SCALE_QUANTILE, _SCALE_STEP = 0.95, 0.05
_SCALE_SAMPLES = 20_000


class KistLearner(Learner):
    """Trains the reconstructor; `round N` stages are self-training."""

    scale: Tensor

    def __init__(self, network: nn.Module, design: Design, variant: Variant) -> None:
        super().__init__()
        self.network = network
        self._design, self._bend = design, variant.bend
        self._rounds = Rounds(network, design, variant.stages)
        # a typical error of normal pixels; 0: not known yet
        self.register_buffer("scale", torch.zeros(()))

    def attach(self, data: TrainingData) -> None:
        super().attach(data)
        self._rounds.attach(data, self._error_maps)

    def applies(self, stage: Stage) -> bool:
        return self._rounds.applies(stage)

    def finish(self, stage: Stage) -> None:
        """Take the round back if it did harm; else label the weak parts for the next one, if there is to be one."""
        self._rounds.finish(stage)

    def set_up(self, stage: Stage) -> None:
        if round_of(stage):
            self._rounds.fill_bank()

    def _error_maps(self, pictures: Tensor) -> F32:
        spec, images = ScoreSpec(residual=_LABELLING), pictures * 2 - 1
        return residual_errors(spec, list(images.cpu().numpy()), run_network(self.network, images))

    def losses(self, stage: Stage, batch: Batch, share: float) -> dict[str, Tensor]:
        if round_of(stage):
            return self._round_losses(batch, share)
        return {"total": reconstruction_loss(self._reconstructed(batch.corrupted), batch.clean)}

    def get_extra_state(self) -> dict[str, Any]:
        return self._rounds.state()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self._rounds.load_state(state)

    def _reconstructed(self, pictures: Tensor) -> Tensor:
        reconstruction: Tensor = self.network(network_range(pictures))["recon"]
        return (reconstruction.float() + 1) / 2

    def _round_losses(self, batch: Batch, share: float) -> dict[str, Tensor]:
        """promote: mean error of normal pixels. suppress: of anomalous ones, by how much too small theirs is."""
        weak, degree, normal = self._weak_batch(max(1, len(batch.clean) // _NORMALS_PER_WEAK))
        noisy = with_sensor_noise(weak, self.data.random)
        reconstructed = self._reconstructed(torch.cat([batch.corrupted, noisy]))
        good, bad = reconstructed[: len(batch.clean)], reconstructed[len(batch.clean) :]
        good_error, bad_error = error_map(good, batch.clean), error_map(bad, weak)
        self._measure_scale(good_error.detach(), batch.masks)
        known = good_error.numel() + normal.sum()
        promote = (good_error.sum() + (bad_error * normal).sum()) / known / self.scale
        anomalous = (degree > 0).sum().clamp(min=1)
        suppress = (degree * suppression(bad_error / self.scale)).sum() / anomalous
        weight = 0.0 if "suppress" in self._design.ablations else SUPPRESSION * min(1.0, share / _RAMP)
        gradient = gradient_loss(good, batch.clean) / self.scale
        total = promote + 0.1 * gradient + weight * suppress
        return {"total": total, "promote": promote, "suppress": suppress}

    def _weak_batch(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Weak parts, moved about, and theirs (count, 1, s, s): degree of anomalous pixels, and 1 on normal ones."""
        labels = self._rounds.labels
        assert labels is not None, "rounds begin with labels"
        random, weak = self.data.random, self.data.weak
        chosen = torch.randint(len(weak), (count,), generator=random).to(weak.device)
        degree = labels.pi[chosen] * labels.anomalous[chosen]
        together = torch.cat([weak[chosen], degree, labels.normal[chosen].float()], 1)
        together = cropped(together, self.data.crop, random)
        if self._design.layout == "free":
            together = mirrored(together, random)
        turn, shift = WEAK_TURN_DEGREES[self._design.layout], WEAK_SHIFT[self._design.layout]
        pictures, marks = vary_labelled(together[:, :3], together[:, 3:], random, turn, shift, self._bend)
        return pictures, marks[:, :1], marks[:, 1:]

    @torch.no_grad()
    def _measure_scale(self, error: Tensor, masks: Tensor) -> None:
        normal = error[masks == 0]
        sample = normal[:: max(1, len(normal) // _SCALE_SAMPLES)]
        found = torch.quantile(sample, _SCALE_QUANTILE).clamp(min=1e-4)
        self.scale.copy_(torch.where(self.scale > 0, torch.lerp(self.scale, found, _SCALE_STEP), found))


def _stages(steps: int, batch: int, rate: float, rounds: int, round_steps: int, round_batch: int) -> tuple[Stage, ...]:
    """Round 0, then the rounds of self-training, at a quarter of its rate.

    Rounds are judged when they end, by what they did to good and weak parts; the reconstruction loss would choose the
    weights that have unlearnt least of copying defects.
    """
    first = Stage("reconstruction", steps, batch, rate, keep_best=True)
    return first, *(
        Stage(f"round {number}", round_steps, round_batch, rate / 4, preset="self_training")
        for number in range(1, rounds + 1)
    )


class Kist:
    """Method protocol."""

    name: Literal["kist"] = "kist"
    outputs: ClassVar[tuple[OutputName, ...]] = ("recon",)
    ablations: ClassVar[tuple[str, ...]] = ("rules", "rounds", "transplant", "suppress")
    variants: ClassVar = {
        "smoke": Variant(size=64, stages=_stages(60, 8, 3e-3, rounds=1, round_steps=20, round_batch=6)),
        "tiny": Variant(
            size=128,
            stages=_stages(900, 16, 2e-3, rounds=2, round_steps=200, round_batch=12),
            bend=0.04,
            free_field=256,
        ),
        "edge": Variant(size=256, stages=_stages(1500, 8, 2e-3, rounds=2, round_steps=300, round_batch=6), bend=0.04),
        "pretrained": PRETRAINED,
        "full": Variant(size=256, stages=_stages(20000, 8, 5e-4, rounds=3, round_steps=2000, round_batch=6), bend=0.04),
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
    # of the first level of the U-Net: 165 GMAC at 256 x 256
    _full_width: ClassVar = 128

    def learner(self, design: Design) -> Learner:
        plan = self.variants[design.variant]
        if plan.pretrained:
            return KistSeeingLearner(design, field_of(design, plan))
        network: nn.Module
        if design.variant == "full":
            network = HighPassReconstructor(self._full_width)
        else:
            network = Reconstructor(*self._networks[design.variant, design.layout])
        return KistLearner(network, design, plan)

    def score_candidates(self, size: int, layout: Layout) -> dict[str, ScoreSpec]:
        candidates: dict[str, ScoreSpec] = {}
        for (name, residual), box, scale, top in itertools.product(
            RESIDUALS.items(), (11, 21), MAP_SCALES, (100, 1000)
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
