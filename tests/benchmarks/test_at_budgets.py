"""Recall and false rejects at the thresholds of several budgets, beside what labels would allow."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.at_budgets import budgets_over_seeds, budgets_table, budgets_text, figures_at_budgets
from benchmarks.quality.labelled import LabelledPicture
from benchmarks.quality.predictions import Predictions
from calibration.threshold import default_budget


def predictions(good, defective):
    scores = np.array([*good, *defective])
    pictures = tuple(
        LabelledPicture(Path(f"{number}.png"), "hole" if number >= len(good) else "good", None, None)
        for number in range(len(scores))
    )
    nothing = (None,) * len(scores)
    return Predictions(pictures, scores, nothing, nothing, np.ones(len(scores)), 0, frozenset())


@pytest.fixture
def rows():
    # 39 held out, 0.01 to 0.39: the default and 5 % stand at 0.38, 2 % and 0.5 % beyond 0.39
    held_out = np.arange(1, 40).astype(np.float32) / 100
    # a good part of four above 0.38; defects just above it, and far out
    return figures_at_budgets(predictions([0.1, 0.2, 0.3, 0.385], [0.05, 0.385, 0.9, 0.95]), held_out)


def test_each_budget_has_what_it_finds_rejects_and_what_labels_would_allow(rows):
    default, half, two, five = rows
    assert [row["budget"] for row in rows] == ["default", "0.005", "0.02", "0.05"]
    assert (default["false_reject_budget"], default["extrapolated"]) == (default_budget(39), False)
    assert (default["recall"], default["false_reject_rate"]) == (0.75, 0.25)
    assert (five["threshold"], five["recall"]) == (default["threshold"], 0.75)
    for extrapolated in (half, two):
        assert (extrapolated["extrapolated"], extrapolated["recall"]) == (True, 0.5)
        assert extrapolated["false_reject_rate"] == 0.0
        # what lies between the supported level and the threshold is marked for review
        assert (extrapolated["recall_with_review"], extrapolated["good_with_review"]) == (0.75, 0.25)
    # none of four may be rejected at 5 %; the rejected one of four is a quarter
    assert (default["recall_with_labels"], default["recall_with_labels_at_rate"]) == (0.5, 0.75)


def test_the_figures_are_told_in_a_line_each(rows):
    default, half, *_ = budgets_text(rows)
    assert default.startswith("default budget 5.0%: 75.0% of defects found, 25.0% of good parts rejected; with labels")
    assert half.startswith("budget 0.5%, extrapolated: 50.0% of defects found")


def test_seeds_are_averaged_budget_by_budget(rows):
    other = [{**row, "recall": row["recall"] - 0.5} for row in rows]
    mean = budgets_over_seeds([rows, other])
    assert mean[0]["recall"] == {"mean": 0.5, "std": pytest.approx(0.5 / np.sqrt(2))}
    assert budgets_over_seeds([rows])[1]["recall"] == {"mean": 0.5, "std": 0.0}
    table = budgets_table(mean)
    assert table[2] == "| 5.0% (default) | 25.0% | 0.500 | 0.500 | 1.00 |"
    assert table[3].startswith("| 0.5%, extrapolated | 0.0% | 0.250 | 0.500 | 0.50 |")
