"""Gradient noise and grain for a batch of pictures."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from training.defects.random_source import RandomSource

_GRAIN_ROOM = 97


def gradient_noise(rng: RandomSource, count: int, size: tuple[int, int], low: int, high: int) -> Tensor:
    """(count, 1, h, w) Perlin noise, about -1..1, with 2^low..2^high cells per axis, drawn per picture and axis.

    The sum over a pixel's four corners separates into rows and columns, so that the noise is two matrix products.
    """
    side = 2**high + 1
    angle = rng.uniform(0, 2 * math.pi, count, side, side)
    rows, slopes_y = _corner_weights(rng, count, size[0], low, high)
    columns, slopes_x = _corner_weights(rng, count, size[1], low, high)
    noise = slopes_y @ (angle.sin() @ columns.mT) + rows @ (angle.cos() @ slopes_x.mT)
    return noise.mul_(math.sqrt(2))[:, None]


def _corner_weights(rng: RandomSource, count: int, length: int, low: int, high: int) -> tuple[Tensor, Tensor]:
    """How much every lattice line counts at every pixel, (count, length, lines), and that times the distance to it."""
    cells = 2.0 ** rng.integers(low, high, count)
    place = torch.arange(length, device=rng.device) * (cells / length)[:, None]
    distance = place[:, :, None] - torch.arange(2**high + 1, device=rng.device)
    t = (1 - distance.abs()).clamp_(min=0)
    weight = t * t * t * (t * (t * 6 - 15) + 10)
    return weight, weight * distance


def grain(rng: RandomSource, count: int, size: tuple[int, int], channels: int = 3) -> Tensor:
    """(count, channels, h, w) of independent values, uniform in -1..1.

    Windows of one fixed tile: drawing so many numbers anew would cost more than everything else.
    """
    tile = _tile(*size, str(rng.device))
    corners = rng.integers(0, _GRAIN_ROOM, count, 2).tolist()
    return torch.stack([tile[:channels, y : y + size[0], x : x + size[1]] for y, x in corners])


@lru_cache(maxsize=4)
def _tile(height: int, width: int, device: str) -> Tensor:
    fixed = torch.Generator().manual_seed(0)
    tile = torch.rand((3, height + _GRAIN_ROOM, width + _GRAIN_ROOM), generator=fixed)
    return (tile * 2 - 1).to(device)
