"""A time that a run keeps: steps are taken away from its stages, again and again, by how fast they really are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from training.methods.base import Stage

# of what follows training: other programs may come meanwhile
_SPARE = 1.25
# a step's time follows what was just seen by this share: one slow step is no slow machine
_WEIGHT = 0.05


class TimeBudget:
    """`seconds` from now to the finished bundle.

    step_s: stage name → seconds of a step, as first measured. after_s: what follows training, as measured then: choice
    of the score, export, INT8, statistics and gate.
    """

    def __init__(
        self,
        seconds: float,
        step_s: dict[str, float],
        after_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._started = clock()
        self.seconds = seconds
        self._step_s = dict(step_s)
        self._after_s = after_s
        self._slowness = 1.0

    @property
    def spent_s(self) -> float:
        return self._clock() - self._started

    @property
    def left_s(self) -> float:
        return self.seconds - self.spent_s

    @property
    def rest_s(self) -> float:
        """What must be left when training ends, as fast as the machine is now."""
        return _SPARE * self._after_s * max(1.0, self._slowness)

    def spend(self, seconds: float) -> None:
        """Time that was spent before this process began."""
        self._started -= seconds

    def note(self, stage: Stage, seconds: float) -> None:
        """A step of this stage has just taken so long."""
        first = self._step_s.setdefault(stage.name, seconds)
        self._slowness += _WEIGHT * (seconds / max(first, 1e-9) - self._slowness)

    def share_of(self, coming: Sequence[Stage], done: int) -> float:
        """0..1, the share of their own steps that these stages can have; `done` steps of the first are behind it."""
        costs = [self._slowness * self._step_s.get(stage.name, 0.0) for stage in coming]
        wanted_s = sum(stage.steps * cost for stage, cost in zip(coming, costs, strict=True))
        if wanted_s <= 0:
            return 1.0
        return min(1.0, (done * costs[0] + max(0.0, self.left_s - self.rest_s)) / wanted_s)
