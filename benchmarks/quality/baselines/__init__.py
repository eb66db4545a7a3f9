"""What a shop would do without a network, and what a data set gives away: the bar that a network has to clear."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from benchmarks.quality.at_budgets import figures_at_budgets
from benchmarks.quality.baselines.base import Baseline, Fitting, MapBaseline
from benchmarks.quality.baselines.models import EigenImages, VariationModel
from benchmarks.quality.baselines.template import GoldenTemplate
from benchmarks.quality.baselines.trivial import MEASURES, Side, TrivialStatistic
from benchmarks.quality.labelled import SeenPictures, list_test_pictures
from benchmarks.quality.predictions import Predictions, Progress, figures_of_merit, predict_all
from calibration.threshold import fitted_threshold
from edge.capture.images.image_reader import PLAIN, ImageReader
from edge.core.datatypes import F32, U8
from edge.preprocessing.preprocess import Preprocess

__all__ = ["Baseline", "Fitting", "baselines_for", "evaluate_baseline"]


def baselines_for(data: Path, preprocess: Preprocess) -> list[Baseline]:
    """Every baseline that this folder allows; the golden template needs a reference for every test picture."""
    found: list[Baseline] = [MapBaseline(VariationModel(), preprocess), MapBaseline(EigenImages(), preprocess)]
    if all(picture.reference is not None for picture in list_test_pictures(data)):
        found.append(GoldenTemplate(preprocess))
    sides: tuple[Side, ...] = get_args(Side)
    found += [TrivialStatistic(measure, side, preprocess) for measure in MEASURES for side in sides]
    return found


def evaluate_baseline(
    baseline: Baseline,
    normals: Sequence[U8],
    data: Path,
    preprocess: Preprocess,
    fitting: Fitting,
    seen: SeenPictures,
    progress: Progress = lambda done, total: None,
    reader: ImageReader = PLAIN,
) -> tuple[Predictions, dict[str, Any]]:
    """Fit on good parts, predict the test pictures: predictions, and the same figures as of a bundle."""
    baseline.fit(normals, fitting)
    predictions = predict_all(baseline.score, data, preprocess, seen, progress, reader)
    return predictions, {**_figures(predictions, baseline.held_out, fitting.budget), "group": baseline.group}


def _figures(predictions: Predictions, held_out: F32 | None, budget: float | None) -> dict[str, Any]:
    if held_out is None:
        return figures_of_merit(predictions, None, None)
    fitted = fitted_threshold(held_out, budget)
    figures = figures_of_merit(predictions, fitted.threshold, fitted.false_reject_budget)
    return {**figures, "at_budgets": figures_at_budgets(predictions, held_out)}
