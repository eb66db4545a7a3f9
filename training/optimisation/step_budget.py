"""Measure how fast a learner trains on this machine: a few steps of every stage, on a learner that is thrown away."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from training.methods.base import Learner, Stage
from training.optimisation.arithmetic import Arithmetic, of_gpu, quickest
from training.optimisation.optimiser import Optimiser
from training.optimisation.stages import BatchSource, Training, out_of_memory

if TYPE_CHECKING:
    from training.run.preparation import Prepared

# of each stage; the first is slow, because memory and kernels are made ready
_STEPS = 5
# timing takes up to a dozen steps and saves half of the others at best: a shorter run ends sooner without it
_WORTH_TIMING = 100


@dataclass(frozen=True)
class Pace:
    """arithmetic: what is fast here. step_s: stage name → seconds a step takes in it, artificial defects included."""

    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    step_s: dict[str, float] = field(default_factory=dict)

    def seconds(self, stages: Iterable[Stage]) -> float:
        """All steps of these stages; a stage that turned out not to apply takes no time."""
        return sum(stage.steps * self.step_s.get(stage.name, 0.0) for stage in stages)


def pace_of(made: Prepared, clock: Callable[[], float] = time.perf_counter) -> Pace:
    """Choose the arithmetic, then time a few steps of every stage in it; the run itself is left untouched."""
    arithmetic = arithmetic_for(made, clock)
    # checks on held-out parts are few in a real run, and would be most of a short one
    trial = tuple(replace(stage, steps=_STEPS, keep_best=False) for stage in made.stages)
    moments: list[tuple[str, float]] = []

    def note(done: int, total: int, shown: str) -> None:
        moments.append((shown.split(maxsplit=1)[0], clock()))

    with _thrown_away(made) as (learner, batches):
        Training(learner, trial, batches, made.held_out, note, lambda text: None, arithmetic).run(lambda: None)
    step_s = {}
    for stage in made.stages:
        times = [moment for name, moment in moments if name == stage.name]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        if gaps:
            step_s[stage.name] = statistics.median(gaps)
    return Pace(arithmetic, step_s)


def arithmetic_for(made: Prepared, clock: Callable[[], float] = time.perf_counter) -> Arithmetic:
    """On a processor by timing real steps of the first stage, where there are many; on a GPU by what it is."""
    device = made.batches.normals.device.type
    if device == "cuda":
        return of_gpu(torch.cuda.get_device_capability())
    steps = sum(stage.steps for stage in made.stages)
    if steps < _WORTH_TIMING:
        return Arithmetic(why=f"not timed for {steps} steps")
    with _thrown_away(made) as (learner, batches):
        stage = next(stage for stage in made.stages if learner.applies(stage))
        learner.prepare(stage)
        learner.set_up(stage)
        learner.train()
        optimiser = Optimiser(learner.parameter_groups(stage), stage)
        try:
            drawn = batches.draw(stage, stage.batch)

            def step_s(arithmetic: Arithmetic) -> float:
                learner.to(memory_format=arithmetic.memory_format)  # type: ignore[call-overload]
                batch = drawn.laid_out(arithmetic.memory_format)
                started = clock()
                with arithmetic.autocast(device):
                    losses = learner.losses(stage, batch, 0.0)
                optimiser.step(losses["total"], 0.0)
                return clock() - started

            return quickest(step_s)
        except RuntimeError as error:
            # the run itself halves its batch, and says so
            if not out_of_memory(error):
                raise
            return Arithmetic(why="not timed: too little memory for a whole batch")


@contextmanager
def _thrown_away(made: Prepared) -> Iterator[tuple[Learner, BatchSource]]:
    """A learner and batches as the run has them, which leave no trace on it."""
    with tempfile.TemporaryDirectory() as nowhere, torch.random.fork_rng():
        yield made.build(Path(nowhere), lambda text: None)
