"""What a method is: a network per variant, a loss per step, and the score its outputs are worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from edge.manifest import ScoreSpec


@dataclass(frozen=True)
class Variant:
    """One size of a method: network side in pixels, optimiser steps and batch size for a CPU.

    bend: how far good parts may be bent, as a share of the side (training/augmentation.py).
    """

    size: int
    steps: int
    batch: int
    learning_rate: float
    bend: float = 0.0


@dataclass(frozen=True)
class Batch:
    """Pictures in 0..1, (n, 3, s, s): what the network sees, what it should have seen, and where they differ."""

    corrupted: Tensor
    clean: Tensor
    masks: Tensor


OutputName = Literal["recon", "seg_logit", "emb_dist"]


class Method(Protocol):
    """Everything that differs between methods. Networks take pictures in -1..1 and return a dict of named outputs."""

    @property
    def name(self) -> str: ...
    @property
    def variants(self) -> dict[str, Variant]: ...
    @property
    def outputs(self) -> tuple[OutputName, ...]: ...

    def build(self, variant: str) -> nn.Module:
        """A fresh network; its `forward` returns {output name: tensor} as the manifest lists them."""

    def loss(self, outputs: dict[str, Tensor], batch: Batch) -> Tensor:
        """The scalar to minimise."""

    def score_candidates(self, size: int) -> dict[str, ScoreSpec]:
        """Score paths worth trying; the selection rule picks one on held-out normals and artificial defects."""


def seeded(seed: int) -> torch.Generator:
    """A generator of its own on the CPU, so that data order does not depend on the device."""
    return torch.Generator(device="cpu").manual_seed(seed)
