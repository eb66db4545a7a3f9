"""Ranges: what they are collected on, three ways to draw them, and which one is taken."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: no network can be looked into")

from calibration.range_choice import ESTIMATORS, choose_ranges
from calibration.ranges import (
    Activations,
    collect_activations,
    collect_ranges,
    entropy_ranges,
    max_ranges,
    percentile_ranges,
    ranges_from_bytes,
    ranges_to_bytes,
    with_foreign_patches,
)
from export.evaluation_set import EvaluationSet
from export.tensor_ranges import Ranges
from tests.export.graphs import pictures as noise
from tests.export.graphs import residual_network
from tests.small_bundle import SIZE, blur_network, good_field, manifest


def pictures(count=5, side=48):
    y, x = np.mgrid[:side, :side] / side
    return [np.stack([y * 0.5, x * 0.5, (x + y) / 4]).astype(np.float32) - 0.1 * index for index in range(count)]


def test_every_picture_is_there_as_it_was_and_once_more_altered():
    before = pictures()
    seen = with_foreign_patches(before)
    assert len(seen) == 2 * len(before)
    for plain, kept, altered in zip(pictures(), seen[: len(before)], seen[len(before) :], strict=True):
        assert np.array_equal(plain, kept)
        changed = (np.abs(plain - altered).max(0) > 0.05).mean()
        assert 0.003 < changed < 0.4
        assert altered.dtype == np.float32
        assert np.abs(altered).max() <= 1


def test_the_same_pictures_are_altered_the_same_way():
    first, second = with_foreign_patches(pictures()), with_foreign_patches(pictures())
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_one_small_picture_will_do():
    assert len(with_foreign_patches(pictures(1, 16))) == 2


def test_ranges_name_what_int8_may_touch_and_hold_all_of_its_values():
    ranges = collect_ranges(residual_network(), noise())
    # not what is only a ReLU's input, and not what the ends read and write
    assert set(ranges) == {"a", "b", "c", "d", "e", "f", "g", "h"}
    assert all(low == 0 < high for name, (low, high) in ranges.items() if name != "c")
    assert ranges["c"][0] < 0


def test_the_same_pictures_give_the_same_bytes_and_bytes_give_the_ranges_back():
    ranges = collect_ranges(residual_network(), noise())
    assert ranges_to_bytes(ranges) == ranges_to_bytes(collect_ranges(residual_network(), noise()))
    assert ranges_from_bytes(ranges_to_bytes(ranges)) == ranges


def activations(values):
    return Activations(Ranges({"x": (float(values.min()), float(values.max()))}), {"x": values.astype(np.float32)})


def test_max_cuts_nothing_off_percentiles_cut_tails_and_entropy_cuts_lonely_values():
    values = np.append(np.random.default_rng(0).normal(0, 1, 50_000), [40.0])
    seen = activations(values)
    assert max_ranges(seen)["x"][1] == 40
    assert percentile_ranges(seen, 0.999)["x"] == pytest.approx((-3.1, 3.1), abs=0.15)
    low, high = entropy_ranges(seen)["x"]
    assert 2.5 < high < 10
    assert low == pytest.approx(values.min())


def test_entropy_keeps_all_of_an_even_spread():
    values = np.random.default_rng(0).uniform(0, 5, 50_000)
    assert entropy_ranges(activations(values))["x"][1] > 4.5


def test_a_tensor_that_is_always_zero_has_a_range():
    seen = activations(np.zeros(100))
    assert max_ranges(seen)["x"] == percentile_ranges(seen, 0.99)["x"] == entropy_ranges(seen)["x"] == (0.0, 0.0)


def evaluation_set(normals=6):
    fields = [good_field(seed) for seed in range(40, 40 + normals)]
    altered = [field.copy() for field in fields]
    mask = np.zeros((SIZE, SIZE), np.bool_)
    mask[10:13, 8:24] = True
    for field in altered:
        field[:, mask] = -1
    return EvaluationSet(fields, altered, [mask] * normals, None, "scratches")


def test_every_estimator_is_tried_and_the_best_is_taken():
    seen = collect_activations(blur_network(), [good_field(seed) for seed in range(8)])
    choice = choose_ranges(blur_network(), manifest(), seen, evaluation_set())
    assert list(choice.precision) == list(ESTIMATORS)
    # among those as good as the best, the nearest to FP32
    equals = [name for name, value in choice.precision.items() if value >= max(choice.precision.values()) - 0.005]
    assert choice.damage[choice.estimator] == min(choice.damage[name] for name in equals)
    assert choice.ranges == ESTIMATORS[choice.estimator](seen)
    assert choice.precision_fp32 > 0.5


def test_ranges_that_cut_the_picture_short_are_not_taken(monkeypatch):
    seen = collect_activations(blur_network(), [good_field(seed) for seed in range(8)])
    monkeypatch.setitem(ESTIMATORS, "max", lambda activations: dict.fromkeys(activations.extremes, (-0.01, 0.01)))
    choice = choose_ranges(blur_network(), manifest(), seen, evaluation_set())
    assert choice.estimator != "max"
    assert choice.precision["max"] < choice.precision[choice.estimator] - 0.01


def test_without_enough_held_out_parts_nothing_is_chosen():
    seen = collect_activations(blur_network(), [good_field(0)])
    choice = choose_ranges(blur_network(), manifest(), seen, evaluation_set(3))
    assert (choice.estimator, choice.precision) == ("max", {})
