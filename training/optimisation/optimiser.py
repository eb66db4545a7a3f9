"""AdamW over one stage: its learning rate, and gradients that are too long or not finite."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from edge.core.errors import UsageError
from training.methods.base import Stage

State = dict[str, Any]

_WEIGHT_DECAY = 1e-4
_LARGEST_GRADIENT = 5.0
# in a row, before the run is given up
_SKIPPED_STEPS = 10
# of a stage; rates begin and end at these shares of the highest
_WARM_UP, _FIRST, _LAST = 0.1, 1 / 25, 1 / 250_000


class Optimiser:
    """AdamW with one warm-up and cosine decay over a stage; gradients are clipped, those not finite are left out.

    scaled: the loss is scaled up, as float16 needs it.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        stage: Stage,
        betas: tuple[float, float] = (0.9, 0.999),
        scaled: bool = False,
    ) -> None:
        self._rates = [stage.learning_rate * group.get("scale", 1.0) for group in groups]
        self._parameters = [parameter for group in groups for parameter in group["params"]]
        self._skipped = 0
        self._adam = torch.optim.AdamW(
            [{"params": group["params"]} for group in groups], stage.learning_rate, betas, weight_decay=_WEIGHT_DECAY
        )
        device = self._parameters[0].device.type if self._parameters else "cpu"
        self._scaler = torch.amp.GradScaler(device, enabled=scaled)

    def step(self, loss: Tensor, share: float) -> None:
        """share: 0..1, how much of the stage is done."""
        for group, rate in zip(self._adam.param_groups, self._rates, strict=True):
            group["lr"] = rate * rate_at(share)
        self._adam.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(self._adam)
        norm = float(nn.utils.clip_grad_norm_(self._parameters, _LARGEST_GRADIENT))
        self._skipped = 0 if math.isfinite(norm) else self._skipped + 1
        if self._skipped > _SKIPPED_STEPS:
            raise UsageError(
                f"the gradient was not finite {self._skipped} steps in a row",
                fix="run again with another --seed; if it recurs, look for damaged pictures in the data",
            )
        # bfloat16 kernels of some processors return a NaN now and then; one would spoil every weight
        if not self._skipped:
            self._scaler.step(self._adam)
        self._scaler.update()

    def state(self) -> State:
        return {"adam": self._adam.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state(self, state: State) -> None:
        self._adam.load_state_dict(state["adam"])
        self._scaler.load_state_dict(state["scaler"])


def rate_at(share: float) -> float:
    """Share of the highest learning rate at this share of a stage: up in the first tenth, then down, both as a cosine.

    L. N. Smith and N. Topin, Super-Convergence, 2018.
    """
    if share < _WARM_UP:
        return _between(_FIRST, 1.0, share / _WARM_UP)
    return _between(1.0, _LAST, min(1.0, (share - _WARM_UP) / (1 - _WARM_UP)))


def _between(start: float, end: float, way: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * way)) / 2
