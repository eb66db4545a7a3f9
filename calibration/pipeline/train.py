"""A bundle from good parts: a network is trained, written as ONNX, its score chosen, rounded to INT8, calibrated."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from calibration.choice.exhibits import draw_exhibits, draw_exhibits_in_tiles
from calibration.choice.measured import Measured
from calibration.choice.score_choice import Choice, choose_score, evidences
from calibration.choice.sheet import SHEET, draw_sheet
from calibration.pipeline.calibrate import calibrate_bundle, quantize_bundle
from calibration.pipeline.calibrator import Goal, now_utc
from calibration.pipeline.gate_samples import held_out_images
from calibration.pipeline.golden import add_golden
from calibration.pipeline.memory_folds import Folds, weak_parts, with_memory
from calibration.pipeline.sample_cache import NormalSamples, Part, normal_samples, spread
from calibration.samples.unusual import SHEET as UNUSUAL
from calibration.samples.unusual import ConfirmParts, name_unusual
from edge.backends import GPU_BACKENDS, choose_backend
from edge.backends.cpu import Network, open_network
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.bundles.history import Audit
from edge.bundles.versions import prepare_directory, write_bundle
from edge.capture.images.image_reader import ImageReader
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.core.files.text_names import storable
from edge.core.manifest import FileEntry, InputSpec, Manifest, PreprocessSpec, ScoreSpec
from edge.core.progress import progress_bar, say, working
from edge.preprocessing.normal_samples import normal_samples_folder
from edge.preprocessing.tile_choice import SMALLEST_DEFECT_PX
from edge.system.extras import require

if TYPE_CHECKING:
    from calibration.pipeline.time_plan import TimePlan
    from training.run.preparation import Recipe
    from training.run.run_files import Run

Numbers = Literal["float32", "bfloat16"]
# in a run's folder: the bundle before it is calibrated
DRAFT = "bundle"

_COMPARED_PICTURES = 8
_CANDIDATES_SHOWN = 5
# good parts that a score path is judged by, at most, and parts that training saw: enough to say where good parts differ
_JUDGED, _SEEN = 64, 128
# INT8, with its statistics and gate, takes at most as long as so many exports of the network
_INT8_EXPORTS = 4.0


@dataclass(frozen=True)
class TrainingRequest:
    """data: folder of good parts. out: the bundle to make. run_directory: default OUT.run. false_reject: a share, 0..1;
    None: what the good parts support.

    reference: golden picture, or folder of them, that pictures are compared with too; None: DATA/reference, where it
    has those of good parts. numbers: what is computed in; None: the quicker. fresh: start anew instead of going on with
    an interrupted run.
    command: for the history.
    """

    data: Path
    out: Path
    recipe: Recipe
    false_reject: float | None
    product: str | None = None
    run_directory: Path | None = None
    reference: Path | None = None
    numbers: Numbers | None = None
    fresh: bool = False
    command: str = "train"

    @property
    def runs(self) -> Path:
        """Where the run is kept; with several methods, a folder for each."""
        return self.run_directory or self.out.with_name(self.out.name + ".run")


@dataclass(frozen=True)
class Draft:
    """A bundle with the FP32 network and its score path, not calibrated yet.

    choice: by the parts that it is compared by, None where none were at hand. export_s: what writing the network took.
    folds: memories that judge each part without having seen it, None: the network has no memory.
    """

    path: Path
    choice: Choice | None
    export_s: float
    folds: Folds | None = None


def train_bundle(
    request: TrainingRequest,
    settings: Settings,
    reader: ImageReader,
    message: Callable[[str], None] = lambda text: None,
    statistics: bytes | None = None,
    plan: TimePlan | None = None,
    confirm: ConfirmParts = name_unusual,
) -> ModelBundle:
    """A calibrated bundle; OUT changes once, at the end. Raises UsageError, BundleError and MissingDependency.

    message: called as each step begins. statistics: of the samples (calibration/samples/statistics.py), to hold later
    ones against. plan: the time that all of it keeps to; INT8 is left out when too little of it is left. confirm: is
    shown the most unusual good parts before they set the threshold.
    """
    settings = on_the_processor(settings)
    ready_to_train(request, settings, reader)
    message("training the network")
    fit_network(request.data, request.runs, request.recipe, reader, request.numbers, fresh=request.fresh, plan=plan)
    message("writing the network, comparing it with what was trained, choosing how it scores")
    product = request.product or request.out.name
    draft = bundle_from_run(request.runs, request.runs / DRAFT, product, request.data, reader, settings)
    left_s = None if plan is None else plan.budget.left_s
    return finished_bundle(request, draft, settings, reader, message, statistics, left_s, confirm=confirm)


def ready_to_train(request: TrainingRequest, settings: Settings, reader: ImageReader) -> None:
    """Raises what can be known now and must not fail after an hour of training."""
    reader.pictures_in(normal_samples_folder(request.data))
    prepare_directory(request.out)
    choose_backend(settings.inspection.backend)


def finished_bundle(
    request: TrainingRequest,
    draft: Draft,
    settings: Settings,
    reader: ImageReader,
    message: Callable[[str], None],
    statistics: bytes | None,
    left_s: float | None,
    selection: str = "",
    confirm: ConfirmParts = name_unusual,
) -> ModelBundle:
    """The draft rounded to INT8 and calibrated, written to OUT. left_s: seconds left for it, None: as long as it takes.

    selection: what the record says of the choice beside how the draft was made. confirm: see `train_bundle`.
    """
    target, data = request.out, request.data
    if left_s is not None and left_s < _INT8_EXPORTS * draft.export_s:
        message("no time is left to round it to INT8: it runs slower; edge-inspect quantize, then calibrate, add it")
    else:
        message("rounding it to INT8, where that changes nothing")
        quantize_bundle(draft.path, data, settings, reader, draft.folds)
    message("statistics and threshold on parts it has not seen; the gate")
    goal, sheet = Goal(request.false_reject, None, None), request.runs / UNUSUAL
    calibrate_bundle(draft.path, data, goal, settings, reader, folds=draft.folds, confirm=confirm, sheet=sheet)
    reference = request.reference or _reference_beside(data)
    if reference is not None:
        message("comparing good parts with their golden pictures")
        add_golden(draft.path, data, reference, request.false_reject, reader)
    made = load_bundle(draft.path)
    record = made.manifest.training
    record = record.model_copy(update={"selection": "; ".join(filter(None, (selection, record.selection)))})
    manifest = made.manifest.model_copy(update={"training": record})
    parts = {key: (entry.name, made.read(key)) for key, entry in manifest.files.items()}
    if statistics is not None:
        parts["samples"] = ("samples.npz", statistics)
    return write_bundle(target, manifest, parts, Audit(request.command, note=f"trained on {data}"))


def _reference_beside(data: Path) -> Path | None:
    """Golden pictures that lie beside the good parts as data sets have them; those of test pictures alone are none."""
    return data / "reference" if (data / "reference" / "train" / "good").is_dir() else None


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
    """Train the network; plan: the time to keep to, and the pace of this machine."""
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
    if run.training.steps == 0:
        say(f"nothing to train: the network is the encoder, and {run.training.n_heldout} good parts fill its memory")
        return
    say(f"trained on {run.training.n_train} good parts in {run.seconds:.0f} s, {run.training.n_heldout} held out")
    say(f"checkpoint and curves.png: {run_directory}")


def bundle_from_run(
    run_directory: Path,
    out: Path,
    product: str,
    data: Path | None,
    reader: ImageReader,
    settings: Settings,
    judged: Collection[str] | None = None,
) -> Draft:
    """Checkpoint → FP32 ONNX in a bundle that is not calibrated yet, with the score path that is best for it.

    data: folder of good parts: on them ONNX is compared with torch, a memory is fitted where the network hands on
    features, and the score path is chosen; None: the folder that the run learned from. Where that is gone, a network
    without a memory is compared on noise, and scores by the first of its score paths. judged: hashes of the parts by
    which it is compared with other networks, of those that training held out; None: all of them.
    """
    require("train")
    with working("loading the libraries"):
        from export.graph import with_outputs
        from export.onnx_graph import exported_names, onnx_from_module
        from training.methods import METHODS, outputs_of
        from training.methods.score_candidates import distances_by_place, score_candidates
        from training.run.run_files import load_run

    run, network = load_run(run_directory)
    outputs, shape = outputs_of(run.method, run.variant), (run.height, run.width)
    names = exported_names(network, shape, outputs)
    # of tiles, smoothing and top share are as in a field of their size
    candidates = score_candidates(METHODS[run.method], run.variant, shape, run.layout, run.blend)
    if run.tiles is not None and run.layout == "aligned":
        candidates = distances_by_place(candidates)
    manifest = Manifest(
        method=METHODS[run.method].name,
        variant=run.variant,
        product=storable(product),
        created_utc=now_utc(),
        input=InputSpec(height=run.height, width=run.width),
        preprocess=PreprocessSpec(
            rectangle=run.rectangle, polygon=run.polygon, align=run.align, fit=run.fit, tiles=run.tiles
        ),
        outputs=outputs,
        score=next(iter(candidates.values())),
        training=run.training,
        trained_on=run.trained_on,
        weak_on=run.weak_on,
        files={"model_fp32": FileEntry(name="model_fp32.onnx", sha256="0" * 64, bytes=0)},
    )
    data = data or (Path(run.data) if Path(run.data).is_dir() else None)
    samples = None if data is None else normal_samples(ModelBundle(out, manifest, ""), data, reader=reader)
    shown = [] if samples is None else held_out_images(samples, _COMPARED_PICTURES)
    started = time.monotonic()
    with working("writing the network as ONNX"):
        model = onnx_from_module(network, shape, names, shown)
    export_s = time.monotonic() - started
    compared = f"compared with torch on {len(shown)} held-out parts" if shown else "compared with torch on noise"
    folds = None
    # what the network does not give itself comes from a memory
    if not set(outputs) <= set(names):
        if samples is None or data is None:
            raise UsageError("a memory is fitted to good parts, and none were given", fix="add --data FOLDER")
        # which tile of a defective part shows the defect is not known
        weak = None if samples.tiling is not None else weak_parts(data, samples)
        model, folds = with_memory(model, samples, settings.inspection.threads, weak)
        manifest = manifest.model_copy(update={"memory_on": tuple(part.sha256 for part in samples.all)})
    choice = compared_by = None
    if samples is not None:
        judges = _Judges(model, folds, manifest, settings)
        choice = _chosen_score(run, judges, candidates, samples, samples.held_out, run_directory / SHEET)
        some = [part for part in samples.held_out if judged is None or part.sha256 in judged]
        # what trains nothing has more parts to choose by than what it is compared with
        same = len(some) == len(samples.held_out)
        compared_by = choice if same else _chosen_score(run, judges, candidates, samples, some, None)
    why = "score path: not chosen, no good parts were at hand" if choice is None else choice.selection
    said = (run.training.selection, "" if folds is None else folds.weak, why)
    record = run.training.model_copy(update={"selection": "; ".join(filter(None, said))})
    score = manifest.score if choice is None else choice.spec
    # what the score does not weigh costs time on every frame
    weighed = evidences(score, outputs)
    model = with_outputs(model, weighed)
    manifest = manifest.model_copy(update={"score": score, "training": record, "outputs": weighed})
    files = {"model_fp32": ("model_fp32.onnx", model)}
    if folds is not None and "emb_dist" in weighed:
        files |= folds.files
    bundle = write_bundle(out, manifest, files, Audit("export"))
    say(f"exported {len(model) / 1e6:.2f} MB of FP32 ONNX to {bundle.path}, {compared}")
    return Draft(bundle.path, compared_by, export_s, folds)


@dataclass(frozen=True)
class _Judges:
    """The networks that judge good parts: each part by one whose memory has not seen it."""

    model: bytes
    folds: Folds | None
    manifest: Manifest
    settings: Settings

    def graphs(self) -> list[bytes]:
        folds = self.folds
        return [self.model] if folds is None else [folds.graph(self.model, k) for k in range(len(folds.memories))]

    def fold_of(self, parts: Sequence[Part]) -> NDArray[np.int64]:
        folds = self.folds
        return np.array([0 if folds is None else folds.fold_of[part.sha256] for part in parts], np.int64)

    def opened(self, graph: bytes) -> Network:
        inspection = self.settings.inspection
        return open_network(choose_backend(inspection.backend), graph, self.manifest, inspection.threads)


def _chosen_score(
    run: Run, judges: _Judges, candidates: Mapping[str, ScoreSpec], samples: NormalSamples, held_out: Sequence[Part],
    sheet: Path | None,
) -> Choice:  # fmt: skip
    """The best score path for this network; sheet: what it makes of some parts is drawn there, and it is told in words.

    held_out: parts that training did not see; few of many are taken.
    """
    parts, seed = spread(held_out, _JUDGED)[:_JUDGED], run.training.seed + 1
    tiling = samples.tiling
    with working("drawing defects to choose the score by"):
        if tiling is None:
            exhibits = draw_exhibits(
                samples.stacked(parts), samples.weight, seed, smallest=run.smallest_defect, crop=run.crop
            )
        else:
            smallest = SMALLEST_DEFECT_PX**2 / (tiling.tile[0] * tiling.tile[1])
            exhibits = draw_exhibits_in_tiles(samples.looked_up(parts), tiling, seed, smallest)
    seen = samples.looked_up(spread(samples.trained, _SEEN)[:_SEEN])
    with progress_bar("judging good and defective parts") as advance:
        measured = Measured(exhibits, judges.graphs(), judges.fold_of(parts), judges.opened, seen, advance)
    with progress_bar(f"choosing how to score, of {len(candidates)} ways") as advance:
        choice = choose_score(candidates, measured, seed, advance)
    if sheet is None:
        return choice
    with working("drawing what it makes of unseen parts"):
        draw_sheet(choice.spec, measured, sheet)
    for name in sorted(choice.figures, key=lambda name: -choice.figures[name].mean)[:_CANDIDATES_SHOWN]:
        say(f"  image AUROC {choice.figures[name].mean:.3f} of artificial defects on held-out parts: {name}")
    say(f"  chosen: {choice.name}, {choice.figure.mean:.3f} ± {choice.figure.spread:.3f}; {choice.tied} are as good")
    say(f"what it makes of unseen parts: {sheet}")
    return choice
