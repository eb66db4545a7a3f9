"""What a method is: networks for its variants, stages of training, a loss per step, and what its outputs are worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from edge.core.manifest import MethodName, NormSpec, ResidualSpec, ScoreSpec
from edge.kernels.cpu import NetworkOutputs
from training.data.dataset import Layout as Layout

OutputName = Literal["recon", "seg_logit", "emb_dist"]
Blend = Literal["product", "wsum", "max", "noisy_or", "gate", "sum"]
_SCORED = ("recon", "seg_logit", "emb_dist")
# pictures that a network is shown at once outside of training
_BATCH = 16


@dataclass(frozen=True)
class Stage:
    """One stretch of training with one optimiser and one schedule.

    preset: artificial defects its batches carry (training.defects.PRESETS); None: none, the batch is clean.
    free_preset: those of parts with a free layout, where they differ.
    averaged: weights are an exponential average (decay 0.99), which the stage hands on at its end.
    keep_best: the average with the lowest validation loss is handed on, and the stage may stop early.
    cached: pictures that are drawn once, for learners with a frozen encoder: what it sees of them is kept, and batches
    are taken from that. 0: every batch is drawn anew.
    """

    name: str
    steps: int
    batch: int
    learning_rate: float
    preset: str | None = "reconstruction"
    averaged: bool = True
    keep_best: bool = False
    free_preset: str | None = None
    cached: int = 0

    def preset_for(self, layout: Layout) -> str | None:
        return self.free_preset if layout == "free" and self.free_preset is not None else self.preset


@dataclass(frozen=True)
class Variant:
    """One size of a method: network side in pixels and its stages, for a CPU unless it is `full`.

    pretrained: the network has a frozen pre-trained encoder and takes fields of any aspect; `size` is the side of a
    square of the same area. takes_weights: an owner's checkpoint may fill its encoder. outputs, ablations: where they
    are not those of the method. native: the field has the pictures' own scale; training sees crops of `size`, turned
    by quarters and mirrored alone. scores: its score paths, where they are not those of the method.
    residuals: by name, what of its reconstruction the score of such a network may weigh.
    """

    size: int
    stages: tuple[Stage, ...]
    bend: float = 0.0
    free_field: int = 0
    pretrained: bool = False
    takes_weights: bool = False
    outputs: tuple[OutputName, ...] | None = None
    ablations: tuple[str, ...] | None = None
    native: bool = False
    scores: Mapping[str, ScoreSpec] = field(default_factory=dict)
    residuals: Mapping[str, ResidualSpec] = field(default_factory=dict)


@dataclass(frozen=True)
class Design:
    """What must be known to build a network again.

    layout: `aligned` parts always lie the same way; `free` ones are textures or vary from part to part.
    ablations: parts of the method left out, to measure what they are worth. field: (height, width) in pixels, None: the
    variant's square.
    """

    variant: str
    layout: Layout = "aligned"
    ablations: frozenset[str] = frozenset()
    field: tuple[int, int] | None = None


@dataclass(frozen=True)
class Batch:
    """Pictures in 0..1, (n, 3, h, w): what the network sees, what it should have seen, and where they differ.

    masks: (n, 1, h, w), 1 where a defect was drawn.
    """

    corrupted: Tensor
    clean: Tensor
    masks: Tensor

    def laid_out(self, memory_format: torch.memory_format) -> Batch:
        """With both pictures in this order in memory."""
        corrupted, clean = (each.contiguous(memory_format=memory_format) for each in (self.corrupted, self.clean))
        return Batch(corrupted, clean, self.masks)


class Draws(Protocol):
    """Draws batches as the run does, from random numbers of its own."""

    random: torch.Generator

    def draw(self, stage: Stage, count: int) -> Batch: ...

    def vary(self, pictures: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class TrainingData:
    """All a method may look at, on the training device; test pictures are not in it.

    normals, held_out: (n, 3, h, w) in 0..1. crop: side of the pictures in a batch, None where they are whole. weak: as
    normals, parts known to be defective, without masks; kinds names the folder of each. roi: (1, 1, h, w), 1 where
    parts are judged, None: everywhere. rules: a rules file. random: the run's own generator, restored when a run
    resumes. vary: natural variation of a batch, as the run's batches have it. set_bank: hand real defects to the
    artificial ones, pictures (n, 3, c, c) and masks (n, 1, c, c) of the size of a batch. draws: batches from random
    numbers of their own, which a seed starts: the same ones again when a run resumes. run_directory: for pictures that
    show what training did. notice: tells the person who trains. weights: an owner's checkpoint for the encoder, None:
    those of the package.
    """

    normals: Tensor
    held_out: Tensor
    weak: Tensor
    kinds: tuple[str, ...]
    roi: Tensor | None
    rules: Path | None
    random: torch.Generator
    vary: Callable[[Tensor], Tensor]
    set_bank: Callable[[Tensor, Tensor], None]
    draws: Callable[[int], Draws]
    run_directory: Path
    notice: Callable[[str], None]
    crop: int | None
    weights: Path | None = None


class Learner(nn.Module):
    """Everything one run trains: the deployed network, and what only training needs.

    network: exported; takes (n, 3, s, s) in -1..1, returns {output name: tensor} as the manifest lists them. What it
    returns as tap1, tap2 ... are features, which a memory is fitted to that gives `emb_dist` in their place. All other
    state (discriminator, heads, centres) is a submodule or buffer too, or comes through get_extra_state, so that a
    run can resume from the state dict.
    """

    network: nn.Module
    data: TrainingData
    # sha256 of the checkpoint that the encoder came from; None: it was trained here
    weights_sha256: str | None = None

    def attach(self, data: TrainingData) -> None:
        """Called once, before anything else, also when a run resumes."""
        self.data = data

    def applies(self, stage: Stage) -> bool:
        """Asked before a stage starts, from `attach` on: False leaves it out. Changes nothing."""
        return True

    def prepare(self, stage: Stage) -> None:
        """Called once when a stage starts, not when it resumes: what it computes must be part of the state."""

    def set_up(self, stage: Stage) -> None:
        """Called when a stage starts or resumes, after `prepare`: freeze and unfreeze."""

    def finish(self, stage: Stage) -> None:
        """Called once when a stage has ended and its weights are handed on; may change what applies from here on."""

    def parameter_groups(self, stage: Stage) -> list[dict[str, Any]]:
        """For AdamW: {"params": [...], "scale": s}; a group learns at scale times the stage's rate."""
        return [{"params": [p for p in self.parameters() if p.requires_grad], "scale": 1.0}]

    def next_batch(self, stage: Stage, draw: Callable[[], Batch]) -> Batch:
        """What `losses` gets next; `draw` makes a new batch, and a learner that keeps pictures takes one of those."""
        return draw()

    def losses(self, stage: Stage, batch: Batch, share: float) -> dict[str, Tensor]:
        """Scalars by name; `total` is minimised, all are shown. share: 0..1, how much of the stage is done."""
        raise NotImplementedError

    def validation_loss(self, stage: Stage, batch: Batch) -> Tensor:
        """Scalar, lower is better, on held-out normals with artificial defects; chooses weights, stops early."""
        return self.losses(stage, batch, 1.0)["total"]

    def adversary_parameters(self, stage: Stage) -> list[nn.Parameter]:
        """Parameters of an adversary that is stepped before each step of the rest; empty: there is none."""
        return []

    def adversary_losses(self, stage: Stage, batch: Batch, share: float) -> dict[str, Tensor]:
        """As `losses`, for the adversary; only called when it has parameters."""
        raise NotImplementedError


