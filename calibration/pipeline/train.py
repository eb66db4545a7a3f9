"""A bundle from good parts: a network is trained, written as ONNX, rounded to INT8, calibrated and gated."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from calibration.pipeline.calibrate import calibrate_bundle, quantize_bundle
from calibration.pipeline.calibrator import Goal, now_utc
from calibration.pipeline.gate_samples import held_out_images
from calibration.pipeline.memory_folds import Folds, with_memory
from calibration.pipeline.sample_cache import normal_samples
from edge.backends import GPU_BACKENDS, choose_backend
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.bundles.history import Audit
from edge.bundles.versions import prepare_directory, write_bundle
from edge.capture.images.image_reader import ImageReader
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.core.files.text_names import storable
from edge.core.manifest import FileEntry, InputSpec, Manifest, PreprocessSpec
from edge.core.progress import progress_bar, say, working
from edge.preprocessing.normal_samples import normal_samples_folder
from edge.system.extras import require

if TYPE_CHECKING:
    from calibration.pipeline.time_plan import TimePlan
    from training.run.preparation import Recipe

Numbers = Literal["float32", "bfloat16"]

_COMPARED_PICTURES = 8
_CANDIDATES_SHOWN = 5
# INT8, with its statistics and gate, takes at most as long as so many exports of the network
_INT8_EXPORTS = 4.0


@dataclass(frozen=True)
class TrainingRequest:
    """data: folder of good parts. out: the bundle to make. run_directory: default OUT.run. false_reject: a share, 0..1.

    numbers: what is computed in; None: the quicker. fresh: start anew instead of going on with an interrupted run.
    command: for the history.
    """

    data: Path
    out: Path
    recipe: Recipe
    false_reject: float
    product: str | None = None
    run_directory: Path | None = None
    numbers: Numbers | None = None
    fresh: bool = False
    command: str = "train"


def train_bundle(
    request: TrainingRequest,
    settings: Settings,
    reader: ImageReader,
    message: Callable[[str], None] = lambda text: None,
    statistics: bytes | None = None,
    plan: TimePlan | None = None,
) -> ModelBundle:
    """A calibrated bundle; OUT changes once, at the end. Raises UsageError, BundleError and MissingDependency.

    message: called as each step begins. statistics: of the samples (calibration/samples/statistics.py), to hold later
    ones against. plan: the time that all of it keeps to; INT8 is left out when too little of it is left.
    """
    target, data = request.out, request.data
    settings = on_the_processor(settings)
    # what can be known now must not fail after an hour of training
    reader.pictures_in(normal_samples_folder(data))
    prepare_directory(target)
    choose_backend(settings.inspection.backend)
    run_directory = request.run_directory or target.with_name(target.name + ".run")
    draft = run_directory / "bundle"
    message("training the network")
    fit_network(data, run_directory, request.recipe, reader, request.numbers, fresh=request.fresh, plan=plan)
    message("writing the network, and comparing it with what was trained")
    started = time.monotonic()
    product, threads = request.product or target.name, settings.inspection.threads
    _, folds = bundle_from_run(run_directory, draft, product, data, reader, threads)
    export_s = time.monotonic() - started
    if plan is not None and plan.budget.left_s < _INT8_EXPORTS * export_s:
        message("no time is left to round it to INT8: it runs slower; edge-inspect quantize, then calibrate, add it")
    else:
        message("rounding it to INT8, where that changes nothing")
        quantize_bundle(draft, data, settings, reader, folds)
    message("statistics and threshold on parts it has not seen; the gate")
    calibrate_bundle(draft, data, Goal(request.false_reject, None, None), settings, reader, folds=folds)
    made = load_bundle(draft)
    parts = {key: (entry.name, made.read(key)) for key, entry in made.manifest.files.items()}
    if statistics is not None:
        parts["samples"] = ("samples.npz", statistics)
    return write_bundle(target, made.manifest, parts, Audit(request.command, note=f"trained on {data}"))


def on_the_processor(settings: Settings) -> Settings:
    """The settings without a GPU backend: what is trained is calibrated here first, an engine's turn comes after."""
    if settings.inspection.backend not in GPU_BACKENDS:
        return settings
    say(f"for the engine, afterwards: edge-inspect calibrate --backend {settings.inspection.backend} ...")
    return settings.model_copy(update={"inspection": settings.inspection.model_copy(update={"backend": "auto"})})


