"""Natural variation of good parts: what a camera and a fixture do to them without making them bad."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def vary(images: Tensor, generator: torch.Generator, turn_degrees: float = 2.0, shift: float = 0.02) -> Tensor:
    """Turn, scale (as `shift`), move and relight a batch (n, 3, h, w) in 0..1; edges are repeated outward.

    `shift` is a share of the side. Brightness varies by 5 %, as it does between two good parts on one line.
    """
    count = images.shape[0]

    def signed(scale: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * scale

    angle, zoom = signed(math.radians(turn_degrees)), 1 + signed(shift)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    rows = [torch.stack([cosine, -sine, signed(2 * shift)], 1), torch.stack([sine, cosine, signed(2 * shift)], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1).to(images.device), list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain = (1 + signed(0.05)).to(images.device).view(-1, 1, 1, 1)
    return (moved * gain).clamp(0, 1)
