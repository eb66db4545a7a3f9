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

from edge.core.manifest import ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec
from training.data.augmentation import cropped, mirrored, vary_labelled, with_sensor_noise
from training.labelling import RuleBook, load_rules
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
    network_range,
    norm_for,
)
from training.methods.kist_labels import ResidualMaps, Teacher, WeakLabels
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
# rounds end when labels stay the same; one is taken back when good parts' residual rises or weak parts stand out less
_SAME_LABELS, _MOST_RISE, _MOST_LOSS = 0.95, 1.1, 0.03
# how far weak parts are turned and moved; as far as normals where the layout is learned
_WEAK_TURN_DEGREES: dict[Layout, float] = {"aligned": 2.0, "free": 10.0}
_WEAK_SHIFT: dict[Layout, float] = {"aligned": 0.02, "free": 0.05}


class KistLearner(Learner):
    """Trains the reconstructor; `round N` stages are self-training."""

    scale: Tensor

    def __init__(self, network: nn.Module, design: Design, variant: Variant) -> None:
        super().__init__()
        self.network = network
        self._design, self._bend = design, variant.bend
        self._rounds = sum(_round_of(stage) > 0 for stage in variant.stages)
        # a typical error of normal pixels; 0: not known yet
        self.register_buffer("scale", torch.zeros(()))
        self._stopped = False
        self._labels: WeakLabels | None = None
        # network before the round, and how it stood after round 0: mean residual of good parts, separation of weak ones
        self._before: dict[str, Tensor] = {}
        self._standing: tuple[float, float] | None = None

    def attach(self, data: TrainingData) -> None:
        super().attach(data)
        with_rules = data.rules is not None and "rules" not in self._design.ablations
        book = load_rules(data.rules) if data.rules is not None and with_rules else RuleBook()
        self._teacher = Teacher(data, book, _LABELLING)

    def applies(self, stage: Stage) -> bool:
        if not _round_of(stage):
            return True
        return len(self.data.weak) > 0 and "rounds" not in self._design.ablations and not self._stopped

    def finish(self, stage: Stage) -> None:
        """Take the round back if it did harm; else label the weak parts for the next one, if there is to be one."""
        done = _round_of(stage)
        if len(self.data.weak) == 0 or "rounds" in self._design.ablations:
            return
        maps = self._teacher.residual_maps(self.network)
        harm = self._harm_of(maps)
        if harm:
            self.network.load_state_dict(self._before)
            self._stopped = True
            self.data.notice(f"{stage.name} is taken back: {harm}")
        elif done < self._rounds:
            self._label(maps, done + 1)
        self._before = {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def set_up(self, stage: Stage) -> None:
        if _round_of(stage) and self._labels is not None and "transplant" not in self._design.ablations:
            found = self._labels.anomalous.flatten(1).any(1)
            together = torch.cat([self.data.weak[found], self._labels.anomalous[found].float()], 1)
            together = around(together, self._labels.pi[found], self.data.crop)
            self.data.set_bank(together[:, :3], together[:, 3:])

    def losses(self, stage: Stage, batch: Batch, share: float) -> dict[str, Tensor]:
        if _round_of(stage):
            return self._round_losses(batch, share)
        return {"total": reconstruction_loss(self._reconstructed(batch.corrupted), batch.clean)}

    def get_extra_state(self) -> dict[str, Any]:
        labels = self._labels
        return {
            "stopped": self._stopped,
            "labels": None if labels is None else {"pi": labels.pi, "state": labels.state},
            "before": self._before,
            "standing": self._standing,
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self._stopped, self._before, self._standing = state["stopped"], state["before"], state["standing"]
        self._labels = None if state["labels"] is None else WeakLabels(**state["labels"])

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
        assert self._labels is not None, "rounds begin with labels"
        random, weak = self.data.random, self.data.weak
        chosen = torch.randint(len(weak), (count,), generator=random).to(weak.device)
        degree = self._labels.pi[chosen] * self._labels.anomalous[chosen]
        together = torch.cat([weak[chosen], degree, self._labels.normal[chosen].float()], 1)
        together = cropped(together, self.data.crop, random)
        if self._design.layout == "free":
            together = mirrored(together, random)
        turn, shift = _WEAK_TURN_DEGREES[self._design.layout], _WEAK_SHIFT[self._design.layout]
        pictures, labels = vary_labelled(together[:, :3], together[:, 3:], random, turn, shift, self._bend)
        return pictures, labels[:, :1], labels[:, 1:]

    @torch.no_grad()
    def _measure_scale(self, error: Tensor, masks: Tensor) -> None:
        normal = error[masks == 0]
        sample = normal[:: max(1, len(normal) // _SCALE_SAMPLES)]
        found = torch.quantile(sample, _SCALE_QUANTILE).clamp(min=1e-4)
        self.scale.copy_(torch.where(self.scale > 0, torch.lerp(self.scale, found, _SCALE_STEP), found))

    def _harm_of(self, maps: ResidualMaps) -> str:
        """What got worse since round 0, by parts that training may look at; empty: nothing did."""
        if self._standing is None:
            self._standing = maps.level, maps.separation
        level, separation = self._standing
        if maps.level > _MOST_RISE * level:
            return f"the residual of good parts held out rose from {level:.4f} to {maps.level:.4f}"
        if maps.separation < separation - _MOST_LOSS:
            return (
                "weak parts are told from good ones held out less well: "
                f"image AUROC {maps.separation:.3f} instead of {separation:.3f}"
            )
        return ""

    def _label(self, maps: ResidualMaps, number: int) -> None:
        before = self._labels
        self._labels = self._teacher.label(maps, self.data.run_directory / f"labels-round-{number}.png")
        found = self._labels.anomalous
        if not found.any():
            self._stopped = True
            self.data.notice("no pixel of the weak parts could be labelled anomalous: no self-training")
        elif before is not None and (overlap := self._labels.overlap(before)) > _SAME_LABELS:
            self._stopped = True
            self.data.notice(f"labels stay as they are (mean overlap {overlap:.2f}): no further round")
        else:
            parts, share = int(found.flatten(1).any(1).sum()), float(found.float().mean())
            self.data.notice(
                f"round {number}: {share:.1%} of the pixels of {len(found)} weak parts are labelled anomalous, "
                f"on {parts} of them; see labels-round-{number}.png"
            )


def around(pictures: Tensor, degree: Tensor, side: int | None) -> Tensor:
    """Of each picture (n, c, s, s) the square of `side` pixels around the highest place of its degree (n, 1, s, s).

    side: None leaves them whole, of any aspect.
    """
    if side is None:
        return pictures
    size = pictures.shape[-1]
    places = degree.flatten(1).argmax(1).tolist()
    corners = [[min(max(middle - side // 2, 0), size - side) for middle in divmod(place, size)] for place in places]
    return torch.stack([p[:, y : y + side, x : x + side] for p, (y, x) in zip(pictures, corners, strict=True)])


def _round_of(stage: Stage) -> int:
    """1, 2, … for stages of self-training, 0 for the one before."""
    return int(stage.name.removeprefix("round ")) if stage.name.startswith("round ") else 0


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
        network: nn.Module
        if design.variant == "full":
            network = HighPassReconstructor(self._full_width)
        else:
            network = Reconstructor(*self._networks[design.variant, design.layout])
        return KistLearner(network, design, self.variants[design.variant])

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
