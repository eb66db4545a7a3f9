"""Scores of parts that statistics were fitted on would be too low; cross-fitted ones give thresholds that hold."""

import numpy as np
import pytest

from calibration.threshold import image_threshold
from edge.core.manifest import ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec
from edge.kernels.cpu import CpuScorePath, NetworkOutputs
from edge.kernels.statistics import cross_fitted_paths, normal_statistics

SIDE = 12
SPEC = ScoreSpec(residual=ResidualSpec(w_l1=1), smooth=SmoothSpec(radius=1), image_score=ImageScoreSpec(k=4))
NOTHING = NetworkOutputs()
BUDGET, DRAWS, LATER = 0.1, 60, 250


def errors_of_good_parts(random, count):
    """Residual errors (count, SIDE, SIDE): larger in the middle, and larger on some parts than on others."""
    y, x = np.mgrid[:SIDE, :SIDE]
    spread = 0.01 + 0.03 * np.exp(-((x - 6) ** 2 + (y - 6) ** 2) / 12)
    part = random.lognormal(0, 0.15, (count, 1, 1))
    return (spread * part * random.gamma(4, 0.25, (count, SIDE, SIDE))).astype(np.float32)


def scores(paths, errors):
    return np.array([path.score_error(error, NOTHING).score for path, error in zip(paths, errors, strict=True)])


@pytest.mark.parametrize("count", [12, 60])
def test_thresholds_of_cross_fitted_scores_keep_budget_and_bound_on_parts_that_come_later(count):
    random = np.random.default_rng(count)
    rates, bounds = [], []
    for _ in range(DRAWS):
        errors = errors_of_good_parts(random, count)
        outputs = [NOTHING] * count
        threshold = image_threshold(scores(cross_fitted_paths(SPEC, errors, outputs), errors), BUDGET)
        running = CpuScorePath(SPEC, (SIDE, SIDE), normal_statistics(SPEC, errors, outputs))
        later = errors_of_good_parts(random, LATER)
        rates.append(np.mean(scores([running] * LATER, later) > threshold.value))
        bounds.append(threshold.bound)
    # four standard errors; the rates are themselves measured on LATER parts, which the bound does not know of
    assert np.mean(rates) < BUDGET + 4 * np.std(rates) / np.sqrt(DRAWS)
    noise = np.sqrt(np.array(bounds) / LATER)
    assert np.mean(np.array(rates) - noise <= bounds) > 0.95 - 4 * np.sqrt(0.95 * 0.05 / DRAWS)


def test_scores_of_parts_that_the_statistics_saw_would_not_do():
    random = np.random.default_rng(3)
    seen, unseen = [], []
    for _ in range(20):
        errors = errors_of_good_parts(random, 8)
        outputs = [NOTHING] * 8
        running = CpuScorePath(SPEC, (SIDE, SIDE), normal_statistics(SPEC, errors, outputs))
        seen.append(scores([running] * 8, errors).max())
        unseen.append(scores([running] * 8, errors_of_good_parts(random, 8)).max())
    assert np.mean(seen) < np.mean(unseen)
