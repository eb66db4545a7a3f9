"""SLSG: a pixel classifier that relates places, trained on artificial structural and logical anomalies.

Stage `position`: the encoder and the graph rebuild pictures with cells masked and moved, so that they know what belongs
where. Stage `anomalies`: normal pictures and as many altered ones; each place is normal or not. A second output is the
distance of each place to the centre of normal places, fixed between the stages.
Without pre-trained weights the encoder goes on learning, at a tenth of the rate, and its batch norm stands still
from half of the second stage on. Variant `pretrained` has a frozen encoder that ImageNet taught, as the published one
(training/methods/pretrained/slsg.py).
"""

from __future__ import annotations

import itertools
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.core.manifest import BlendSpec, ImageScoreSpec, ScoreSpec, SmoothSpec
from training.data.augmentation import with_sensor_noise
from training.defects.logical_components import Anatomy, anatomy_of
from training.losses import focal_loss, luma, ssim_map
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
    seeded,
)  # fmt: skip
from training.methods.logical import with_grafts, with_logical
from training.methods.pretrained.slsg import PRETRAINED, SlsgSeeingLearner
from training.networks.slsg_network import MirroredDecoder, Shape, SlsgNetwork

POSITION, ANOMALIES = "position", "anomalies"
_ENCODER_SCALE, _FREEZE_NORM_AT = 0.1, 0.5
_FOCAL_GAMMA = 4
_FOCAL, _L1, _AUX, _COMPACTNESS = 0.4, 0.6, 0.3, 0.1
_ALTERED_SHARE = 0.25
# share of altered pictures that are logical anomalies
_LOGICAL = 0.5
_CELL_PX, _GRID = 16, 4
_CENTRE_BATCH = 16


