"""Logical anomalies in a batch: in place of some defects, and harmless grafts on some good parts."""

from __future__ import annotations

import torch
from torch import Tensor

from training.data.augmentation import with_sensor_noise
from training.defects.logical import LogicalDefects
from training.defects.logical_components import Anatomy
from training.methods.base import Batch

# share of good pictures that carry a region of another part of their own kind
_HARMLESS = 0.25


def with_logical(batch: Batch, anatomy: Anatomy, random: torch.Generator, share: float) -> tuple[Tensor, Tensor]:
    """Altered pictures and masks, this share of them logical anomalies instead of what the batch brought."""
    logical = torch.rand(len(batch.corrupted), generator=random) < share
    altered, where = LogicalDefects(anatomy, random)(batch.clean)
    partners = replaced(batch.corrupted, with_sensor_noise(altered, random), logical)
    return partners, replaced(batch.masks, where, logical)


def with_grafts(normals: Tensor, anatomy: Anatomy, random: torch.Generator) -> Tensor:
    """Good pictures, a quarter of them with a harmless graft: a network must not learn the seams of grafts."""
    grafted = torch.rand(len(normals), generator=random) < _HARMLESS
    return replaced(normals, LogicalDefects(anatomy, random).harmless(normals), grafted)


def replaced(first: Tensor, second: Tensor, chosen: Tensor) -> Tensor:
    """Those of `second` where chosen (n,) is true, else those of `first`."""
    return torch.where(chosen.to(first.device).view(-1, 1, 1, 1), second, first)
