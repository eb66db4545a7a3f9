"""quantize, calibrate, gate: from an FP32 network to the one that runs, with the proof that its verdicts survived."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edge.backends import choose_backend, open_backend
from edge.bundle import ModelBundle, load_bundle
from edge.bundle_history import Audit
from edge.cli.calibrated import TARGET, Goal, Line, deployed, now_utc
from edge.cli.good_parts import good_parts
from edge.cli.optional import needs
from edge.cli.quantised import networks_of, quantised
from edge.cli.regions import region_of_interest
from edge.cli.specimens import HELD_OUT, Specimens
from edge.config import AlignSettings, RoiSettings, Settings
from edge.manifest import Manifest, PreprocessSpec
from edge.normals import aligned_to_parts
from edge.preprocess import Preprocess
from edge.versions import commit_version
from edge.whole_file import write_whole


def quantize(options: argparse.Namespace, settings: Settings) -> int:
    """Ranges on good parts → INT8 ONNX for processors; what was chosen and why is kept in the bundle."""
    bundle = load_bundle(options.bundle)
    needs("calibration.ranges", "export")
    networks = quantised(good_parts(bundle, options.data), settings.inspection.threads)
    # what was found out about an older INT8 network does not hold for this one
    manifest = bundle.manifest.model_copy(update={"deployments": {}})
    commit_version(bundle, manifest, networks.files(), Audit("quantize", note=f"on {options.data}"))
    return 0


def calibrate(options: argparse.Namespace, settings: Settings) -> int:
    """Statistics and threshold of both precisions, through the backend that will run, and the gate between them."""
    live = load_bundle(options.bundle)
    manifest = live.manifest
    rectangle, polygon = region_of_interest(settings.roi)
    if settings.roi != RoiSettings():
        spec = PreprocessSpec(rectangle=rectangle, polygon=polygon, align=manifest.preprocess.align)
        manifest = manifest.model_copy(update={"preprocess": spec})
    if settings.align.mode is not None:
        manifest = _realigned(manifest, options.data, settings.align)
    bundle = ModelBundle(live.path, manifest, live.sha256)
    backend = choose_backend(settings.inspection.backend)
    goal = Goal(options.false_reject / 100, None if options.review is None else options.review / 100, options.ng)
    line = Line(good_parts(bundle, options.data), backend, settings, goal)
    networks = networks_of(bundle)
    reference = line.made("fp32", networks.fp32)
    parts = {"calibration_fp32": ("calibration_fp32.npz", reference.calibration.to_bytes())}
    parts |= line.parts.drift_file()
    gate_said: tuple[str, ...] = ()
    if networks.int8 is not None:
        result = deployed(line, networks, reference)
        manifest = manifest.model_copy(update={"deployments": {**manifest.deployments, TARGET: result.deployment}})
        parts |= result.files
        gate_said = result.said
    line.close()
    commit_version(live, manifest, parts, Audit("calibrate", gate=gate_said, note=f"on {options.data}"))
    return 0


def _realigned(manifest: Manifest, data: Path, settings: AlignSettings) -> Manifest:
    """With the alignment that the settings ask for, made of these parts."""
    spec = manifest.preprocess
    upright = Preprocess(manifest.input.size, spec.rectangle, spec.polygon)
    found = spec.model_copy(update={"align": aligned_to_parts(upright, data, settings).align})
    return manifest.model_copy(update={"preprocess": found})


def gate(options: argparse.Namespace, settings: Settings) -> int:
    """Replay the site's parts through FP32 and what runs; 1 when the gate refuses it."""
    gating = needs("export.gate", "cpu")
    bundle = load_bundle(options.bundle)
    inspection = settings.inspection
    precision = bundle.precision(inspection.precision)
    judges = []
    for name in ("fp32", precision):
        calibration = bundle.calibration(name)
        opened = open_backend(bundle, inspection.backend, name, inspection.threads)
        judges.append(gating.Judge(opened, calibration.threshold))
    specimens = Specimens(good_parts(bundle, options.data, HELD_OUT), options.ng)
    replayed = gating.replay(specimens, *judges)
    report = gating.gate_report(
        replayed, *judges, settings.gate, budget=calibration.false_reject_budget, target=TARGET, rung=precision,
        defects=specimens.defects, created_utc=now_utc(),
    )  # fmt: skip
    for judge in judges:
        judge.backend.close()
    if options.page is not None:
        write_whole(options.page, needs("export.gate_page", "cpu").gate_page(report, replayed))
    print(json.dumps(report.as_dict(), indent=1) if options.json else "\n".join(report.summary()))
    return 0 if report.passed else 1
