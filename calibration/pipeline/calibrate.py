"""From the FP32 network of a bundle to the one that runs: INT8 for processors, statistics and thresholds, the gate."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from calibration.pipeline.calibrator import CalibrationSession, Goal, deploy, deploy_engine
from calibration.pipeline.engines import EngineSession, build_options
from calibration.pipeline.memory_folds import Folds, folds_of, memories_without
from calibration.pipeline.quantizer import Networks, Quantizer, networks_of
from calibration.pipeline.sample_cache import NormalSamples, Part, normal_samples
from calibration.samples.unusual import ConfirmParts, name_unusual
from edge.backends import GPU_BACKENDS, choose_backend, target_of
from edge.backends.gpu.tensorrt_versions import PRODUCTS
from edge.bundles.bundle import CPU, ModelBundle, calibrations, load_bundle
from edge.bundles.history import Audit
from edge.bundles.signature import is_signed
from edge.bundles.signed_version import wait_for_signature
from edge.bundles.versions import Parts, StillLive, commit_version, making_version
from edge.capture.images.image_reader import ImageReader
from edge.core.config import AlignSettings, RoiSettings, Settings
from edge.core.errors import BundleError, UsageError
from edge.core.manifest import Manifest
from edge.core.progress import say
from edge.preprocessing.normal_samples import aligned_to_parts
from edge.preprocessing.preprocess import Preprocess
from export.memory_graph import with_other_memories


def quantize_bundle(
    path: Path, data: Path, settings: Settings, reader: ImageReader, folds: Folds | None = None
) -> None:
    """Ranges on good parts → INT8 ONNX for processors; what was chosen and why is kept in the bundle.

    data: folder of good parts. folds: memories for those that the bundle's own has seen, where they are at hand. Raises
    UsageError, BundleError and MissingDependency.
    """
    bundle = load_bundle(path)
    with making_version(bundle) as still_live:
        samples = normal_samples(bundle, data, reader=reader, check=still_live.check)
        threads = settings.inspection.threads
        networks = Quantizer(samples, threads, folds=folds or folds_of(bundle, samples, threads)).chosen()
        # what was found out about an older INT8 network does not hold for this one
        manifest = bundle.manifest.model_copy(update={"deployments": {}})
        _commit(bundle, manifest, networks.files(), Audit("quantize", note=f"on {data}"))


def calibrate_bundle(
    path: Path,
    data: Path,
    goal: Goal,
    settings: Settings,
    reader: ImageReader,
    capabilities: Sequence[int] | None = None,
    folds: Folds | None = None,
    confirm: ConfirmParts = name_unusual,
    sheet: Path | None = None,
) -> None:
    """Statistics and threshold of both precisions, through the backend that will run, and the gate between them.

    data: folder of good parts. capabilities: of the GPUs that engines are built for. folds: memories for the parts that
    the bundle's own has seen, where they are at hand. confirm: is shown the most unusual good parts before they count.
    sheet: where they are drawn. Raises UsageError, BundleError and MissingDependency.
    """
    live = load_bundle(path)
    _announce_thresholds_set_by_hand(live)
    with making_version(live) as still_live:
        manifest, parts, audit = _calibrated(
            live, still_live, data, goal, settings, reader, capabilities, folds, confirm, sheet
        )
        _commit(live, manifest, parts, audit)


def _announce_thresholds_set_by_hand(live: ModelBundle) -> None:
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


def _calibrated(
    live: ModelBundle, still_live: StillLive, data: Path, goal: Goal, settings: Settings, reader: ImageReader,
    capabilities: Sequence[int] | None, folds: Folds | None, confirm: ConfirmParts, sheet: Path | None,
) -> tuple[Manifest, dict[str, tuple[str, bytes]], Audit]:  # fmt: skip
    manifest = live.manifest
    if settings.roi != RoiSettings():
        rectangle, polygon = settings.roi.as_tuples
        spec = manifest.preprocess.model_copy(update={"rectangle": rectangle, "polygon": polygon})
        manifest = manifest.model_copy(update={"preprocess": spec})
    if settings.align.mode is not None:
        manifest = _realigned(manifest, data, settings.align, reader)
    bundle = ModelBundle(live.path, manifest, live.sha256)
    wanted = settings.inspection.backend
    target = target_of(wanted)
    # engines are compared with FP32 on the processor, where nothing of theirs is
    backend = choose_backend("auto" if wanted in GPU_BACKENDS else wanted)
    samples = normal_samples(bundle, data, reader=reader, check=still_live.check)
    gate_lines: tuple[str, ...] = ()
    result = None
    weak = data / "train" / "weak"
    goal = replace(goal, weak=weak if weak.is_dir() else None)
    folds = folds or folds_of(bundle, samples, settings.inspection.threads)
    with contextlib.closing(CalibrationSession(samples, backend, settings, goal, folds=folds)) as session:
        networks = networks_of(bundle)
        reference = session.calibrate("fp32", networks.fp32)
        parts = {}
        if refused := session.refused(reference, confirm, sheet):
            networks, folds, manifest = _without(refused, networks, samples, manifest, settings.inspection.threads)
            session.forget(refused, folds)
            reference = session.calibrate("fp32", networks.fp32)
            parts["model_fp32"] = ("model_fp32.onnx", networks.fp32)
        parts |= samples.drift_file()
        if target != CPU or networks.int8 is not None:
            engines = _engines(bundle, settings, capabilities)
            if engines is None:
                result = deploy(session, networks, reference)
            else:
                result = deploy_engine(session, engines, reference)
            manifest = manifest.model_copy(update={"deployments": {**manifest.deployments, target: result.deployment}})
            parts |= result.files
            gate_lines = result.gate_lines
        session.complete(reference)
        parts |= session.findings(reference if result is None else result.runs).file()
        parts["calibration_fp32"] = ("calibration_fp32.npz", reference.calibration.to_bytes())
    return manifest, parts, Audit("calibrate", gate=gate_lines, note=f"on {data}")


def _without(
    refused: Sequence[Part], networks: Networks, samples: NormalSamples, manifest: Manifest, threads: int | None
) -> tuple[Networks, Folds | None, Manifest]:
    """Networks whose memory has not seen these parts, its folds, and the manifest that names what it has seen."""
    gone = {part.sha256 for part in refused}
    chosen = [part for part in samples.all if part.sha256 in set(manifest.memory_on) - gone]
    if not chosen:
        return networks, None, manifest
    memories, folds = memories_without(networks.fp32, samples, chosen, threads)
    int8 = None if networks.int8 is None else with_other_memories(networks.int8, memories)
    changed = replace(networks, fp32=with_other_memories(networks.fp32, memories), int8=int8)
    return changed, folds, manifest.model_copy(update={"memory_on": tuple(part.sha256 for part in chosen)})


def _commit(bundle: ModelBundle, manifest: Manifest, parts: Parts, audit: Audit) -> None:
    """Make the version live; that of a signed bundle waits for its signature."""
    if is_signed(bundle):
        wait_for_signature(bundle, manifest, parts, audit)
    else:
        commit_version(bundle, manifest, parts, audit)


def _realigned(manifest: Manifest, data: Path, settings: AlignSettings, reader: ImageReader) -> Manifest:
    """With the alignment that the settings ask for, made of these parts; raises UsageError."""
    spec = manifest.preprocess
    if spec.tiles is not None and settings.mode == "upright":
        raise UsageError(
            "parts that are stood upright are not inspected in tiles",
            fix="use another --align, or make a bundle without --tiles",
        )
    as_it_lies = Preprocess(*manifest.field, spec.rectangle, spec.polygon, fit=spec.fit)
    aligned = aligned_to_parts(as_it_lies, data, settings, reader)
    found = spec.model_copy(update={"align": aligned.align, "fit": aligned.fit})
    return manifest.model_copy(update={"preprocess": found})


def _engines(bundle: ModelBundle, settings: Settings, capabilities: Sequence[int] | None) -> EngineSession | None:
    """The engines that the settings' backend wants; None: it runs the bundle's networks as they are."""
    for product in PRODUCTS:
        if settings.inspection.backend == product:
            build = build_options(product, capabilities)
            return EngineSession(bundle, product, settings.inspection.engines_folder, build)
    return None
