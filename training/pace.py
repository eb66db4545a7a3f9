"""How long a training run takes on this machine, from a few of its steps."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from training.optimise import Training
from training.preparation import Recipe, prepare

# of each stage; the first is slow, because memory and kernels are made ready
_STEPS = 5


@dataclass(frozen=True)
class Pace:
    """A whole run of `steps` optimiser steps takes `seconds` here, reading the parts and choosing the score aside."""

    steps: int
    seconds: float

    def steps_in(self, seconds: float) -> int:
        """How many steps fit, at most all of them."""
        return min(self.steps, int(self.steps * seconds / self.seconds))


def pace_of(data: Path, recipe: Recipe, clock: Callable[[], float] = time.monotonic) -> Pace:
    """Try a few steps of every stage on a learner that is thrown away; raises UsageError like `fit`."""
    with tempfile.TemporaryDirectory() as nowhere:
        made = prepare(data, Path(nowhere), recipe)
        # checks on held-out parts are few in a real run, and would be most of a short one
        trial = tuple(replace(stage, steps=_STEPS, keep_best=False) for stage in made.stages)
        moments: list[tuple[str, float]] = []

        def note(done: int, total: int, shown: str) -> None:
            moments.append((shown.split(maxsplit=1)[0], clock()))

        Training(made.learner, trial, made.batches, made.held_out, note, lambda text: None).run(lambda: None)
    seconds = 0.0
    for stage in made.stages:
        times = [moment for name, moment in moments if name == stage.name]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        # a stage that turned out not to apply takes no time
        seconds += stage.steps * statistics.median(gaps) if gaps else 0.0
    return Pace(sum(stage.steps for stage in made.stages), seconds)
