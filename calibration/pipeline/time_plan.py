"""The minutes of `teach`: what fits into them on this machine, by trying a few steps before training begins."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from calibration.samples.sample_folder import SampleFolder
from edge.core.errors import UsageError
from edge.core.progress import say, working

if TYPE_CHECKING:
    from training.optimisation.step_budget import Pace
    from training.optimisation.time_budget import TimeBudget
    from training.run.preparation import Recipe

# where a smaller share of a network's own steps fits, a smaller network is tried
_FEW = 0.3
_SMALLER = {("isstad", "tiny"): "mini"}
# what follows training takes as long as an export and so many more; they grow with the area of the field. Measured on
# two cores of an AMD EPYC, alone and beside other programs, with AVX-512 and with AVX2 alone: 3.5 to 4
AFTER_EXPORTS = 4.0
# of its own steps; with fewer, nothing is learned
LEAST = 0.02


@dataclass(frozen=True)
class TimePlan:
    """What fits: the recipe with its variant, the time that training keeps to, and the pace it was found with.

    all_steps: the variant's own. all_minutes: what they and everything after them would take.
    """

    recipe: Recipe
    budget: TimeBudget
    pace: Pace
    all_steps: int
    all_minutes: float


def plan_training(folder: SampleFolder, recipe: Recipe, minutes: float, *, fresh: bool = False) -> TimePlan:
    """Find out what fits into the minutes from now, and say it.

    A run that was cut off keeps its variant, unless `fresh`. Raises UsageError when not even a few steps fit.
    """
    started = time.monotonic()
    wanted = {"method": recipe.method, "variant": recipe.variant, "seed": recipe.seed, "layout": recipe.layout}
    asked = {"samples": [path.name for path in folder.paths()], "wanted": {**wanted, "minutes": minutes}}
    earlier = folder.plan()
    kept = earlier.get("variant") if earlier.get("asked") == asked and not fresh else None
    say("trying a few steps of training, to see what fits into the time ...")
    plan, share = tried(folder.root, replace(recipe, variant=str(kept or recipe.variant)), minutes, started)
    smaller = None if kept else _SMALLER.get((recipe.method, recipe.variant))
    if share < _FEW and smaller is not None:
        other, other_share = tried(folder.root, replace(recipe, variant=smaller), minutes, started)
        if other_share > share:
            plan, share = other, other_share
            say(f"this machine is slow, or busy: a smaller network ({smaller}) learns more in this time")
    if share < LEAST:
        raise UsageError(
            f"{minutes:g} min are too short here: what follows training takes about "
            f"{plan.budget.rest_s / 60:.1f} min of them",
            fix=f"give --minutes {_whole(plan.budget.rest_s / 60 + _FEW * plan.all_minutes)} or more, "
            "or stop other programs on this machine",
        )
    steps = round(share * plan.all_steps)
    if share >= 1:
        say(f"training: ready in about {plan.all_minutes:.1f} min; the network gets all of its {plan.all_steps} steps")
    else:
        say(
            f"training: ready in {minutes:g} min; there is time for about {steps} of {plan.all_steps} steps, "
            f"--minutes {_whole(plan.all_minutes)} would allow all of them"
        )
    folder.keep_plan({"asked": asked, "variant": plan.recipe.variant})
    return plan


def tried(data: Path, recipe: Recipe, minutes: float, started: float) -> tuple[TimePlan, float]:
    """What fits of a variant, and the share of its own steps."""
    with working("loading the libraries"):
        from export.onnx_graph import exported_names, onnx_from_module
        from training.methods import outputs_of
        from training.optimisation.step_budget import pace_of
        from training.optimisation.time_budget import TimeBudget
        from training.run.preparation import prepare

    with tempfile.TemporaryDirectory() as nowhere:
        made = prepare(data, Path(nowhere), replace(recipe, steps=None))
        pace = pace_of(made)
        before = time.monotonic()
        network = made.learner.network
        names = exported_names(network, made.shape, outputs_of(recipe.method, recipe.variant))
        onnx_from_module(network, made.shape, names, [])
        export_s = time.monotonic() - before
    crop = made.batches.crop
    area = 1.0 if crop is None else made.shape[0] * made.shape[1] / crop**2
    budget = TimeBudget(60 * minutes, pace.step_s, export_s * (1 + AFTER_EXPORTS * area))
    budget.spend(time.monotonic() - started)
    seconds = pace.seconds(made.stages) + budget.rest_s + budget.spent_s
    steps = sum(stage.steps for stage in made.stages if stage.name in pace.step_s)
    return TimePlan(recipe, budget, pace, steps, seconds / 60), budget.share_of(made.stages, 0)


def _whole(minutes: float) -> int:
    """Rounded up, with a little air."""
    return int(minutes * 1.1) + 1
