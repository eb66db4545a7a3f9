"""evaluate, doctor: the commands that look at a bundle or a machine."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from edge.backends import open_backend, target_of
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.cli.console import show
from edge.cli.image_readers import reader_of
from edge.cli.line.run import bundle_path
from edge.core.config import Settings
from edge.core.progress import progress_bar, working
from edge.inspection.readiness import challenge_findings
from edge.system.doctor import diagnose
from edge.system.extras import needs
from edge.system.findings import State, findings_json, findings_table, worst


def evaluate(options: argparse.Namespace, settings: Settings) -> int:
    """Metrics of a bundle on labelled pictures, in one precision or in both."""
    accuracy = needs("benchmarks.quality.accuracy", "cpu")
    bundle = load_bundle(bundle_path(settings))
    if not options.compare_precisions:
        target = target_of(settings.inspection.backend)
        precision = bundle.precision(settings.inspection.precision, target)
        _, metrics = _measure(accuracy, bundle, options, settings, precision)
        print(json.dumps(metrics, indent=1) if options.json else accuracy.metrics_text(metrics))
        return 0
    int8_observed, int8 = _measure(accuracy, bundle, options, settings, "int8")
    fp32_observed, fp32 = _measure(accuracy, bundle, options, settings, "fp32")
    compared = {
        "int8": int8,
        "fp32": fp32,
        "int8_minus_fp32": accuracy.precision_differences(int8, fp32),
        "agreement": accuracy.map_agreement(int8_observed, fp32_observed),
    }
    print(json.dumps(compared, indent=1) if options.json else accuracy.differences_text(compared))
    return 0


def _measure(
    accuracy: Any, bundle: ModelBundle, options: argparse.Namespace, settings: Settings, precision: str
) -> tuple[Any, dict[str, Any]]:
    """What one precision says about the test pictures, and its metrics."""
    data, inspection, reader = options.data, settings.inspection, reader_of(options, settings)
    calibration = bundle.calibration(precision, target=target_of(inspection.backend))
    with working("loading the model, and making it ready for this processor"):
        backend = open_backend(
            bundle, inspection.backend, precision, inspection.threads, engines=inspection.engines_folder
        )
    with progress_bar(f"inspecting {precision}") as advance:
        observed = accuracy.observe_bundle(bundle, backend, data, advance, reader=reader)
    budget = calibration.false_reject_budget
    with working("working the figures out"):
        metrics = accuracy.bundle_figures(bundle, backend, observed, calibration.threshold, budget)
    backend.close()
    return observed, {"data": data.name, "precision": precision, **metrics}


def doctor(options: argparse.Namespace, settings: Settings) -> int:
    """What this machine can run; 1 when something prevents inspection."""
    path = bundle_path(settings)
    findings = [*diagnose(settings, path, check_bundle=_describe_bundle), *challenge_findings(path, settings)]
    if options.json:
        print(findings_json(findings))
    else:
        show(findings_table(findings))
    return 1 if worst(findings) is State.FAIL else 0


def _describe_bundle(path: Path) -> str:
    """One line about a bundle that could run; raises BundleError for one that could not."""
    bundle = load_bundle(path)
    bundle.verify()
    ready = [name for name in ("int8", "fp32") if f"calibration_{name}" in bundle.manifest.files]
    for precision in ready:
        bundle.calibration(precision)
    manifest = bundle.manifest
    calibrated = " and ".join(ready) or "not at all: run `edge-inspect calibrate`"
    side = manifest.input.size
    return f"{manifest.method} {manifest.variant}, {side}x{side} px, every hash right, calibrated {calibrated}"