class Method(Protocol):
    """Everything that differs between methods."""

    @property
    def name(self) -> MethodName: ...
    @property
    def variants(self) -> dict[str, Variant]: ...
    @property
    def outputs(self) -> tuple[OutputName, ...]: ...
    @property
    def ablations(self) -> tuple[str, ...]:
        """Names that a Design may leave out."""
        ...

    def learner(self, design: Design) -> Learner:
        """A fresh learner; weights depend on torch's seed alone."""
        ...

    def score_candidates(self, size: int, layout: Layout) -> dict[str, ScoreSpec]:
        """Score paths worth trying; the selection rule picks one on held-out normals and artificial defects."""
        ...


def field_of(design: Design, plan: Variant) -> tuple[int, int]:
    """(height, width) of the field, in pixels."""
    return (plan.size, plan.size) if design.field is None else design.field


def network_range(pictures: Tensor) -> Tensor:
    """0..1 → -1..1, in the same order in memory."""
    return pictures * 2 - 1


def run_network(network: nn.Module, images: Tensor) -> list[NetworkOutputs]:
    """Outputs in float32 for pictures (n, 3, h, w) in -1..1, in evaluation mode."""
    network.eval()
    results = []
    with torch.no_grad():
        for batch in torch.split(images, _BATCH):
            named = {name: values.float().cpu().numpy() for name, values in network(batch).items() if name in _SCORED}
            for index in range(batch.shape[0]):
                planes = {name: v[index] if name == "recon" else v[index, 0] for name, v in named.items()}
                results.append(NetworkOutputs(**planes))
    return results


def seeded(seed: int) -> torch.Generator:
    """A generator of its own on the CPU, so that data order does not depend on the device."""
    return torch.Generator(device="cpu").manual_seed(seed)


def norm_for(layout: Layout) -> NormSpec:
    """Statistics for each place where parts lie the same way, else one for all places."""
    return NormSpec(kind="pixel" if layout == "aligned" else "global")
