"""Random numbers, drawn on the CPU from one generator: every device sees the same defects."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class RandomSource:
    """Draws for `count` pictures at a time; the generator's state is the only state."""

    def __init__(self, random: torch.Generator, device: torch.device | str) -> None:
        self._random, self.device = random, torch.device(device)

    def number(self, low: float = 0.0, high: float = 1.0) -> float:
        """One number, uniform in low..high."""
        return low + (high - low) * float(torch.rand((), generator=self._random))

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(shape).uniform_(low, high, generator=self._random).to(self.device)

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Small values are as likely as large ones."""
        return self.uniform(math.log(low), math.log(high), *shape).exp()

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Uniform in low..high, both included."""
        return torch.randint(low, high + 1, shape, generator=self._random).to(self.device)

    def chance(self, share: float, *shape: int) -> Tensor:
        """1 with this probability, else 0; float32."""
        return (torch.rand(shape, generator=self._random) < share).float().to(self.device)

    def sign(self, *shape: int) -> Tensor:
        return self.chance(0.5, *shape) * 2 - 1

    def choose(self, count: int, weights: Sequence[float]) -> list[int]:
        """One position of `weights` for each picture, on the CPU: it decides what is run."""
        return torch.multinomial(
            torch.tensor(weights, dtype=torch.float32), count, replacement=True, generator=self._random
        ).tolist()

    def subsets(self, count: int, size: int, of: int) -> list[list[int]]:
        """`size` different numbers below `of` for each picture."""
        return torch.rand((count, of), generator=self._random).topk(size, 1).indices.tolist()


def per_picture(values: Tensor) -> Tensor:
    """(k,) → (k, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)
