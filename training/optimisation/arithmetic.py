"""The type of numbers and their order in memory while a network trains, chosen by what is fast on this device.

The exported network is float32 in any case. 16 bits are twice as fast where the processor computes with them, and ten
times as slow where it does not; therefore one real step is timed in each type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

Number = Literal["float32", "bfloat16", "float16"]
Memory = Literal["channels_last", "contiguous"]

# how much faster another choice must be: below it, times of a shared machine would decide differently every time
_WORTH = 1.15
_ROUNDS = 2
# a first step so many times slower than the best one settles it
_HOPELESS = 5.0


@dataclass(frozen=True)
class Arithmetic:
    """number: type that convolutions and products are computed in. memory: order of the planes of pictures and weights.

    step_ms: choice → the shortest of a few steps, where they were timed. why: in a few words.
    """

    number: Number = "float32"
    memory: Memory = "channels_last"
    why: str = "not timed"
    step_ms: dict[str, float] | None = None

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.memory == "channels_last" else torch.contiguous_format

    @property
    def needs_scaling(self) -> bool:
        """Whether gradients would vanish in this type unless the loss is scaled up."""
        return self.number == "float16"

    def autocast(self, device: str) -> torch.autocast:
        """What a step is computed in."""
        number = torch.float16 if self.number == "float16" else torch.bfloat16
        return torch.autocast(device, number, enabled=self.number != "float32")

    @property
    def name(self) -> str:
        return f"{self.number} {self.memory}"

    def text(self) -> str:
        return f"numbers: {self.name} ({self.why})"


def of_gpu(capability: tuple[int, int]) -> Arithmetic:
    """By compute capability: bfloat16 from 8.0 on, float16 where tensor cores know no other 16 bits, else float32."""
    number: Number = "bfloat16" if capability >= (8, 0) else "float16" if capability >= (7, 0) else "float32"
    return Arithmetic(number, why=f"compute capability {capability[0]}.{capability[1]}")


def quickest(step_s: Callable[[Arithmetic], float]) -> Arithmetic:
    """The number type, then the order in memory, whose step is quickest; the usual one unless another is clearly so.

    step_s: runs one step and gives its seconds. The first of each choice makes memory and kernels ready.
    """
    times: dict[str, float] = {}
    chosen = Arithmetic()
    changes: tuple[dict[str, Any], ...] = ({"number": "bfloat16"}, {"memory": "contiguous"})
    for change in changes:
        other = replace(chosen, **change)
        times |= _timed(chosen, other, step_s)
        if times[other.name] * _WORTH < times[chosen.name]:
            chosen = other
    step_ms = {name: round(1000 * seconds, 1) for name, seconds in times.items()}
    why = "one step: " + ", ".join(f"{name} {value:.0f} ms" for name, value in step_ms.items())
    return replace(chosen, why=why, step_ms=step_ms)


def _timed(usual: Arithmetic, other: Arithmetic, step_s: Callable[[Arithmetic], float]) -> dict[str, float]:
    """The shortest step of each, taken in turn: what else runs on the machine then slows both."""
    first_usual, first_other, shortest_usual = step_s(usual), step_s(other), step_s(usual)
    if first_other > _HOPELESS * max(first_usual, shortest_usual):
        return {usual.name: shortest_usual, other.name: first_other}
    shortest_other = first_other
    for _ in range(_ROUNDS):
        shortest_other = min(shortest_other, step_s(other))
        shortest_usual = min(shortest_usual, step_s(usual))
    return {usual.name: shortest_usual, other.name: shortest_other}