class SlsgLearner(Learner):
    """The network, and the decoder of its pre-training."""

    network: SlsgNetwork

    def __init__(self, shape: Shape, design: Design) -> None:
        super().__init__()
        self.network = SlsgNetwork(shape, aligned=design.layout == "aligned", ablations=design.ablations)
        self.mirror = MirroredDecoder(shape)
        self.compact = "compactness" not in design.ablations
        # components and places mean something only where parts always lie the same way
        self.logical = "logical" not in design.ablations and design.layout == "aligned"
        self._anatomy: Anatomy | None = None

    def attach(self, data: TrainingData) -> None:
        super().attach(data)
        if data.weights is not None:
            # as published: what somebody else taught the encoder stays
            self.weights_sha256 = self.network.encoder.load_weights(data.weights)
            self.network.encoder.requires_grad_(False)
        if self.logical:
            self._anatomy = anatomy_of(data.normals, seeded(0))

    @torch.no_grad()
    def prepare(self, stage: Stage) -> None:
        """The centre of normal places is their mean after pre-training, and stays."""
        if stage.name != ANOMALIES:
            return
        self.eval()
        embedded = [
            self.network.embed(self.network.features(network_range(some))[-1]).mean((0, 2, 3)) * len(some)
            for some in torch.split(self.data.normals, _CENTRE_BATCH)
        ]
        self.network.centre.copy_((torch.stack(embedded).sum(0) / len(self.data.normals)).view(1, -1, 1, 1))
        self.train()

    def parameter_groups(self, stage: Stage) -> list[dict[str, Any]]:
        if stage.name == POSITION:
            learned = (self.network.encoder, self.network.graph, self.mirror)
            return [{"params": [p for part in learned for p in part.parameters() if p.requires_grad], "scale": 1.0}]
        named = [(name, p) for name, p in self.network.named_parameters() if p.requires_grad]
        encoder = [p for name, p in named if name.startswith("encoder.")]
        others = [p for name, p in named if not name.startswith("encoder.")]
        groups = [{"params": encoder, "scale": _ENCODER_SCALE}] if encoder else []
        return [*groups, {"params": others, "scale": 1.0}]

    def losses(self, stage: Stage, batch: Batch, share: float) -> dict[str, Tensor]:
        if stage.name == POSITION:
            return self._position_losses(batch.clean, self.data.random)
        if self.training and share >= _FREEZE_NORM_AT:
            for module in self.network.encoder.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self._anomaly_losses(batch, self.data.random)

    def validation_loss(self, stage: Stage, batch: Batch) -> Tensor:
        """With the same draws every time."""
        if stage.name == POSITION:
            return self._position_losses(batch.clean, seeded(1))["total"]
        return self._anomaly_losses(batch, seeded(1))["total"]

    def _position_losses(self, clean: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        """L1 + 0.5 (1 - SSIM of luma) of the rebuilt picture."""
        rebuilt = self.mirror(self.network.features(network_range(hidden_cells(clean, random)))[-1])
        rebuilt = (rebuilt.float() + 1) / 2
        pixels = functional.l1_loss(rebuilt, clean)
        structure = 1 - ssim_map(luma(rebuilt), luma(clean)).mean()
        return {"total": pixels + 0.5 * structure, "pixels": pixels, "structure": structure}

    def _anomaly_losses(self, batch: Batch, random: torch.Generator) -> dict[str, Tensor]:
        pictures, masks = self._normals_and_partners(batch, random)
        parts = {name: value.float() for name, value in self.network.parts(network_range(pictures)).items()}
        probability = parts["seg_logit"].sigmoid()
        terms = {
            "focal": _FOCAL * focal_loss(parts["seg_logit"], masks, _FOCAL_GAMMA).mean(),
            "l1": _L1 * balanced_l1(probability, masks),
            "aux": _AUX * balanced_l1(parts["aux_logit"].sigmoid(), masks),
        }
        if self.compact:
            terms["compactness"] = _COMPACTNESS * compactness_loss(parts["centre_dist"], masks)
        return {"total": torch.stack(list(terms.values())).sum(), **terms}

    def _normals_and_partners(self, batch: Batch, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Normal pictures, then an altered partner of each, and the masks of both."""
        normals, partners, masks = batch.clean, batch.corrupted, batch.masks
        if self._anatomy is not None:
            normals = with_grafts(normals, self._anatomy, random)
            partners, masks = with_logical(batch, self._anatomy, random, _LOGICAL)
        pictures = torch.cat([with_sensor_noise(normals, random), partners])
        return pictures, torch.cat([torch.zeros_like(masks), masks])


def hidden_cells(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Half the pictures with cells moved, then 30 to 50 % of the 16-pixel cells of each grey."""
    count, _, side, _ = pictures.shape
    moved = torch.rand(count, generator=random) < 0.5
    hidden = torch.stack(
        [cells_moved(picture, random) if move else picture for picture, move in zip(pictures, moved, strict=True)]
    )
    cells = side // _CELL_PX
    share = 0.3 + 0.2 * torch.rand(count, 1, generator=random)
    rank = torch.rand(count, cells**2, generator=random).argsort(1).argsort(1)
    masked = (rank < share * cells**2).float().view(count, 1, cells, cells).to(pictures.device)
    masked = functional.interpolate(masked, (side, side), mode="nearest")
    return hidden * (1 - masked) + 0.5 * masked


def cells_moved(picture: Tensor, random: torch.Generator) -> Tensor:
    """The picture (3, s, s) with 2 to 6 cells of a 4 x 4 grid in a ring of each other's places."""
    cell = picture.shape[-1] // _GRID
    number = int(torch.randint(2, 7, (), generator=random))
    chosen = torch.randperm(_GRID**2, generator=random)[:number].tolist()
    moved = picture.clone()
    for target, source in zip(chosen, (*chosen[1:], chosen[0]), strict=True):
        (ty, tx), (sy, sx) = (tuple(cell * step for step in divmod(place, _GRID)) for place in (target, source))
        moved[:, ty : ty + cell, tx : tx + cell] = picture[:, sy : sy + cell, sx : sx + cell]
    return moved


def balanced_l1(probability: Tensor, masks: Tensor) -> Tensor:
    """Mean of |P - M| in which all altered pixels together weigh a quarter.

    They are few of the pixels, and a plain mean is nearly as content with calling every pixel normal.
    """
    error = (probability - masks).abs()
    altered = (error * masks).sum() / masks.sum().clamp(min=1)
    normal = (error * (1 - masks)).sum() / (1 - masks).sum().clamp(min=1)
    return _ALTERED_SHARE * altered + (1 - _ALTERED_SHARE) * normal


def compactness_loss(distance: Tensor, masks: Tensor) -> Tensor:
    """Normal places near the centre, altered ones far: mean A over the first - mean log(1 - exp(-A)) over the second.

    distance: A, (n, 1, g, g); a place is altered when any pixel of it is (Liznerski et al., 2021).
    """
    altered = functional.adaptive_max_pool2d(masks, distance.shape[2:])
    far = -torch.log(-torch.expm1(-distance.clamp(min=1e-6)))
    normal_part = (distance * (1 - altered)).sum() / (1 - altered).sum().clamp(min=1)
    return normal_part + (far * altered).sum() / altered.sum().clamp(min=1)


def _stages(position: int, anomalies: int, batch: int, rate: float) -> tuple[Stage, ...]:
    return (
        Stage(POSITION, position, batch, rate, preset=None),
        Stage(ANOMALIES, anomalies, batch, rate, preset="slsg"),
    )


class Slsg:
    """Method protocol."""

    name: Literal["slsg"] = "slsg"
    outputs: ClassVar[tuple[OutputName, ...]] = ("seg_logit", "emb_dist")
    ablations: ClassVar[tuple[str, ...]] = ("graph", "dense", "sparse", "logical", "compactness")
    variants: ClassVar[dict[str, Variant]] = {
        "smoke": Variant(64, _stages(40, 160, 8, 4e-3)),
        "tiny": Variant(128, _stages(200, 900, 8, 2e-3)),
        "edge": Variant(256, _stages(600, 1200, 8, 2e-3)),
        "pretrained": PRETRAINED,
        "full": Variant(256, _stages(5000, 8000, 16, 1e-3), takes_weights=True),
    }
    _shapes: ClassVar[dict[str, Shape]] = {
        "smoke": Shape(64, (16, 24, 32), (16, 16), 16),
        "tiny": Shape(128, (16, 32, 48, 64), (16, 24, 32), 32),
        "edge": Shape(256, (24, 48, 96, 128), (24, 48, 96), 64),
        "full": Shape(256, (64, 128, 256, 512), (64, 128, 256), 256, residual=True, groups=4),
    }

    def learner(self, design: Design) -> Learner:
        plan = self.variants[design.variant]
        if plan.pretrained:
            return SlsgSeeingLearner(design, field_of(design, plan))
        return SlsgLearner(self._shapes[design.variant], design)

    def score_candidates(self, size: int, layout: Layout) -> dict[str, ScoreSpec]:
        evidence = {
            "probability": BlendSpec(mode="product", alpha=1, beta=0),
            "probability x sqrt distance": BlendSpec(mode="product", alpha=1, beta=0.5),
            "noisy_or": BlendSpec(mode="noisy_or"),
            "distance": BlendSpec(mode="product", alpha=0, beta=1),
        }
        candidates: dict[str, ScoreSpec] = {}
        for (name, blend), sigma, top in itertools.product(evidence.items(), (1, 2, 4), (100, 1000)):
            k, radius = max(1, top * size * size // 65536), max(1, sigma * size // 256)
            candidates[f"{name}, gaussian {radius}, top {k}"] = ScoreSpec(
                blend=blend, smooth=SmoothSpec(kind="gaussian", radius=radius), image_score=ImageScoreSpec(k=k)
            )
        return candidates
