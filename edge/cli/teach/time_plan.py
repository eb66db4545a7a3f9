"""The minutes of `teach`: what fits into them on this machine, by trying a few steps before training begins."""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.making.train import recipe_of
from edge.cli.teach.sample_folder import SampleFolder
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.core.progress import say
from edge.system.extras import needs

if TYPE_CHECKING:
    from training.optimisation.step_budget import Pace
    from training.optimisation.time_budget import TimeBudget

# where a smaller share of a network's own steps fits, a smaller network is tried
_FEW = 0.3
_SMALLER = {("isstad", "tiny"): "mini"}
# what follows training takes as long as an export and so many more; they grow with the area of the field. Measured on
# two cores of an AMD EPYC, alone and beside other programs, with AVX-512 and with AVX2 alone: 3.5 to 4
_AFTER_EXPORTS = 4.0
# of its own steps; with fewer, nothing is learned
_LEAST = 0.02


@dataclass(frozen=True)
class Planned:
    """What fits: the variant, the time that training keeps to, and the pace it was found with.

    all_steps: the variant's own. all_minutes: what they and everything after them would take.
    """

    variant: str
    budget: TimeBudget
    pace: Pace
    all_steps: int
    all_minutes: float


def planned(folder: SampleFolder, training: argparse.Namespace, settings: Settings) -> Planned:
    """Find out what fits into training.minutes from now, and say it.

    A run that was cut off keeps its variant. Raises UsageError when not even a few steps fit.
    """
    started = time.monotonic()
    asked = {
        "samples": [path.name for path in folder.paths()],
        "wanted": {name: getattr(training, name) for name in ("method", "variant", "minutes", "seed", "layout")},
    }
    plan = folder.plan()
    kept = plan.get("variant") if plan.get("asked") == asked and not training.fresh else None
    say("trying a few steps of training, to see what fits into the time ...")
    first = _tried(training, settings, str(kept or training.variant), started)
    smaller = None if kept else _SMALLER.get((training.method, training.variant))
    made, share = first
    if share < _FEW and smaller is not None:
        other, other_share = _tried(training, settings, smaller, started)
        if other_share > share:
            made, share = other, other_share
            say(f"this machine is slow, or busy: a smaller network ({smaller}) learns more in this time")
    if share < _LEAST:
        raise UsageError(
            f"{training.minutes:g} min are too short here: what follows training takes about "
            f"{made.budget.rest_s / 60:.1f} min of them",
            fix=f"give --minutes {_whole(made.budget.rest_s / 60 + _FEW * made.all_minutes)} or more, "
            "or stop other programs on this machine",
        )
    steps = round(share * made.all_steps)
    if share >= 1:
        say(f"training: ready in about {made.all_minutes:.1f} min; the network gets all of its {made.all_steps} steps")
    else:
        say(
            f"training: ready in {training.minutes:g} min; there is time for about {steps} of {made.all_steps} steps, "
            f"--minutes {_whole(made.all_minutes)} would allow all of them"
        )
    folder.keep_plan({"asked": asked, "variant": made.variant})
    return made


def _tried(training: argparse.Namespace, settings: Settings, variant: str, started: float) -> tuple[Planned, float]:
    """What fits of a variant, and the share of its own steps."""
    pacing, budgets = (
        needs("training.optimisation.step_budget", "train"),
        needs("training.optimisation.time_budget", "train"),
    )
    wanted = argparse.Namespace(**{**vars(training), "variant": variant, "steps": None})
    with tempfile.TemporaryDirectory() as nowhere:
        made = needs("training.run.preparation", "train").prepare(
            training.data, Path(nowhere), recipe_of(wanted, settings)
        )
        pace = pacing.pace_of(made)
        outputs = needs("training.methods", "train").METHODS[training.method].outputs
        before = time.monotonic()
        needs("export.onnx_graph", "train").onnx_from_module(made.learner.network, made.size, outputs, [])
        export_s = time.monotonic() - before
    area = (made.size / made.batches.crop) ** 2
    budget = budgets.TimeBudget(60 * training.minutes, pace.step_s, export_s * (1 + _AFTER_EXPORTS * area))
    budget.spend(time.monotonic() - started)
    seconds = pace.seconds(made.stages) + budget.rest_s + budget.spent_s
    steps = sum(stage.steps for stage in made.stages if stage.name in pace.step_s)
    return Planned(variant, budget, pace, steps, seconds / 60), budget.share_of(made.stages, 0)


def _whole(minutes: float) -> int:
    """Rounded up, with a little air."""
    return int(minutes * 1.1) + 1
