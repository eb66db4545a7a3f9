"""Natural variation of good parts: what a camera and a fixture do to them without making them bad."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

# knots per axis of a bend: few, so that straight edges bow instead of rippling
_BEND_KNOTS = 5


def vary(
    images: Tensor, generator: torch.Generator, turn_degrees: float = 2.0, shift: float = 0.02, bend: float = 0.0
) -> Tensor:
    """Turn, scale (as `shift`), move, bend and relight a batch (n, 3, h, w) in 0..1; edges are repeated outward.

    shift, bend: shares of the side; bending moves each place smoothly by up to `bend`, as soft parts do. Brightness
    varies by 5 %, as it does between two good parts on one line.
    """
    count = images.shape[0]

    def signed(scale: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * scale

    angle, zoom = signed(math.radians(turn_degrees)), 1 + signed(shift)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    rows = [torch.stack([cosine, -sine, signed(2 * shift)], 1), torch.stack([sine, cosine, signed(2 * shift)], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1).to(images.device), list(images.shape), align_corners=False)
    if bend:
        knots = (torch.rand(count, 2, _BEND_KNOTS, _BEND_KNOTS, generator=generator) * 2 - 1) * 2 * bend
        strength = torch.rand(count, 1, 1, 1, generator=generator)
        field = functional.interpolate(knots * strength, images.shape[2:], mode="bicubic", align_corners=True)
        grid = grid + field.permute(0, 2, 3, 1).to(images.device)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain = (1 + signed(0.05)).to(images.device).view(-1, 1, 1, 1)
    return (moved * gain).clamp(0, 1)
