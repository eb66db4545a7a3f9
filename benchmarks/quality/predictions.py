"""What a detector predicts of every labelled test picture, and its figures (docs/figures/evaluation.md)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.quality.labelled import (
    LabelledPicture,
    SeenPictures,
    Truth,
    TruthReader,
    list_test_pictures,
    map_at_evaluation_side,
)
from benchmarks.quality.mask_files import MOST_DEFECTIVE
from edge.backends.golden import GoldenPictures
from edge.capture.images.image_reader import PLAIN, ImageReader, required
from edge.capture.images.rejected_images import RejectedImages
from edge.core.datatypes import F32, U8
from edge.core.errors import UsageError
from edge.metrics import (
    au_spro,
    aupro,
    average_precision,
    bootstrap_intervals,
    f1_max,
    fpr_at_recall,
    image_auroc,
    pixel_auroc,
    pixel_average_precision,
    rate_interval,
    recall_at_fpr,
)
from edge.preprocessing.preprocess import Preprocess

Progress = Callable[[int, int], None]
SPRO_LIMITS = (0.01, 0.05, 0.1, 0.3, 1.0)
BOOTSTRAP_RESAMPLES = 1000


@dataclass(frozen=True)
class Prediction:
    """An image score, and where it comes from: float32 (h, w) of any size, None where a detector has no map."""

    score: float
    values: F32 | None


# picture and its golden sample, if it has one → prediction
Detector = Callable[[U8, U8 | None], Prediction]


@dataclass(frozen=True)
class Predictions:
    """Scores, maps and truths of the pictures that count, in the same order; maps at EVALUATION_SIDE.

    milliseconds: of each call of the detector. n_left_out: pictures that training had seen. n_invalid: those that the
    line would not judge. weak_kinds: defect kinds of which training had seen labelled examples.
    """

    pictures: tuple[LabelledPicture, ...]
    scores: NDArray[np.float64]
    maps: tuple[F32 | None, ...]
    truths: tuple[Truth | None, ...]
    milliseconds: NDArray[np.float64]
    n_left_out: int
    weak_kinds: frozenset[str]
    n_invalid: int = 0

    @property
    def labels(self) -> NDArray[np.int64]:
        return np.array([int(picture.defective) for picture in self.pictures])


def predict_all(
    detector: Detector,
    data: Path,
    preprocess: Preprocess,
    seen: SeenPictures,
    progress: Progress = lambda done, total: None,
    reader: ImageReader = PLAIN,
    golden: GoldenPictures | None = None,
) -> Predictions:
    """Predictions of every test picture that training has not seen and that the line would judge.

    golden: where each picture's golden one comes from; None: from the folder reference/ of the data, where it is there.
    Raises UsageError for good ones that training has seen, and when the line would not judge most of them.
    """
    pictures = list_test_pictures(data, reader)
    truth_reader = TruthReader(data, reader)
    invalid = RejectedImages(reader.freshness, "test pictures")
    kept: list[LabelledPicture] = []
    predicted: list[Prediction] = []
    truths: list[Truth | None] = []
    milliseconds = []
    for index, picture in enumerate(pictures):
        progress(index, len(pictures))
        finding = reader.look(picture.path)
        image = required(picture.path, finding)
        if finding.fault is not None:
            invalid.add(f"{picture.kind}/{picture.path.name}", image, finding.fault)
            continue
        view = preprocess.field_of_view(*image.shape[:2])
        if view is None:
            raise UsageError(
                f"{picture.path} is {image.shape[1]}x{image.shape[0]} px; the region of interest "
                f"{preprocess.rectangle} does not lie inside",
                fix="evaluate on pictures of the camera that the bundle was made for",
            )
        if not seen.leaves_out(picture, image):
            reference = _reference(picture, reader, golden)
            started = time.perf_counter_ns()
            prediction = detector(image, reference)
            milliseconds.append((time.perf_counter_ns() - started) / 1e6)
            kept.append(picture)
            predicted.append(prediction)
            truths.append(truth_reader.truth(picture, image, view))
    progress(len(pictures), len(pictures))
    seen.refuse_leaks()
    invalid.refuse_most(len(pictures), reader.fitting_sensor_bits())
    if len(invalid):
        reader.emit(invalid.summary(len(pictures)))
    _report_masks(kept, truths, reader)
    return Predictions(
        pictures=tuple(kept),
        scores=np.array([prediction.score for prediction in predicted]),
        maps=tuple(
            None if prediction.values is None else map_at_evaluation_side(prediction.values) for prediction in predicted
        ),
        truths=tuple(truths),
        milliseconds=np.array(milliseconds),
        n_left_out=len(pictures) - len(kept) - len(invalid),
        n_invalid=len(invalid),
        weak_kinds=seen.weak_kinds(data),
    )


def _reference(picture: LabelledPicture, reader: ImageReader, golden: GoldenPictures | None) -> U8 | None:
    if golden is not None:
        return golden.of(str(picture.path))
    return None if picture.reference is None else reader.read(picture.reference)


def _report_masks(pictures: Sequence[LabelledPicture], truths: Sequence[Truth | None], reader: ImageReader) -> None:
    """Why pixel figures are missing, or cannot be right."""
    marked = [truth.mask.mean() for picture, truth in zip(pictures, truths, strict=True) if picture.defective and truth]
    without = sum(truth is None for truth in truths)
    if without:
        reader.emit(f"{without} of {len(marked) + without} defective pictures have no mask: there are no pixel figures")
    empty = sum(share == 0 for share in marked)
    if empty:
        reader.emit(f"{empty} of {len(marked)} masks mark nothing inside the inspected region")
    full = sum(share > MOST_DEFECTIVE for share in marked)
    if full:
        reader.emit(f"{full} of {len(marked)} masks mark most of the picture: a mask is bright where the defect is")


def figures_of_merit(predictions: Predictions, threshold: float | None, budget: float | None) -> dict[str, Any]:
    """Every figure as a JSON-able dict; None where it does not exist.

    Pixel figures need a mask for every defective picture, AU-sPRO one mask per defect, rates at the threshold a
    threshold.
    """
    labels, scores = predictions.labels, predictions.scores
    best = f1_max(labels, scores)
    auroc_interval, fpr_interval = bootstrap_intervals(
        labels, scores, (image_auroc, _fpr_at_95), resamples=BOOTSTRAP_RESAMPLES
    )
    return {
        "image_auroc": image_auroc(labels, scores),
        "image_auroc_interval_95": [auroc_interval.low, auroc_interval.high],
        "image_ap": average_precision(labels, scores),
        **_pixel_figures(predictions),
        "fpr_at_95": _fpr_at_95(labels, scores),
        "fpr_at_95_interval_95": [fpr_interval.low, fpr_interval.high],
        "fpr_at_99": fpr_at_recall(labels, scores, 0.99),
        "recall_at_fpr_05": recall_at_fpr(labels, scores, 0.05),
        "f1_max_diagnostic": best.value,
        "f1_max_threshold_diagnostic": best.threshold,
        **_figures_at_threshold(predictions, threshold, budget),
        "n_good": int((labels == 0).sum()),
        "n_defective": int(labels.sum()),
        "n_left_out": predictions.n_left_out,
        "n_invalid": predictions.n_invalid,
        "image_auroc_by_kind": {
            kind: _auroc_of_kinds(predictions, {kind}) for kind in sorted(_defect_kinds(predictions.pictures))
        },
        **_figures_by_knowledge(predictions),
        "score_ms_p50": float(np.median(predictions.milliseconds)),
    }


def _fpr_at_95(labels: ArrayLike, scores: ArrayLike) -> float:
    return fpr_at_recall(labels, scores, 0.95)


def _pixel_figures(predictions: Predictions) -> dict[str, Any]:
    figures: dict[str, Any] = dict.fromkeys(
        ("pixel_auroc", "pixel_ap", "aupro_30", "aupro_05", "au_spro", "au_spro_05_by_kind")
    )
    truths = [truth for truth in predictions.truths if truth is not None]
    maps = [values for values in predictions.maps if values is not None]
    complete = len(truths) == len(maps) == len(predictions.pictures)
    if not complete or not any(truth.mask.any() for truth in truths):
        return figures
    masks = [truth.mask for truth in truths]
    figures["pixel_auroc"] = pixel_auroc(masks, maps)
    figures["pixel_ap"] = pixel_average_precision(masks, maps)
    figures["aupro_30"] = aupro(masks, maps, 0.3)
    figures["aupro_05"] = aupro(masks, maps, 0.05)
    channels = [truth.channels for truth in truths if truth.channels is not None]
    if len(channels) == len(truths):
        areas = au_spro(channels, maps, SPRO_LIMITS)
        figures["au_spro"] = {f"{limit:g}": area for limit, area in zip(SPRO_LIMITS, areas, strict=True)}
        rows_by_kind = {
            kind: _rows_of_kinds(predictions, {kind}) for kind in sorted(_defect_kinds(predictions.pictures))
        }
        figures["au_spro_05_by_kind"] = {
            kind: au_spro([channels[i] for i in rows], [maps[i] for i in rows], [0.05])[0]
            for kind, rows in rows_by_kind.items()
            if any(channels[i] for i in rows)
        }
    return figures


def _figures_at_threshold(predictions: Predictions, threshold: float | None, budget: float | None) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "threshold": threshold,
        "false_reject_budget": budget,
        "false_reject_rate": None,
        "false_reject_interval_95": None,
        "recall": None,
        "recall_by_kind": None,
    }
    if threshold is None:
        return figures
    rejected = predictions.scores > threshold
    defective = predictions.labels == 1
    n_good, n_rejected = int((~defective).sum()), int(rejected[~defective].sum())
    interval = rate_interval(n_rejected, n_good)
    figures["false_reject_rate"] = n_rejected / n_good
    figures["false_reject_interval_95"] = [interval.low, interval.high]
    figures["recall"] = float(rejected[defective].mean())
    by_kind: dict[str, list[bool]] = {kind: [] for kind in sorted(_defect_kinds(predictions.pictures))}
    for picture, reject in zip(predictions.pictures, rejected, strict=True):
        if picture.defective:
            by_kind[picture.kind].append(bool(reject))
    figures["recall_by_kind"] = {
        kind: {"found": sum(found), "of": len(found), "recall": sum(found) / len(found)}
        for kind, found in by_kind.items()
    }
    return figures


def _figures_by_knowledge(predictions: Predictions) -> dict[str, Any]:
    """Kinds that training had labelled examples of, against kinds that it had not; None where there are none."""
    kinds = _defect_kinds(predictions.pictures)
    groups = {"seen": kinds & predictions.weak_kinds, "unseen": kinds - predictions.weak_kinds}
    if not predictions.weak_kinds:
        groups = {"seen": set(), "unseen": set()}
    figures: dict[str, Any] = {}
    for name, members in groups.items():
        figures[f"{name}_kinds"] = sorted(members)
        figures[f"image_auroc_{name}_kinds"] = _auroc_of_kinds(predictions, members) if members else None
    return figures


def _auroc_of_kinds(predictions: Predictions, kinds: set[str]) -> float:
    rows = _rows_of_kinds(predictions, kinds)
    return image_auroc(predictions.labels[rows], predictions.scores[rows])


def _rows_of_kinds(predictions: Predictions, kinds: set[str]) -> list[int]:
    """The good pictures, and the defective ones of these kinds."""
    return [i for i, picture in enumerate(predictions.pictures) if not picture.defective or picture.kind in kinds]


def _defect_kinds(pictures: Iterable[LabelledPicture]) -> set[str]:
    return {picture.kind for picture in pictures if picture.defective}
