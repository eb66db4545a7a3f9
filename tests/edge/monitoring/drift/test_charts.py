"""The rate of false alarms is the stated one, however few parts the reference has. Measures are runs side by side."""

import numpy as np
import pytest

from edge.monitoring.drift.charts import BLOCK_PARTS, Charts, Known

RUNS, BLOCKS, MEAN_BLOCKS = 400, 500, 200.0


def alarms_per_stated(reference_parts: int, draw, tolerance: float = 0.0, change: float = 0.0) -> float:
    """False alarms of RUNS simulated runs of BLOCKS blocks, per those that the stated rate would give."""
    charts = Charts(Known.of(draw(reference_parts)), np.full(RUNS, tolerance), MEAN_BLOCKS)
    silent, blocks = np.ones(RUNS, bool), 0
    for _ in range(BLOCKS):
        blocks += int(silent.sum())
        silent &= ~charts.add(change + draw(BLOCK_PARTS))
    return int((~silent).sum()) / (2 * blocks / MEAN_BLOCKS)


def normal(seed: int):
    random = np.random.default_rng(seed)
    return lambda parts: random.normal(size=(parts, RUNS))


def skewed(seed: int):
    random = np.random.default_rng(seed)
    return lambda parts: np.exp(0.5 * random.normal(size=(parts, RUNS)))


def alike(seed: int, likeness: float = 0.5):
    """Neighbours are alike: each part keeps half of the one before."""
    random = np.random.default_rng(seed)
    state = random.normal(size=RUNS)

    def draw(parts: int) -> np.ndarray:
        nonlocal state
        rows = []
        for _ in range(parts):
            state = likeness * state + np.sqrt(1 - likeness**2) * random.normal(size=RUNS)
            rows.append(state)
        return np.array(rows)

    return draw


@pytest.mark.parametrize("reference_parts", [5, 8, 39, 400])
def test_false_alarms_come_at_the_stated_rate_even_with_few_normals(reference_parts):
    rate = alarms_per_stated(reference_parts, normal(reference_parts))
    assert 0.1 < rate < 1.0


def test_a_skewed_measure_keeps_the_stated_rate():
    assert alarms_per_stated(20, skewed(1)) < 1.1


@pytest.mark.parametrize("likeness", [0.5, 0.8])
def test_neighbours_that_are_alike_keep_the_stated_rate(likeness):
    assert alarms_per_stated(20, alike(2, likeness)) < 1.0


def test_a_change_below_the_tolerance_is_no_drift():
    random = np.random.default_rng(3)
    charts = Charts(Known.of(random.normal(size=(400, 50))), np.full(50, 0.4), 1e5)
    for _ in range(300):
        assert not charts.add(0.25 + random.normal(size=(BLOCK_PARTS, 50))).any()


def test_a_change_of_half_the_tolerance_keeps_the_stated_rate():
    assert alarms_per_stated(400, normal(9), tolerance=0.4, change=0.2) < 1.0


def test_a_change_is_found_and_dated():
    random = np.random.default_rng(4)
    charts = Charts(Known.of(random.normal(size=(30, 1))), np.zeros(1), 1e6)
    for _ in range(40):
        assert not charts.add(random.normal(size=(BLOCK_PARTS, 1))).any()
    blocks = 1
    while not charts.add(2 + random.normal(size=(BLOCK_PARTS, 1))).any():
        blocks += 1
    assert blocks <= 6
    assert abs(charts.began(0).blocks - blocks) <= 2


def test_a_change_of_half_the_spread_is_found_by_a_young_reference_that_is_still_learning():
    random = np.random.default_rng(7)
    charts = Charts(Known.of(random.normal(size=(19, 20))), np.zeros(20), 1e6)
    for _ in range(30):
        assert not charts.add(random.normal(size=(BLOCK_PARTS, 20))).any()
    found = np.zeros(20, bool)
    for _ in range(90):
        found |= charts.add(0.5 + random.normal(size=(BLOCK_PARTS, 20)))
    assert found.sum() >= 18


def test_what_was_forgotten_is_not_compared_with():
    random = np.random.default_rng(8)
    charts = Charts(Known.of(random.normal(size=(30, 1))), np.zeros(1), 1e6)
    for level in [0.0] * 20 + [3.0] * 6:
        charts.add(level + random.normal(size=(BLOCK_PARTS, 1)))
    assert charts.began(0).blocks == 6
    charts.restart(forget=6)
    assert charts.known.parts == 30 + 20 * BLOCK_PARTS
    assert abs(charts.known.mean[0]) < 0.4
    assert not any(charts.add(random.normal(size=(BLOCK_PARTS, 1))).any() for _ in range(50))


def test_what_is_off_from_the_first_part_is_found_against_the_calibration():
    random = np.random.default_rng(5)
    charts = Charts(Known.of(random.normal(size=(24, 1))), np.zeros(1), 1e6)
    assert any(charts.add(2 + random.normal(size=(BLOCK_PARTS, 1))).any() for _ in range(12))


def test_one_strange_block_is_no_drift():
    random = np.random.default_rng(6)
    charts = Charts(Known.of(random.normal(size=(100, 1))), np.zeros(1), 1e6)
    charts.add(100 + random.normal(size=(BLOCK_PARTS, 1)))
    assert not any(charts.add(random.normal(size=(BLOCK_PARTS, 1))).any() for _ in range(100))
