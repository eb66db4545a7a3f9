"""Train one network on good parts: data in, a finished run folder out. How it scores is chosen after the export."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from edge import __version__
from edge.capture.images.image_reader import PLAIN, ImageReader
from edge.core.manifest import TrainingRecord
from training.optimisation.stages import Progress, Training
from training.optimisation.step_budget import Pace, arithmetic_for
from training.optimisation.time_budget import TimeBudget
from training.run.preparation import Recipe as Recipe
from training.run.preparation import pictures_from_fields as pictures_from_fields
from training.run.preparation import prepare
from training.run.report_plots import CURVES, draw_curves
from training.run.run_files import Resumable, Run, finished_run, signature_sha256, store_run

WEIGHTS_RULE = "weights: averaged, those with the lowest validation loss where a stage keeps the best"


def fit(
    data: Path,
    run_directory: Path,
    recipe: Recipe,
    *,
    fresh: bool = False,
    budget: TimeBudget | None = None,
    pace: Pace | None = None,
    progress: Progress = lambda done, total, shown: None,
    notice: Callable[[str], None] = lambda text: None,
    doing: Callable[[str], AbstractContextManager[None]] = lambda text: nullcontext(),
    reader: ImageReader = PLAIN,
) -> Run:
    """Train on `data`, write checkpoint, run.json and curves; same seed, same arithmetic, same result.

    A run that was interrupted goes on from its last saved state, and one that is finished is given back, unless
    `fresh`. budget: time that training keeps to. pace: of this machine, where it has been measured. Raises UsageError
    for bad data, an option the method does not have, a loss that is not finite or too little memory.
    """
    started = time.monotonic()
    with doing(f"reading the pictures of good parts in {data}"):
        made = prepare(data, run_directory, recipe, notice, reader)
    learner, batches = made.learner, made.batches
    signature = made.signature(recipe)
    if not fresh and (finished := finished_run(run_directory, signature)) is not None:
        notice(f"the run in {run_directory} is finished (--fresh starts anew)")
        return finished
    run_directory.mkdir(parents=True, exist_ok=True)
    training = Training(learner, made.stages, batches, made.held_out, progress, notice, budget=budget)
    resumable = Resumable(run_directory, signature)
    if not fresh and resumable.restore(training):
        notice(f"going on with the run in {run_directory} (--fresh starts anew)")
        notice(training.arithmetic.text())
    else:
        if made.stages:
            with doing("trying which numbers are fast here"):
                training.arithmetic = arithmetic_for(made) if pace is None else pace.arithmetic
            notice(training.arithmetic.text())
    training.run(lambda: resumable.save(training))

    if made.stages:
        draw_curves(training.curves.values, run_directory / CURVES)
    # without training all parts are held out, and the memory is made of them
    learned = made.trained_on if made.stages else made.held_out_parts
    run = Run(
        method=recipe.method,
        variant=recipe.variant,
        layout=made.design.layout,
        ablations=tuple(sorted(recipe.ablations)),
        height=made.shape[0],
        width=made.shape[1],
        fit=made.fit,
        rectangle=recipe.rectangle,
        polygon=recipe.polygon,
        align=made.align,
        tiles=made.tiles,
        training=TrainingRecord(
            software=f"edge-inspect {__version__}, torch {torch.__version__}",
            seed=recipe.seed,
            steps=training.steps,
            n_train=len(learned.hashes),
            n_heldout=len(made.held_out_parts.hashes),
            n_weak=len(made.weak.hashes),
            layout=made.design.layout,
            ablations=tuple(sorted(recipe.ablations)),
            data_sha256=learned.sha256,
            weights_sha256=learner.weights_sha256,
            selection=WEIGHTS_RULE if made.stages else "",
        ),
        trained_on=made.trained_on.hashes,
        weak_on=made.weak.hashes,
        crop=batches.crop,
        data=str(data.resolve()),
        smallest_defect=recipe.smallest_defect,
        blend=recipe.blend,
        curves=training.curves.values,
        seconds=round(time.monotonic() - started, 1),
        arithmetic=training.arithmetic,
        signature_sha256=signature_sha256(signature),
    )
    store_run(run_directory, run, learner.network)
    return run
