"""Earlier scores join the new ones where they are comparable, and the default budget falls with their number."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.adjust import with_budget
from calibration.joining import joined, same_distribution
from calibration.threshold import default_budget, fitted_threshold
from tests.calibration.test_adjust import calibration_of


def calibration(seed, count, first_name=0, shift=1.0):
    random = np.random.default_rng(seed)
    scores = (-np.expm1(-shift * random.gamma(6.0, 0.02, count))).astype(np.float32)
    names = np.array([f"{first_name + number:016x}" for number in range(count)])
    return with_budget(replace(calibration_of(scores), part_names=names), None)


def test_earlier_scores_of_other_parts_join_and_the_default_budget_falls():
    new, earlier = calibration(1, 40), calibration(2, 60, first_name=100)
    made, words = joined(new, earlier, None, None)
    assert (len(made.scores), len(set(made.part_names.tolist()))) == (100, 100)
    assert made.false_reject_budget == default_budget(100) < new.false_reject_budget
    assert made.threshold == fitted_threshold(made.scores, None).threshold
    assert words.startswith("the scores of 60 earlier good parts join")
    assert made.mean is new.mean


def test_a_budget_that_was_asked_for_stays_and_a_part_in_both_counts_once():
    new, earlier = calibration(1, 40), calibration(2, 60, first_name=30)
    made, words = joined(new, earlier, 0.02, None)
    assert (len(made.scores), made.false_reject_budget, made.budget_asked) == (90, 0.02, True)
    assert "of 50 earlier good parts" in words
    again, words = joined(new, new, None, None)
    assert again is new and "they are of the same parts" in words


def test_scores_that_are_not_comparable_do_not_join_and_the_reason_is_said():
    new = calibration(1, 60)
    other = calibration(2, 60, first_name=100, shift=1.6)
    for earlier, reason in (
        (other, "they differ from the new ones"),
        (replace(other, part_names=np.zeros(0, "<U16")), "which parts they are of was not kept"),
        (replace(other, preprocess_sha256="q" * 64), "the preprocessing is another one"),
    ):
        made, words = joined(new, earlier, None, None)
        assert made is new and reason in words, reason


def test_the_test_of_one_distribution_is_smirnovs():
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed: no second opinion on the test")
    random = np.random.default_rng(3)
    for count, shift in [(30, 0.0), (60, 0.3), (200, 0.2), (400, 0.05)]:
        one, other = random.normal(0, 1, count), random.normal(shift, 1, count + 10)
        assert same_distribution(one, other) == pytest.approx(stats.ks_2samp(one, other).pvalue, abs=0.05), count
    assert same_distribution(one, one) == 1.0


def test_samples_of_one_line_seldom_differ():
    random = np.random.default_rng(4)
    chances = [same_distribution(random.normal(size=40), random.normal(size=60)) for _ in range(400)]
    assert np.mean(np.array(chances) < 0.1) < 0.14
