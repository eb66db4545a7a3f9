"""Patches of a picture that a masked autoencoder is not shown."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_masked(count: int, grid: tuple[int, int], share: float, random: torch.Generator) -> Tensor:
    """Patches to blank, (count, 1, rows, columns) bool: `share` of each picture's, rounded, drawn anew for each."""
    patches = grid[0] * grid[1]
    order = torch.rand(count, patches, generator=random).argsort(1).argsort(1)
    return (order < round(share * patches)).view(count, 1, *grid)