def fit_network(
    data: Path,
    run_directory: Path,
    recipe: Recipe,
    reader: ImageReader,
    numbers: Numbers | None = None,
    *,
    fresh: bool = False,
    plan: TimePlan | None = None,
) -> None:
    """Train the network and choose its score path; plan: the time to keep to, and the pace of this machine."""
    with working("loading the libraries"):
        from training.fit import fit
        from training.optimisation.arithmetic import Arithmetic
        from training.optimisation.step_budget import Pace

    budget, pace = (None, None) if plan is None else (plan.budget, plan.pace)
    if numbers is not None:
        pace = Pace(Arithmetic(numbers, why="asked for"))
    with progress_bar(f"training {recipe.method} {recipe.variant}") as advance:
        run = fit(
            data, run_directory, recipe, fresh=fresh, budget=budget, pace=pace,
            progress=advance, notice=say, doing=working, reader=reader,
        )  # fmt: skip
    say(f"trained on {run.training.n_train} good parts in {run.seconds:.0f} s, {run.training.n_heldout} held out")
    for name, value in sorted(run.candidates.items(), key=lambda item: -item[1])[:_CANDIDATES_SHOWN]:
        say(f"  image AUROC {value:.3f} of artificial defects on held-out parts: {name}")
    say(f"checkpoint, curves.png and sheet.png of what it makes of unseen parts: {run_directory}")


def bundle_from_run(
    run_directory: Path, out: Path, product: str, data: Path | None, reader: ImageReader, threads: int | None = None
) -> tuple[ModelBundle, Folds | None]:
    """Checkpoint → FP32 ONNX in a bundle that is not calibrated yet; and memories that have not seen each part.

    data: folder of good parts on which ONNX is compared with torch, and to which a memory is fitted where the network
    hands on features; None: it is compared on noise.
    """
    require("train")
    with working("loading the libraries"):
        from export.onnx_graph import exported_names, onnx_from_module
        from training.methods import METHODS
        from training.run.run_files import load_run

    run, network = load_run(run_directory)
    outputs, shape = METHODS[run.method].outputs, (run.height, run.width)
    names = exported_names(network, shape, outputs)
    # what the network does not give itself comes from a memory
    remembers = not set(outputs) <= set(names)
    manifest = Manifest(
        method=METHODS[run.method].name,
        variant=run.variant,
        product=storable(product),
        created_utc=now_utc(),
        input=InputSpec(height=run.height, width=run.width),
        preprocess=PreprocessSpec(rectangle=run.rectangle, polygon=run.polygon, align=run.align, fit=run.fit),
        outputs=outputs,
        score=run.score,
        training=run.training,
        trained_on=run.trained_on,
        weak_on=run.weak_on,
        files={"model_fp32": FileEntry(name="model_fp32.onnx", sha256="0" * 64, bytes=0)},
    )
    samples, shown = None, []
    if data is not None:
        samples = normal_samples(
            ModelBundle(out, manifest, ""), data, None if remembers else _COMPARED_PICTURES, reader
        )
        shown = held_out_images(samples, _COMPARED_PICTURES)
    with working("writing the network as ONNX"):
        model = onnx_from_module(network, shape, names, shown)
    folds = None
    if remembers:
        if samples is None:
            raise UsageError("a memory is fitted to good parts, and none were given", fix="add --data FOLDER")
        model, folds = with_memory(model, samples, threads)
        hashes = tuple(part.sha256 for part in samples.all)
        manifest = manifest.model_copy(update={"memory_on": hashes})
    bundle = write_bundle(out, manifest, {"model_fp32": ("model_fp32.onnx", model)}, Audit("export"))
    compared = f"compared with torch on {len(shown)} held-out parts" if shown else "compared with torch on noise"
    say(f"exported {len(model) / 1e6:.2f} MB of FP32 ONNX to {out}, {compared}")
    return bundle, folds
