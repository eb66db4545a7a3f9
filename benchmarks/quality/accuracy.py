"""How well a bundle separates good from bad parts of an MVTec-style folder, through the backend that will run.

Nothing is chosen here: threshold and score path come with the bundle. Definitions: docs/figures/evaluation.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.at_budgets import budgets_text, figures_at_budgets
from benchmarks.quality.labelled import SeenPictures
from benchmarks.quality.predictions import Prediction, Predictions, Progress, figures_of_merit, predict_all
from edge.backends import open_backend, target_of
from edge.backends.base import Backend
from edge.backends.golden import GoldenComparison
from edge.bundles.bundle import ModelBundle
from edge.bundles.calibration import Calibration
from edge.capture.images.image_reader import PLAIN, ImageReader
from edge.core.config import Settings
from edge.core.datatypes import U8
from edge.core.errors import PartNotFound
from edge.core.latency import StageClock
from edge.core.progress import progress_bar, working
from edge.inspection.inspectors import golden_comparison
from edge.preprocessing.regions import HIGHEST_SCORE, values_in_view

# what a comparison of precisions subtracts
COMPARED = (
    "image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro_30", "aupro_05",
    "fpr_at_95", "fpr_at_99", "recall_at_fpr_05", "recall", "false_reject_rate",
)  # fmt: skip


def evaluate_bundle(
    bundle: ModelBundle, data: Path, settings: Settings, reader: ImageReader, precision: str | None = None
) -> tuple[Predictions, dict[str, Any]]:
    """What one precision says about the test pictures, through the backend of the settings, and its metrics.

    precision: None for the one that runs with these settings. Raises UsageError, BundleError and CalibrationMismatch.
    """
    inspection, target = settings.inspection, target_of(settings.inspection.backend)
    precision = precision or bundle.precision(inspection.precision, target)
    calibration = bundle.calibration(precision, target=target)
    with working("loading the model, and making it ready for this processor"):
        backend = open_backend(
            bundle, inspection.backend, precision, inspection.threads, engines=inspection.engines_folder
        )
    # as data sets have them: beside the pictures, at the same paths
    beside = data / "reference"
    golden = golden_comparison(bundle, calibration, settings, beside if beside.is_dir() else None)
    with progress_bar(f"inspecting {precision}") as advance:
        predictions = predict_with_bundle(bundle, backend, data, advance, reader=reader, golden=golden)
    with working("working the figures out"):
        figures = bundle_figures(bundle, backend, predictions, calibration)
    backend.close()
    return predictions, {"data": data.name, "precision": precision, **figures}


def compare_precisions(bundle: ModelBundle, data: Path, settings: Settings, reader: ImageReader) -> dict[str, Any]:
    """INT8 and FP32 side by side on the same pictures."""
    int8_predictions, int8 = evaluate_bundle(bundle, data, settings, reader, "int8")
    fp32_predictions, fp32 = evaluate_bundle(bundle, data, settings, reader, "fp32")
    return {
        "int8": int8,
        "fp32": fp32,
        "int8_minus_fp32": precision_differences(int8, fp32),
        "agreement": map_agreement(int8_predictions, fp32_predictions),
    }


def prediction_of(
    bundle: ModelBundle, backend: Backend, image: U8, golden: GoldenComparison | None = None, model: U8 | None = None
) -> Prediction:
    """Score and map as they lie over the view; a part that is not found is never passed: it has the highest score.

    golden: compares the picture with `model`, its golden one, too.
    """
    view = bundle.preprocess.field_of_view(*image.shape[:2])
    assert view is not None, "pictures are checked before"
    try:
        anomaly_map = backend.score(image, StageClock(0))
        if golden is not None:
            assert model is not None, "where pictures are compared, each has a golden one"
            anomaly_map = golden.joined(anomaly_map, image, model)
    except PartNotFound:
        return Prediction(HIGHEST_SCORE, np.zeros(bundle.manifest.map_shape, np.float32))
    return Prediction(anomaly_map.score, values_in_view(anomaly_map, view))


def predict_with_bundle(
    bundle: ModelBundle,
    backend: Backend,
    data: Path,
    progress: Progress = lambda done, total: None,
    seen: SeenPictures | None = None,
    reader: ImageReader = PLAIN,
    golden: GoldenComparison | None = None,
) -> Predictions:
    """What the backend predicts of test pictures; seen: what must not be counted, None for what the bundle has seen.

    golden: compares them with golden pictures too.
    """

    def detector(image: U8, model: U8 | None) -> Prediction:
        return prediction_of(bundle, backend, image, golden, model)

    return predict_all(
        detector, data, bundle.preprocess, seen or SeenPictures.of(bundle.manifest), progress, reader,
        None if golden is None else golden.pictures,
    )  # fmt: skip


def bundle_figures(
    bundle: ModelBundle, backend: Backend, predictions: Predictions, calibration: Calibration
) -> dict[str, Any]:
    """The figures of merit, with what was measured and how its weights and score path were chosen."""
    return {
        **figures_of_merit(predictions, calibration.threshold, calibration.false_reject_budget),
        "at_budgets": figures_at_budgets(predictions, calibration.scores),
        "selection": bundle.manifest.training.selection,
        "backend": backend.name,
        "engine_sha256": backend.model_sha256,
        "bundle_sha256": bundle.sha256,
    }


def precision_differences(int8: dict[str, Any], fp32: dict[str, Any]) -> dict[str, float | None]:
    """INT8 minus FP32, figure by figure; None where a figure does not exist."""
    return {name: None if int8[name] is None else int8[name] - fp32[name] for name in COMPARED}


def map_agreement(one: Predictions, other: Predictions) -> dict[str, float | None]:
    """How alike two predictions of the same pictures are: correlation over all map pixels, and largest differences.

    The correlation is None where one of the maps is the same everywhere.
    """
    pairs = [(a, b) for a, b in zip(one.maps, other.maps, strict=True) if a is not None and b is not None]
    sums = np.zeros(5)
    largest = 0.0
    for a, b in pairs:
        x, y = a.astype(np.float64), b.astype(np.float64)
        sums += [x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()]
        largest = max(largest, float(np.abs(x - y).max()))
    count = sum(a.size for a, _ in pairs)
    mean_x, mean_y, square_x, square_y, product = sums / count
    spread = (square_x - mean_x**2) * (square_y - mean_y**2)
    return {
        "map_pearson": float((product - mean_x * mean_y) / np.sqrt(spread)) if spread > 0 else None,
        "map_max_abs_difference": largest,
        "score_max_abs_difference": float(np.abs(one.scores - other.scores).max()),
    }


def metrics_text(metrics: dict[str, Any]) -> str:
    """The metrics for a person."""
    low, high = metrics["false_reject_interval_95"]
    auroc_low, auroc_high = metrics["image_auroc_interval_95"]
    left_out = f", {metrics['n_left_out']} left out because training saw them" if metrics["n_left_out"] else ""
    left_out += f", {metrics['n_invalid']} left out because the line would not judge them" * bool(metrics["n_invalid"])
    lines = [
        f"{metrics['data']}: {metrics['n_good']} good, {metrics['n_defective']} defective parts{left_out}; "
        f"{metrics['precision']} on {metrics['backend']}",
        f"image AUROC {metrics['image_auroc']:.4f} (95 % interval {auroc_low:.3f} to {auroc_high:.3f}), "
        f"AP {metrics['image_ap']:.4f}",
    ]
    if metrics["pixel_auroc"] is not None:
        lines.append(
            f"pixel AUROC {metrics['pixel_auroc']:.4f}, AP {metrics['pixel_ap']:.4f}; "
            f"AUPRO at 0.3 {metrics['aupro_30']:.4f}, at 0.05 {metrics['aupro_05']:.4f}"
        )
    if metrics["au_spro"] is not None:
        lines.append(f"AU-sPRO at 0.05 {metrics['au_spro']['0.05']:.4f}, at 0.3 {metrics['au_spro']['0.3']:.4f}")
    lines += [
        f"false rejects to find 95 % of defects: {metrics['fpr_at_95']:.1%}; 99 %: {metrics['fpr_at_99']:.1%}",
        f"at the bundle's threshold {metrics['threshold']:.4f}: {metrics['recall']:.1%} of defects found, "
        f"{metrics['false_reject_rate']:.1%} of good parts rejected (95 % interval {low:.1%} to {high:.1%}, "
        f"budget {metrics['false_reject_budget']:.1%})",
        *budgets_text(metrics["at_budgets"]),
        "found by kind: " + ", ".join(f"{k} {v['found']}/{v['of']}" for k, v in metrics["recall_by_kind"].items()),
        "image AUROC by kind: " + ", ".join(f"{k} {v:.3f}" for k, v in metrics["image_auroc_by_kind"].items()),
    ]
    for name, words in (("seen", "kinds with labelled examples in training"), ("unseen", "kinds without")):
        if metrics[f"image_auroc_{name}_kinds"] is not None:
            lines.append(f"image AUROC of {words}: {metrics[f'image_auroc_{name}_kinds']:.4f}")
    lines.append(f"chosen without test pictures: {metrics['selection']}")
    return "\n".join(lines)


def differences_text(compared: dict[str, Any]) -> str:
    """Both precisions side by side, for a person."""
    lines = [f"{'INT8':>31} {'FP32':>9} {'INT8-FP32':>10}"]
    for name, difference in compared["int8_minus_fp32"].items():
        if difference is not None:
            int8, fp32 = compared["int8"][name], compared["fp32"][name]
            lines.append(f"{name:<21} {int8:>9.4f} {fp32:>9.4f} {difference:>+10.4f}")
    agreement = compared["agreement"]
    pearson = agreement["map_pearson"]
    lines.append(
        f"maps: correlation {'–' if pearson is None else f'{pearson:.5f}'}, largest difference "
        f"{agreement['map_max_abs_difference']:.4f}; scores: {agreement['score_max_abs_difference']:.4f}"
    )
    return "\n".join(lines)
