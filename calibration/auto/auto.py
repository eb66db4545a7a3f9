"""`--method auto`: the memory and what else the time allows, judged on the same parts; the best becomes the bundle."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from calibration.auto.circuits import circuits
from calibration.auto.contenders import AUTO, ORDER, ORDER_IN_TILES, Contender, Outcome, outcome_of, run_folder
from calibration.choice.sheet import SHEET
from calibration.pipeline.time_plan import AFTER_EXPORTS, LEAST, TimePlan, tried
from calibration.pipeline.train import (
    DRAFT,
    TrainingRequest,
    bundle_from_run,
    finished_bundle,
    fit_network,
    on_the_processor,
    ready_to_train,
    train_bundle,
)
from calibration.samples.unusual import ConfirmParts, name_unusual
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.capture.images.image_reader import ImageReader
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.core.files.atomic_file import write_atomic
from edge.core.progress import working
from edge.preprocessing.normal_samples import held_out_split, read_normal_samples

if TYPE_CHECKING:
    from training.run.preparation import Recipe

# a method gets no less than this, all included: what is trained in less is not worth judging
_LEAST_S = 100.0


def auto_bundle(
    request: TrainingRequest,
    settings: Settings,
    reader: ImageReader,
    message: Callable[[str], None],
    statistics: bytes | None = None,
    clock: Callable[[], float] = time.monotonic,
    confirm: ConfirmParts = name_unusual,
) -> ModelBundle:
    """A calibrated bundle of the method that is best for these parts; OUT changes once, at the end.

    recipe.method is `auto`. recipe.minutes: for all of it, None:
    every method gets its steps. The memory is always made. A second call goes on where the first was cut off. confirm:
    see `train_bundle`. Raises as that does; a method that fails after the first one is left out, and that is said.
    """
    started = clock()
    settings = on_the_processor(settings)
    ready_to_train(request, settings, reader)
    outcome = contest(request, settings, reader, message, started, clock)
    for line in outcome.lines():
        message(line)
    folder = run_folder(request.runs, outcome.chosen.name)
    write_atomic(request.runs / SHEET, (folder / SHEET).read_bytes())
    write_atomic(request.runs / "run.json", json.dumps(outcome.as_dict(), indent=1).encode())
    minutes = request.recipe.minutes
    left_s = None if minutes is None else 60 * minutes - (clock() - started)
    return finished_bundle(
        request, outcome.chosen.draft, settings, reader, message, statistics, left_s, outcome.record(), confirm
    )


def make_bundle(
    request: TrainingRequest, settings: Settings, reader: ImageReader, message: Callable[[str], None]
) -> ModelBundle:
    """What `train` makes: of the method that is asked for, in its minutes, or of the best of all."""
    recipe = request.recipe
    made_for = circuits(recipe, request.data, reader) if recipe.method == AUTO and recipe.tiles is None else None
    if made_for is not None:
        recipe, why = made_for
        message(why)
        request = replace(request, recipe=recipe)
    if recipe.method == AUTO:
        return auto_bundle(request, settings, reader, message)
    plan = None
    if recipe.minutes is not None:
        plan, share = tried(request.data, recipe, recipe.minutes, time.monotonic())
        if share < LEAST:
            raise UsageError(
                f"{recipe.minutes:g} min are too short for {recipe.method} here",
                fix=f"give --minutes {plan.all_minutes:.0f}, or fewer with fewer steps; or --method memory",
            )
    return train_bundle(request, settings, reader, plan=plan)


def contest(
    request: TrainingRequest,
    settings: Settings,
    reader: ImageReader,
    message: Callable[[str], None],
    started: float,
    clock: Callable[[], float],
) -> Outcome:
    """Train and judge one method after the other while there is time."""
    with working("loading the libraries"):
        from training.methods import METHODS

    recipe = request.recipe
    order = ORDER if recipe.tiles is None else ORDER_IN_TILES
    waiting = [name for name in order if name in METHODS and recipe.variant in METHODS[name].variants]
    if not waiting:
        raise UsageError(f"no method has the variant {recipe.variant!r}", fix="leave --variant out, or name a --method")
    # what is compared with nothing is judged by all parts alone
    judged = _held_out(request.data, reader, recipe.seed) if len(waiting) > 1 else None
    contenders: list[Contender] = []
    left_out: dict[str, str] = {}
    # what INT8, statistics and the gate of the winner take, known after the first
    after_s = 0.0
    while waiting:
        name = waiting.pop(0)
        plan, own = None, replace(recipe, method=name)
        if recipe.minutes is not None and contenders:
            left_s = 60 * recipe.minutes - (clock() - started) - after_s
            if left_s < _LEAST_S:
                left_out |= dict.fromkeys([name, *waiting], "not tried, there was no time left")
                break
            shared_by = min(1 + len(waiting), int(left_s // _LEAST_S))
            plan = _plan(request, own, left_s / shared_by)
            if plan is None:
                left_out[name] = f"not tried, {left_s / shared_by:.0f} s are too short for it"
                continue
        try:
            contenders.append(_contender(request, own, settings, reader, message, judged, plan, clock))
        except UsageError as error:
            # what is wrong with the parts or the options is wrong for the first one already
            if not contenders:
                raise
            left_out[name] = f"left out, {error.message}"
            continue
        after_s = max(after_s, AFTER_EXPORTS * contenders[-1].draft.export_s)
    return outcome_of(contenders, left_out)


def _held_out(data: Path, reader: ImageReader, seed: int) -> set[str]:
    """Hashes of the good parts that every training holds out."""
    hashes = [part.sha256 for part in read_normal_samples(data, reader)]
    return {hashes[int(index)] for index in held_out_split(len(hashes), seed)[1]}


def _plan(request: TrainingRequest, recipe: Recipe, seconds: float) -> TimePlan | None:
    """What of a method fits into so much time; None: hardly anything."""
    plan, share = tried(request.data, recipe, seconds / 60, time.monotonic())
    return plan if share >= LEAST else None


def _contender(
    request: TrainingRequest,
    recipe: Recipe,
    settings: Settings,
    reader: ImageReader,
    message: Callable[[str], None],
    judged: set[str] | None,
    plan: TimePlan | None,
    clock: Callable[[], float],
) -> Contender:
    from export.graph import graph_from_onnx, multiplications

    started = clock()
    runs = run_folder(request.runs, recipe.method)
    message(f"{recipe.method}: {'training' if plan is None else f'training for {_minutes(plan)}'}")
    fit_network(request.data, runs, recipe, reader, request.numbers, fresh=request.fresh, plan=plan)
    message(f"{recipe.method}: judging it on good parts that were held out, and on artificial defects")
    product = request.product or request.out.name
    draft = bundle_from_run(runs, runs / DRAFT, product, request.data, reader, settings, judged)
    bundle = load_bundle(draft.path)
    cost = sum(multiplications(graph_from_onnx(bundle.read("model_fp32"))).values())
    return Contender(recipe.method, recipe.variant, draft, bundle.manifest.training.steps, cost, clock() - started)


def _minutes(plan: TimePlan) -> str:
    left_s = plan.budget.left_s
    return f"at most {left_s / 60:.1f} min"
