"""Rules tried on parts before any network is trained."""

import numpy as np

from tests.training.rules.plates import bad_plate, good_plate
from training.labelling.trial import MeanPart, try_rules


def spotted(seed):
    """A plate with a white label that every good part may carry somewhere."""
    picture = good_plate(seed)
    row, column = np.random.default_rng(seed).integers(10, 70, 2)
    picture[row : row + 12, column : column + 12] = 250
    return picture


BOOK = (
    "rules:\n"
    "  label: if brighter is high then anomalous with 0.9\n"
    "  scratch: if darker is high and elongation is elongated then anomalous with 0.9\n"
    "  grain: if contrast is low then normal with 0.5\n"
)


def test_a_rule_that_would_label_good_parts_is_suspicious(rules):
    trial = try_rules(rules(BOOK), np.stack([spotted(seed) for seed in range(12)]), [bad_plate(3)[0]])
    label, scratch, grain = trial.rules
    assert (trial.normal_samples, trial.weak_parts) == (12, 1)
    assert label.suspicious and label.good > 0.8 and label.labels_good > 0.8
    assert not scratch.suspicious and scratch.good == 0
    assert scratch.weak == 1
    assert not grain.suspicious


def test_without_defective_parts_nothing_is_said_about_them(rules):
    trial = try_rules(rules(BOOK), np.stack([good_plate(seed) for seed in range(4)]))
    assert all(rule.weak is None and rule.good <= 1 for rule in trial.rules)


def test_auto_words_are_fitted_to_the_defective_parts(rules):
    book = rules("sets:\n  grey:\n    inky: auto low\nrules:\n  a: if grey is inky then anomalous with 0.9\n")
    trial = try_rules(book, np.stack([good_plate(seed) for seed in range(4)]), [bad_plate(3)[0], bad_plate(4)[0]])
    assert trial.rules[0].weak == 1
    assert "grey" in trial.reference.quartiles


def test_a_good_part_is_compared_with_the_others():
    goods = np.stack([good_plate(seed) for seed in range(8)])
    goods[3, 20:40, 20:40] = 250
    zmaps = MeanPart(goods).normal_zmaps
    assert zmaps.shape == goods.shape[:3] and zmaps.dtype == np.float32
    assert zmaps[3, 25:35, 25:35].mean() > 5 * np.median(zmaps[3])
    assert zmaps.min() == 0
