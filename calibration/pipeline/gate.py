"""The gate of a bundle that is there: do the verdicts of what runs survive on a site's own parts?"""

from __future__ import annotations

from pathlib import Path

from calibration.pipeline.calibrator import now_utc
from calibration.pipeline.gate_samples import HELD_OUT, GateSamples
from calibration.pipeline.sample_cache import normal_samples
from edge.backends import open_backend, target_of
from edge.bundles.bundle import CPU, load_bundle
from edge.capture.images.image_reader import ImageReader
from edge.core.config import Settings
from edge.core.files.atomic_file import write_atomic
from edge.core.progress import working
from export.gate import GateReport, gate_report
from export.gate_page import gate_page
from export.paired_scores import ScoredModel, score_pairs


def gate_bundle(
    path: Path, data: Path, ng: Path | None, settings: Settings, reader: ImageReader, page: Path | None = None
) -> GateReport:
    """Replay good and defective parts through FP32 and what runs, and compare them.

    data: folder of good parts. ng: folder of defective ones; None: artificial defects are drawn. page: where the
    picture page is written. Raises UsageError, BundleError and CalibrationMismatch.
    """
    bundle, inspection = load_bundle(path), settings.inspection
    target = target_of(inspection.backend)
    precision = bundle.precision(inspection.precision, target)
    reference = "auto" if target != CPU else inspection.backend

    def opened(name: str, backend: str, where: str) -> ScoredModel:
        calibration = bundle.calibration(name, target=where)
        with working(f"loading the {name} model, and making it ready for this processor"):
            model = open_backend(bundle, backend, name, inspection.threads, engines=inspection.engines_folder)
        return ScoredModel(model, calibration.threshold)

    fp32, runs = opened("fp32", reference, CPU), opened(precision, inspection.backend, target)
    budget = bundle.calibration(precision, target=target).false_reject_budget
    samples = normal_samples(bundle, data, HELD_OUT, reader)
    with working("drawing defects for the gate"):
        gate_samples = GateSamples(samples, ng)
    with working(f"gate: judging good and defective parts in fp32 and in {precision}"):
        pairs = score_pairs(gate_samples, fp32, runs)
    report = gate_report(
        pairs, fp32, runs, settings.gate, budget=budget, target=target, precision=precision,
        defects=gate_samples.defects, created_utc=now_utc(),
    )  # fmt: skip
    for model in (fp32, runs):
        model.backend.close()
    if page is not None:
        write_atomic(page, gate_page(report, pairs))
    return report
