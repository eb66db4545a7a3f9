"""train, fit, export: the commands that make bundles."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from calibration.pipeline.gate_samples import held_out_images
from calibration.pipeline.sample_cache import normal_samples
from edge.backends import GPU_BACKENDS, choose_backend
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.bundles.history import Audit
from edge.bundles.versions import prepare_directory, write_bundle
from edge.cli.image_readers import reader_of
from edge.cli.making.calibrate import calibrate, quantize
from edge.cli.regions import region_of_interest
from edge.core.config import Settings
from edge.core.files.storable import storable
from edge.core.manifest import FileEntry, InputSpec, Manifest, PreprocessSpec
from edge.core.progress import progress_bar, say, working
from edge.preprocessing.normal_samples import normal_samples_folder
from edge.system.extras import needs

if TYPE_CHECKING:
    from edge.cli.teach.time_plan import Planned
    from training.run.preparation import Recipe

_COMPARED_PICTURES = 8
_CANDIDATES_SHOWN = 5
# INT8, with its statistics and gate, takes at most as long as so many exports of the network
_INT8_EXPORTS = 4.0


def train(options: argparse.Namespace, settings: Settings) -> int:
    """fit, export, quantize and calibrate in one go."""
    target = train_bundle(options, settings).path
    say(f"the bundle is ready: edge-inspect --camera 0 --bundle {target}")
    return 0


def train_bundle(
    options: argparse.Namespace,
    settings: Settings,
    told: Callable[[str], None] = lambda text: None,
    statistics: bytes | None = None,
    timing: Planned | None = None,
) -> ModelBundle:
    """The options of `train` → a calibrated bundle; OUT changes once, at the end.

    told: each step begins. statistics: of the samples (calibration/samples/statistics.py), to hold later ones against.
    timing: the time that all of it keeps to; INT8 is left out when too little of it is left.
    """
    target: Path = options.out
    settings = on_the_processor(settings)
    options.product = options.product or target.name
    # what can be known now must not fail after an hour of training
    reader_of(options, settings).pictures_in(normal_samples_folder(options.data))
    prepare_directory(target)
    choose_backend(settings.inspection.backend)
    needs("export.onnx_graph", "train")
    options.run_directory = options.run_directory or target.with_name(target.name + ".run")
    options.out = options.bundle = options.run_directory / "bundle"
    options.report, options.review, options.ng = False, None, None
    took_s = 0.0
    for step, what in _STEPS.items():
        if step is quantize and timing is not None and timing.budget.left_s < _INT8_EXPORTS * took_s:
            told("no time is left to round it to INT8: it runs slower; edge-inspect quantize, then calibrate, add it")
            continue
        told(what)
        started = time.monotonic()
        if step is fit:
            fit(options, settings, timing)
        else:
            step(options, settings)
        took_s = time.monotonic() - started
    made = load_bundle(options.out)
    parts = {key: (entry.name, made.read(key)) for key, entry in made.manifest.files.items()}
    if statistics is not None:
        parts["samples"] = ("samples.npz", statistics)
    audit = Audit(options.command, note=f"trained on {options.data}")
    return write_bundle(target, made.manifest, parts, audit)


def on_the_processor(settings: Settings) -> Settings:
    """The settings without a GPU backend: what is trained is calibrated here first, an engine's turn comes after."""
    if settings.inspection.backend not in GPU_BACKENDS:
        return settings
    say(f"for the engine, afterwards: edge-inspect calibrate --backend {settings.inspection.backend} ...")
    return settings.model_copy(update={"inspection": settings.inspection.model_copy(update={"backend": "auto"})})


def fit(options: argparse.Namespace, settings: Settings, timing: Planned | None = None) -> int:
    """Train the network and choose its score path; timing: the time to keep to, and the pace of this machine."""
    training = needs("training.fit", "train")
    recipe = recipe_of(options, settings)
    budget, pace = (None, None) if timing is None else (timing.budget, timing.pace)
    if getattr(options, "numbers", None) is not None:
        pace = training.Pace(
            needs("training.optimisation.arithmetic", "train").Arithmetic(options.numbers, why="asked for")
        )
    with progress_bar(f"training {options.method} {options.variant}") as advance:
        run = training.fit(
            options.data, options.run_directory, recipe, fresh=options.fresh, budget=budget, pace=pace,
            progress=advance, notice=say, doing=working, reader=reader_of(options, settings),
        )  # fmt: skip
    say(f"trained on {run.training.n_train} good parts in {run.seconds:.0f} s, {run.training.n_heldout} held out")
    for name, value in sorted(run.candidates.items(), key=lambda item: -item[1])[:_CANDIDATES_SHOWN]:
        say(f"  image AUROC {value:.3f} of artificial defects on held-out parts: {name}")
    say(f"checkpoint, curves.png and sheet.png of what it makes of unseen parts: {options.run_directory}")
    return 0


def recipe_of(options: argparse.Namespace, settings: Settings) -> Recipe:
    """What the options ask `fit` for."""
    rectangle, polygon = region_of_interest(settings.roi)
    recipe: Recipe = needs("training.fit", "train").Recipe(
        method=options.method,
        variant=options.variant,
        seed=options.seed,
        layout=options.layout,
        ablations=frozenset(options.ablate),
        blend=options.blend,
        steps=options.steps,
        smallest_defect=None if options.smallest_defect is None else options.smallest_defect / 100,
        rules=options.rules,
        field=options.field,
        defects=options.defects,
        rectangle=rectangle,
        polygon=polygon,
        align=settings.align,
        # a number of steps is kept whatever time it takes
        minutes=vars(options).get("minutes") if options.steps is None else None,
    )
    return recipe


def export(options: argparse.Namespace, settings: Settings) -> int:
    """Checkpoint → FP32 ONNX in a bundle that is not calibrated yet."""
    run, network = needs("training.run.run_files", "train").load_run(options.run_directory)
    outputs = needs("training.methods", "train").METHODS[run.method].outputs
    manifest = Manifest(
        method=run.method,
        variant=run.variant,
        product=storable(options.product or options.out.name),
        created_utc=_now_utc(),
        input=InputSpec(size=run.size),
        preprocess=PreprocessSpec(rectangle=run.rectangle, polygon=run.polygon, align=run.align),
        outputs=outputs,
        score=run.score,
        training=run.training,
        trained_on=run.trained_on,
        weak_on=run.weak_on,
        files={"model_fp32": FileEntry(name="model_fp32.onnx", sha256="0" * 64, bytes=0)},
    )
    unwritten = ModelBundle(options.out, manifest, "")
    shown = []
    if options.data is not None:
        parts = normal_samples(unwritten, options.data, _COMPARED_PICTURES, reader_of(options, settings))
        shown = held_out_images(parts, _COMPARED_PICTURES)
    with working("writing the network as ONNX"):
        model = needs("export.onnx_graph", "train").onnx_from_module(network, run.size, outputs, shown)
    write_bundle(options.out, manifest, {"model_fp32": ("model_fp32.onnx", model)}, Audit("export"))
    compared = f"compared with torch on {len(shown)} held-out parts" if shown else "compared with torch on noise"
    say(f"exported {len(model) / 1e6:.2f} MB of FP32 ONNX to {options.out}, {compared}")
    if options.report:
        print("\n".join(needs("export.operators", "export").operator_report(model).summary()))
    return 0


# what makes a bundle, in this order, and how it is told
_STEPS = {
    fit: "training the network",
    export: "writing the network, and comparing it with what was trained",
    quantize: "rounding it to INT8, where that changes nothing",
    calibrate: "statistics and threshold on parts it has not seen; the gate",
}


def _now_utc() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
