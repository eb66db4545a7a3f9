"""quantize, calibrate, gate: from an FP32 network to the one that runs, with the proof that its verdicts survived."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path

from calibration.pipeline.calibrator import CalibrationSession, Goal, deployed, now_utc, on_engines
from calibration.pipeline.engine_calibration import EngineSession, build_options
from calibration.pipeline.gate_samples import HELD_OUT, GateSamples
from calibration.pipeline.quantizer import Quantizer, networks_of
from calibration.pipeline.sample_cache import normal_samples
from edge.backends import GPU_BACKENDS, choose_backend, open_backend, target_of
from edge.bundles.bundle import CPU, ModelBundle, calibrations, load_bundle
from edge.bundles.history import Audit
from edge.bundles.signature import is_signed
from edge.bundles.versions import Parts, StillLive, commit_version, making_version
from edge.capture.images.image_reader import ImageReader
from edge.cli.bundles.signed_version import wait_for_signature
from edge.cli.image_readers import reader_of
from edge.cli.regions import region_of_interest
from edge.core.config import AlignSettings, RoiSettings, Settings
from edge.core.errors import BundleError
from edge.core.files.atomic_file import write_atomic
from edge.core.manifest import Manifest, PreprocessSpec
from edge.core.progress import say, working
from edge.preprocessing.normal_samples import aligned_to_parts
from edge.preprocessing.preprocess import Preprocess
from edge.system.extras import needs


def quantize(options: argparse.Namespace, settings: Settings) -> int:
    """Ranges on good parts → INT8 ONNX for processors; what was chosen and why is kept in the bundle."""
    bundle = load_bundle(options.bundle)
    needs("calibration.ranges", "export")
    with making_version(bundle) as still_live:
        parts = normal_samples(bundle, options.data, reader=reader_of(options, settings), check=still_live.check)
        networks = Quantizer(parts, settings.inspection.threads).chosen()
        # what was found out about an older INT8 network does not hold for this one
        manifest = bundle.manifest.model_copy(update={"deployments": {}})
        _commit(bundle, manifest, networks.files(), Audit("quantize", note=f"on {options.data}"))
    return 0


def calibrate(options: argparse.Namespace, settings: Settings) -> int:
    """Statistics and threshold of both precisions, through the backend that will run, and the gate between them."""
    live = load_bundle(options.bundle)
    _tell_hand_set(live)
    with making_version(live) as still_live:
        return _calibrated(live, still_live, options, settings)


def _tell_hand_set(live: ModelBundle) -> None:
    """Calibrating is asking for a fitted threshold; a person should still know what it takes the place of."""
    for precision, target in calibrations(live.manifest):
        # one that cannot be read is replaced, which is what calibrating is for
        with contextlib.suppress(BundleError):
            calibration = live.calibration(precision, target=target, uncalibrated=True)
            if calibration.set_by_hand:
                say(
                    f"the threshold {calibration.threshold:.4f} of {precision} was set by hand; it is fitted anew, and "
                    "`edge-inspect rollback` brings it back"
                )


def _calibrated(live: ModelBundle, still_live: StillLive, options: argparse.Namespace, settings: Settings) -> int:
    manifest = live.manifest
    rectangle, polygon = region_of_interest(settings.roi)
    if settings.roi != RoiSettings():
        spec = PreprocessSpec(rectangle=rectangle, polygon=polygon, align=manifest.preprocess.align)
        manifest = manifest.model_copy(update={"preprocess": spec})
    if settings.align.mode is not None:
        manifest = _realigned(manifest, options.data, settings.align, reader_of(options, settings))
    bundle = ModelBundle(live.path, manifest, live.sha256)
    wanted = settings.inspection.backend
    target = target_of(wanted)
    # engines are compared with FP32 on the processor, where nothing of theirs is
    backend = choose_backend("auto" if wanted in GPU_BACKENDS else wanted)
    goal = Goal(options.false_reject / 100, None if options.review is None else options.review / 100, options.ng)
    shown = normal_samples(bundle, options.data, reader=reader_of(options, settings), check=still_live.check)
    line = CalibrationSession(shown, backend, settings, goal)
    gate_said: tuple[str, ...] = ()
    try:
        networks = networks_of(bundle)
        reference = line.made("fp32", networks.fp32)
        parts = line.parts.drift_file()
        if target != CPU or networks.int8 is not None:
            engines = _engines(bundle, settings, options)
            result = deployed(line, networks, reference) if engines is None else on_engines(line, engines, reference)
            manifest = manifest.model_copy(update={"deployments": {**manifest.deployments, target: result.deployment}})
            parts |= result.files
            gate_said = result.said
        line.complete(reference)
        parts["calibration_fp32"] = ("calibration_fp32.npz", reference.calibration.to_bytes())
    finally:
        line.close()
    _commit(live, manifest, parts, Audit("calibrate", gate=gate_said, note=f"on {options.data}"))
    return 0


def _commit(bundle: ModelBundle, manifest: Manifest, parts: Parts, audit: Audit) -> None:
    """Make the version live; that of a signed bundle waits for its signature."""
    if is_signed(bundle):
        wait_for_signature(bundle, manifest, parts, audit)
    else:
        commit_version(bundle, manifest, parts, audit)


def _realigned(manifest: Manifest, data: Path, settings: AlignSettings, reader: ImageReader) -> Manifest:
    """With the alignment that the settings ask for, made of these parts."""
    spec = manifest.preprocess
    upright = Preprocess(manifest.input.size, spec.rectangle, spec.polygon)
    found = spec.model_copy(update={"align": aligned_to_parts(upright, data, settings, reader).align})
    return manifest.model_copy(update={"preprocess": found})


def gate(options: argparse.Namespace, settings: Settings) -> int:
    """Replay the site's parts through FP32 and what runs; 1 when the gate refuses it."""
    gating, paired_scores = needs("export.gate", "cpu"), needs("export.paired_scores", "cpu")
    bundle = load_bundle(options.bundle)
    inspection = settings.inspection
    target = target_of(inspection.backend)
    precision = bundle.precision(inspection.precision, target)
    reference = "auto" if target != CPU else inspection.backend
    judges = []
    for name, backend, where in (("fp32", reference, CPU), (precision, inspection.backend, target)):
        calibration = bundle.calibration(name, target=where)
        with working(f"loading the {name} model, and making it ready for this processor"):
            opened = open_backend(bundle, backend, name, inspection.threads, engines=inspection.engines_folder)
        judges.append(paired_scores.ScoredModel(opened, calibration.threshold))
    parts = normal_samples(bundle, options.data, HELD_OUT, reader_of(options, settings))
    with working("drawing defects for the gate"):
        gate_samples = GateSamples(parts, options.ng)
    with working(f"gate: judging good and defective parts in fp32 and in {precision}"):
        pairs = paired_scores.score_pairs(gate_samples, *judges)
    report = gating.gate_report(
        pairs, *judges, settings.gate, budget=calibration.false_reject_budget, target=target, rung=precision,
        defects=gate_samples.defects, created_utc=now_utc(),
    )  # fmt: skip
    for judge in judges:
        judge.backend.close()
    if options.page is not None:
        write_atomic(options.page, needs("export.gate_page", "cpu").gate_page(report, pairs))
    print(json.dumps(report.as_dict(), indent=1) if options.json else "\n".join(report.summary()))
    return 0 if report.passed else 1


def _engines(bundle: ModelBundle, settings: Settings, options: argparse.Namespace) -> EngineSession | None:
    """The engines that the settings' backend wants; None: it runs the bundle's networks as they are."""
    for product in GPU_BACKENDS:
        if settings.inspection.backend == product:
            build = build_options(product, options.targets)
            return EngineSession(bundle, product, settings.inspection.engines_folder, build)
    return None
