"""KIST with a pre-trained encoder: features of good parts are rebuilt, and rounds teach what must not be.

Round 0 sees the features of altered parts and rebuilds those of the good ones through a bottleneck. Further rounds
label the weak parts by the error of the features and an expert's rules, and hold that error up where a part is labelled
anomalous: to eight standard deviations of good parts, each place in its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edge.core.datatypes import F32
from edge.core.manifest import ScoreSpec
from edge.kernels.statistics import normal_statistics
from training.data.augmentation import mirrored, vary_labelled, with_sensor_noise
from training.losses import luma, pooled, ssim_map
from training.methods.base import Design, Stage, TrainingData, Variant, norm_for, seeded
from training.methods.kist_rounds import WEAK_SHIFT, WEAK_TURN_DEGREES, Rounds, round_of
from training.methods.pretrained.album import SeeingLearner, SeenBatch, Taps
from training.networks.heads import LEVELS
from training.networks.pretrained import FeatureReconstructor

# the hinge is zero from so many deviations on; its weight, and the share of a round over which it grows to that
_HELD_UP, _SUPPRESSION, _RAMP = 8.0, 0.5, 0.2
# the picture is for people, and must not draw the features away
_PIXELS, _STRUCTURE = 2.0, 0.2
# one weak part for so many pictures of good ones; varied copies of weak parts that are looked at
_NORMALS_PER_WEAK, _WEAK_COPIES = 3, 192
_MEASURED, _AT_ONCE = 48, 16
# normals that say what an ordinary error is
_MOST_NORMALS = 128
_WEAK_SEED = 2000
# a cell counts as normal when next to nothing in it is doubtful
_WHOLLY = 0.99


def _round(number: int) -> Stage:
    return Stage(f"round {number}", 120, 8, 2e-3, preset="self_training", cached=256)


PRETRAINED = Variant(
    256,
    (
        Stage("reconstruction", 300, 8, 2e-3, preset="reconstruction", free_preset="head_free", cached=512),
        _round(1),
        _round(2),
    ),
    pretrained=True,
    takes_weights=True,
    outputs=("recon", "seg_logit", "emb_dist"),
    ablations=("rules", "rounds", "transplant", "suppress"),
)


class KistSeeingLearner(SeeingLearner):
    """Trains the decoder of features; `round N` stages are self-training."""

    network: FeatureReconstructor
    sees_clean = True
    keeps = ("clean",)

    def __init__(self, design: Design, field: tuple[int, int]) -> None:
        super().__init__(FeatureReconstructor(field, aligned=design.layout == "aligned"))
        self._design = design
        self._rounds = Rounds(self.network, design, PRETRAINED.stages)
        self._weak: tuple[str, Taps] | None = None

    def attach(self, data: TrainingData) -> None:
        super().attach(data)
        self._rounds.attach(data, self._error_maps)

    def applies(self, stage: Stage) -> bool:
        return self._rounds.applies(stage)

    def prepare(self, stage: Stage) -> None:
        if not round_of(stage):
            self.network.standardised.fit(self.look_at_some(_MEASURED))

    def set_up(self, stage: Stage) -> None:
        if round_of(stage):
            self._rounds.fill_bank()

    def finish(self, stage: Stage) -> None:
        """Measure what an ordinary error is; then the round is judged, and the next one labelled."""
        self._measure()
        if self._rounds.finish(stage):
            # the network from before the round brings its own measure
            self.data.notice(f"{stage.name}: the features are rebuilt as before it")

    def get_extra_state(self) -> dict[str, Any]:
        return self._rounds.state()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self._rounds.load_state(state)

    def seen_losses(self, stage: Stage, batch: SeenBatch, share: float) -> dict[str, Tensor]:
        network = self.network
        target = network.standardised(batch.clean_seen)
        _, made, picture = network.errors(self.noisy(batch.seen))
        features = torch.stack([(target[name] - made[name]).square().mean() for name in LEVELS]).mean()
        recon = (picture.float() + 1) / 2
        pixels = functional.mse_loss(recon, batch.clean)
        structure = 1 - ssim_map(luma(recon), luma(batch.clean)).mean()
        losses = {"features": features, "pixels": pixels, "structure": structure}
        total = features + _PIXELS * pixels + _STRUCTURE * structure
        if round_of(stage):
            losses |= self._weak_losses(stage, max(1, len(batch.clean) // _NORMALS_PER_WEAK))
            weight = 0.0 if "suppress" in self._design.ablations else _SUPPRESSION * min(1.0, share / _RAMP)
            total = total + losses["promote"] + weight * losses["suppress"]
        return {"total": total} | losses

    def _weak_losses(self, stage: Stage, count: int) -> dict[str, Tensor]:
        """promote: error of normal places of weak parts. suppress: by how much that of anomalous ones is too small."""
        if self._weak is None or self._weak[0] != stage.name:
            self._weak = stage.name, self._weak_album()
        album = self._weak[1]
        chosen = torch.randint(len(album["degree"]), (count,), generator=self.data.random)
        taps = {name: album[name][chosen.to(album[name].device)].float() for name in (*LEVELS, "degree", "normal")}
        degree, normal = taps["degree"], taps["normal"]
        error = self.network.errors({name: taps[name] for name in LEVELS})[0]
        promote = (error * normal).sum() / normal.sum().clamp(min=1)
        short = functional.relu(_HELD_UP - self.network.in_deviations(error))
        return {"promote": promote, "suppress": (degree * short).sum() / degree.sum().clamp(min=1e-6)}

    @torch.no_grad()
    def _weak_album(self) -> Taps:
        """Features of varied weak parts, and of each place how anomalous it is and whether it is normal."""
        labels = self._rounds.labels
        assert labels is not None, "rounds begin with labels"
        random, weak, layout = seeded(_WEAK_SEED), self.data.weak, self._design.layout
        kept: dict[str, list[Tensor]] = {}
        for start in range(0, max(_WEAK_COPIES, len(weak)), _AT_ONCE):
            chosen = torch.arange(start, start + _AT_ONCE, device=weak.device) % len(weak)
            degree = labels.pi[chosen] * labels.anomalous[chosen]
            together = torch.cat([weak[chosen], degree, labels.normal[chosen].float()], 1)
            if layout == "free":
                together = mirrored(together, random)
            pictures, marks = vary_labelled(
                together[:, :3], together[:, 3:], random, WEAK_TURN_DEGREES[layout], WEAK_SHIFT[layout]
            )
            seen = self.look(with_sensor_noise(pictures, random))
            cells = pooled(marks, seen["tap2"])
            found = seen | {"degree": cells[:, :1], "normal": (cells[:, 1:] > _WHOLLY).float()}
            for name, values in found.items():
                kept.setdefault(name, []).append(values.half())
        return {name: torch.cat(parts) for name, parts in kept.items()}

    @torch.no_grad()
    def _measure(self) -> None:
        spec = ScoreSpec(norm=norm_for(self._design.layout))
        held_out, trained = (self._errors(some).cpu().numpy() for some in (self.data.held_out, self._some_normals()))
        found = normal_statistics(spec, held_out, [], trained)
        for buffer, values in (
            (self.network.error_mean, found.mean),
            (self.network.error_inv_std, found.inv_std),
        ):
            buffer.copy_(torch.from_numpy(values)[None, None])

    def _some_normals(self) -> Tensor:
        normals = self.data.normals
        count = min(_MOST_NORMALS, len(normals))
        return normals[torch.linspace(0, len(normals) - 1, count).round().long().to(normals.device)]

    @torch.no_grad()
    def _errors(self, pictures: Tensor) -> Tensor:
        """(n, h/8, w/8), not normalised."""
        self.network.eval()
        return torch.cat([self.network.errors(self.look(some))[0][:, 0] for some in torch.split(pictures, _AT_ONCE)])

    def _error_maps(self, pictures: Tensor) -> F32:
        errors = self._errors(pictures)[:, None]
        large = functional.interpolate(errors, pictures.shape[-2:], mode="bilinear", align_corners=False)
        result: F32 = large[:, 0].cpu().numpy()
        return result
