"""Pictures that are drawn once, with what a frozen encoder sees of them: training then costs the heads alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from training.methods.base import Batch, Draws, Learner, Stage, TrainingData, network_range
from training.networks.efficientnet_lite import EfficientNetLite

# of a batch of eight, those without a defect
CLEAN_SHARE = 3 / 8
# noise on features that heads are trained on, in their own standard deviations
_FEATURE_NOISE = 0.1
_AT_ONCE = 16
# the pictures are others than those of the run's own batches
_SEED = 1000
Taps = dict[str, Tensor]


@dataclass(frozen=True)
class SeenBatch(Batch):
    """A batch with what the encoder sees of it: `seen` of `corrupted`, `clean_seen` of `clean`, taps by name.

    Pictures that a learner does not need have no pixels: (n, 3, 0, 0). made: whatever else the learner computed.
    """

    seen: Taps = field(default_factory=dict)
    clean_seen: Taps = field(default_factory=dict)
    made: Taps = field(default_factory=dict)

    def laid_out(self, memory_format: torch.memory_format) -> SeenBatch:
        def ordered(taps: Taps) -> Taps:
            return {name: values.contiguous(memory_format=memory_format) for name, values in taps.items()}

        pictures = super().laid_out(memory_format)
        return SeenBatch(
            pictures.corrupted, pictures.clean, pictures.masks,
            ordered(self.seen), ordered(self.clean_seen), ordered(self.made),
        )  # fmt: skip


class Album:
    """Seen batches kept in little memory: pictures in 8 bits, features in 16."""

    def __init__(self, batches: Iterable[SeenBatch]) -> None:
        kept: dict[str, list[Tensor]] = {}
        for batch in batches:
            for name, values in _planes(batch).items():
                kept.setdefault(name, []).append(_packed(name, values))
        self._planes = {name: torch.cat(parts) for name, parts in kept.items()}
        drawn = self._planes["masks"].flatten(1).any(1)
        self._defective, self._clean = (torch.nonzero(which)[:, 0] for which in (drawn, ~drawn))

    def __len__(self) -> int:
        return len(self._planes["masks"])

    def draw(self, random: torch.Generator, count: int) -> SeenBatch:
        """Three clean pictures for five defective ones, where there are both."""
        clean = count if not len(self._defective) else round(CLEAN_SHARE * count) if len(self._clean) else 0
        chosen = [
            group[torch.randint(len(group), (number,), generator=random).to(group.device)]
            for group, number in ((self._clean, clean), (self._defective, count - clean))
            if number
        ]
        return self.take(torch.cat(chosen))

    def take(self, indexes: Tensor) -> SeenBatch:
        planes = {name: _unpacked(name, values[indexes]) for name, values in self._planes.items()}
        groups: dict[str, Taps] = {"seen": {}, "clean_seen": {}, "made": {}}
        for name, values in planes.items():
            group, _, tap = name.partition("/")
            if tap:
                groups[group][tap] = values
        return SeenBatch(planes["corrupted"], planes["clean"], planes["masks"], **groups)


def _planes(batch: SeenBatch) -> Taps:
    pictures = {"corrupted": batch.corrupted, "clean": batch.clean, "masks": batch.masks}
    groups = {"seen": batch.seen, "clean_seen": batch.clean_seen, "made": batch.made}
    return pictures | {f"{group}/{tap}": values for group, taps in groups.items() for tap, values in taps.items()}


def _packed(name: str, values: Tensor) -> Tensor:
    if "/" in name:
        return values.half()
    if name == "masks":
        return values > 0
    return (values.clamp(0, 1) * 255).round().to(torch.uint8)


def _unpacked(name: str, values: Tensor) -> Tensor:
    return values.float() / 255 if values.dtype == torch.uint8 else values.float()


class Seeing:
    """What a learner does whose network looks through a frozen encoder, `network.encoder`, and is taught by an album.

    taps: those that training needs, in order. sees_clean: whether it needs the features of the clean pictures too.
    keeps: pictures that it needs beside the features, of `corrupted` and `clean`.
    """

    taps: tuple[str, ...] = ("tap1", "tap2", "tap4")
    sees_clean = False
    keeps: tuple[str, ...] = ()
    # of the learner
    network: nn.Module
    data: TrainingData
    training: bool
    _album: tuple[str, Album] | None = None

    @property
    def encoder(self) -> EfficientNetLite:
        found = self.network.encoder
        assert isinstance(found, EfficientNetLite), "a learner that sees is built on a network with the encoder"
        return found

    def next_batch(self, stage: Stage, draw: Callable[[], Batch]) -> Batch:
        if not stage.cached:
            return draw()
        if self._album is None or self._album[0] != stage.name:
            # a run of a few steps needs no more than it takes
            count = max(stage.batch, min(stage.cached, stage.steps * stage.batch))
            self.data.notice(f"{stage.name}: {count} pictures are drawn and looked at once")
            self._album = None
            self._album = stage.name, Album(self.pictures(stage, count))
        return self._album[1].draw(self.data.random, stage.batch)

    def pictures(self, stage: Stage, count: int) -> Iterator[SeenBatch]:
        """What the album of a stage holds; the same again when a run resumes."""
        source = self.data.draws(_SEED + int(self.data.random.initial_seed()))
        for start in range(0, count, _AT_ONCE):
            yield self.looked_at(stage, self.altered(stage, source.draw(stage, min(_AT_ONCE, count - start)), source))

    def altered(self, stage: Stage, batch: Batch, source: Draws) -> Batch:
        """The batch as this learner wants it."""
        return batch

    @torch.no_grad()
    def looked_at(self, stage: Stage, batch: Batch) -> SeenBatch:
        """The batch with its features."""
        nothing = batch.clean.new_zeros(len(batch.clean), 3, 0, 0)
        return SeenBatch(
            batch.corrupted if "corrupted" in self.keeps else nothing,
            batch.clean if "clean" in self.keeps else nothing,
            batch.masks,
            seen=self.look(batch.corrupted),
            clean_seen=self.look(batch.clean) if self.sees_clean else {},
        )

    @torch.no_grad()
    def look_at_some(self, count: int) -> Taps:
        """What the encoder sees of so many normals, spread over all."""
        normals = self.data.normals
        some = torch.linspace(0, len(normals) - 1, min(count, len(normals))).round().long().to(normals.device)
        seen = [self.look(part) for part in torch.split(normals[some], _AT_ONCE)]
        return {name: torch.cat([taps[name] for taps in seen]) for name in self.taps}

    def look(self, pictures: Tensor) -> Taps:
        """What the encoder sees of pictures (n, 3, h, w) in 0..1."""
        pictures = network_range(pictures).contiguous(memory_format=torch.channels_last)
        found = self.encoder(pictures, self.taps[-1])
        return {name: found[name].float() for name in self.taps}

    def noisy(self, taps: Taps) -> Taps:
        """Features under noise, while training: a head must not rest on what differs by next to nothing."""
        if not self.training:
            return taps
        random = self.data.random
        return {
            name: values
            + torch.randn(values.shape, generator=random).to(values.device)
            * (_FEATURE_NOISE * values.std((0, 2, 3), keepdim=True))
            for name, values in taps.items()
        }


class SeeingLearner(Seeing, Learner):
    """A learner all of whose stages are taught by an album."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def attach(self, data: TrainingData) -> None:
        super().attach(data)
        self.weights_sha256 = self.encoder.load_weights(data.weights)

    def parameter_groups(self, stage: Stage) -> list[dict[str, Any]]:
        return [{"params": [p for p in self.network.parameters() if p.requires_grad], "scale": 1.0}]

    def losses(self, stage: Stage, batch: Batch, share: float) -> dict[str, Tensor]:
        return self.seen_losses(stage, batch if isinstance(batch, SeenBatch) else self.looked_at(stage, batch), share)

    def seen_losses(self, stage: Stage, batch: SeenBatch, share: float) -> dict[str, Tensor]:
        """As `losses`, of a batch that the encoder has seen."""
        raise NotImplementedError
