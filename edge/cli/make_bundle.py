"""train, fit, export, quantize, calibrate, rollback: the commands that make and change bundles."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from edge.backends import choose_backend
from edge.backends.cpu import open_network
from edge.bundle import ModelBundle, load_bundle, prepare_directory, roll_back, write_bundle
from edge.cli.optional import needs
from edge.cli.progress import progress_bar, say
from edge.cli.regions import region_of_interest
from edge.config import RoiSettings, Settings
from edge.datatypes import U8
from edge.errors import UsageError
from edge.kernels.cpu import planes_from_field
from edge.manifest import FileEntry, InputSpec, Manifest, PreprocessSpec
from edge.normals import NormalPart, normals_folder, read_normals
from edge.picture import list_pictures

PRECISIONS = ("int8", "fp32")
_MAXIMUM_RANGE_PICTURES = 512
_CANDIDATES_SHOWN = 5


def train(options: argparse.Namespace, settings: Settings) -> int:
    """fit, export, quantize and calibrate in one go; OUT changes once, when all of it is done."""
    target = options.out
    options.product = options.product or target.name
    # what can be known now must not fail after an hour of training
    list_pictures(normals_folder(options.data))
    prepare_directory(target)
    choose_backend(settings.inspection.backend)
    needs("export.onnx_graph", "train")
    options.run_directory = options.run_directory or target.with_name(target.name + ".run")
    options.out = options.bundle = options.run_directory / "bundle"
    for step in (fit, export, quantize, calibrate):
        step(options, settings)
    made = load_bundle(options.out)
    parts = {key: (entry.name, made.read(key)) for key, entry in made.manifest.files.items()}
    write_bundle(target, made.manifest, parts)
    say(f"the bundle is ready: edge-inspect --camera 0 --bundle {target}")
    return 0


def fit(options: argparse.Namespace, settings: Settings) -> int:
    """Train the network and choose its score path."""
    training = needs("training.fit", "train")
    rectangle, polygon = region_of_interest(settings.roi)
    recipe = training.Recipe(
        method=options.method,
        variant=options.variant,
        seed=options.seed,
        layout=options.layout,
        ablations=frozenset(options.ablate),
        blend=options.blend,
        steps=options.steps,
        smallest_defect=None if options.smallest_defect is None else options.smallest_defect / 100,
        rules=options.rules,
        rectangle=rectangle,
        polygon=polygon,
    )
    with progress_bar(f"training {options.method} {options.variant}") as advance:
        run = training.fit(
            options.data, options.run_directory, recipe, fresh=options.fresh, progress=advance, notice=say
        )
    say(f"trained on {run.training.n_train} good parts in {run.seconds:.0f} s, {run.training.n_heldout} held out")
    for name, value in sorted(run.candidates.items(), key=lambda item: -item[1])[:_CANDIDATES_SHOWN]:
        say(f"  image AUROC {value:.3f} of artificial defects on held-out parts: {name}")
    say(f"checkpoint, curves.png and sheet.png of what it makes of unseen parts: {options.run_directory}")
    return 0


def export(options: argparse.Namespace, settings: Settings) -> int:
    """Checkpoint → FP32 ONNX in a bundle that is not calibrated yet."""
    run, network = needs("training.run_files", "train").load_run(options.run_directory)
    outputs = needs("training.methods", "train").METHODS[run.method].outputs
    model = needs("export.onnx_graph", "train").onnx_from_module(network, run.size, outputs)
    manifest = Manifest(
        method=run.method,
        variant=run.variant,
        product=options.product or options.out.name,
        created_utc=_now_utc(),
        input=InputSpec(size=run.size),
        preprocess=PreprocessSpec(rectangle=run.rectangle, polygon=run.polygon),
        outputs=outputs,
        score=run.score,
        training=run.training,
        trained_on=run.trained_on,
        weak_on=run.weak_on,
        files={"model_fp32": FileEntry(name="model_fp32.onnx", sha256="0" * 64, bytes=0)},
    )
    write_bundle(options.out, manifest, {"model_fp32": ("model_fp32.onnx", model)})
    say(f"exported {len(model) / 1e6:.2f} MB of FP32 ONNX to {options.out}")
    return 0


def quantize(options: argparse.Namespace, settings: Settings) -> int:
    """Ranges on good parts, with foreign patches where the network looks for defects itself → INT8 ONNX."""
    ranges_module = needs("calibration.ranges", "export")
    bundle = load_bundle(options.bundle)
    model = bundle.read("model_fp32")
    size = bundle.manifest.input.size
    images = []
    for part in fitting_normals(bundle, options.data):
        field = bundle.preprocess.field(part.picture)
        images.append(planes_from_field(field, np.empty((3, size, size), np.float32)))
        if len(images) == _MAXIMUM_RANGE_PICTURES:
            break
    judges = set(bundle.manifest.outputs) != {"recon"}
    seen = ranges_module.with_foreign_patches(images) if judges else images
    ranges = ranges_module.collect_ranges(model, seen)
    quantized = needs("export.qdq", "export").quantized_for_cpu(model, ranges)
    parts = {
        "model_int8": ("model_int8.onnx", quantized),
        "ranges": ("ranges.json", ranges_module.ranges_to_bytes(ranges)),
    }
    write_bundle(bundle.path, bundle.manifest, parts)
    say(f"ranges of {len(ranges)} tensors on {len(images)} good parts; {len(quantized) / 1e6:.2f} MB of INT8 ONNX")
    return 0


def calibrate(options: argparse.Namespace, settings: Settings) -> int:
    """Statistics and threshold of both precisions, through the backend that will run."""
    baseline = needs("calibration.baseline", "cpu")
    bundle = load_bundle(options.bundle)
    rectangle, polygon = region_of_interest(settings.roi)
    if settings.roi != RoiSettings():
        roi = PreprocessSpec(rectangle=rectangle, polygon=polygon)
        bundle = ModelBundle(bundle.path, bundle.manifest.model_copy(update={"preprocess": roi}), bundle.sha256)
    backend = choose_backend(settings.inspection.backend)
    parts = {}
    for precision in PRECISIONS:
        if f"model_{precision}" not in bundle.manifest.files:
            continue
        model = bundle.read(f"model_{precision}")
        network = open_network(backend, model, bundle.manifest, settings.inspection.threads)
        calibration = baseline.calibrate(
            network,
            bundle.engine_sha256(precision),
            bundle.manifest,
            bundle.preprocess,
            calibration_pictures(bundle, options.data, trained=False),
            trained=calibration_pictures(bundle, options.data, trained=True),
            budget=options.false_reject / 100,
            created_utc=_now_utc(),
        )
        network.close()
        parts[f"calibration_{precision}"] = (f"calibration_{precision}.npz", calibration.to_bytes())
        say(f"{precision} on {backend}: {calibration.summary()}")
    write_bundle(bundle.path, bundle.manifest, parts)
    return 0


def rollback(options: argparse.Namespace, settings: Settings) -> int:
    """The bundle's previous version becomes the current one."""
    bundle = roll_back(options.bundle)
    say(f"{options.bundle}: now the version of {bundle.manifest.created_utc} ({bundle.sha256[:12]}…)")
    return 0


def calibration_pictures(bundle: ModelBundle, data: Path, *, trained: bool) -> Iterator[U8]:
    """Good parts that the network was, or was not, trained on; it reconstructs the former too well for a threshold."""
    trained_on = set(bundle.manifest.trained_on)
    return (part.picture for part in fitting_normals(bundle, data) if (part.sha256 in trained_on) == trained)


def fitting_normals(bundle: ModelBundle, data: Path) -> Iterator[NormalPart]:
    """Good parts, checked to hold the bundle's region of interest; raises UsageError naming the picture."""
    for part in read_normals(data):
        height, width = part.picture.shape[:2]
        if bundle.preprocess.field_of_view(height, width) is None:
            raise UsageError(
                f"{part.path} is {width}x{height} px; the region {bundle.preprocess.rectangle} does not lie inside",
                fix="change roi.rectangle, or remove the picture",
            )
        yield part


def _now_utc() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
