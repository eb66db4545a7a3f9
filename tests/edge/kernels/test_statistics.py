"""What good parts look like to a network, from few of them."""

import numpy as np
import pytest

from edge.core.manifest import NormSpec, ResidualSpec, ScoreSpec
from edge.kernels.cpu import NetworkOutputs
from edge.kernels.statistics import PRIOR_NORMALS, cross_fitted_paths, normal_statistics

SPEC = ScoreSpec(residual=ResidualSpec(w_l1=1))


def errors_of(count, seed=0, level=0.1):
    """Errors (count, 64, 64) that vary ten times as much in the upper half as in the lower."""
    spread = np.where(np.arange(64)[:, None] < 32, 0.1, 0.01) * np.ones((64, 64))
    noise = np.random.default_rng(seed).normal(0, 1, (count, 64, 64))
    return (level * (1 + spread * noise)).astype(np.float32)


def outputs(count):
    return [NetworkOutputs()] * count


def test_many_normals_give_the_spread_of_each_place():
    statistics = normal_statistics(SPEC, errors_of(400), outputs(400))
    assert statistics.mean[10, 10] == pytest.approx(0.1, rel=0.02)
    assert 1 / statistics.inv_std[10, 10] == pytest.approx(0.01, rel=0.1)
    assert 1 / statistics.inv_std[54, 10] < 0.003


def test_few_normals_lean_on_the_spread_of_all_places():
    few = errors_of(4)
    statistics = normal_statistics(SPEC, few, outputs(4))
    everywhere = few.var()
    local = 1 / statistics.inv_std[54, 10] ** 2
    assert local == pytest.approx(everywhere * PRIOR_NORMALS / (4 + PRIOR_NORMALS), rel=0.05)


def test_trained_on_parts_sharpen_the_places_and_leave_the_level_to_held_out_parts():
    held_out, trained = errors_of(8), errors_of(200, seed=1, level=0.05)
    alone = normal_statistics(SPEC, held_out, outputs(8))
    joined = normal_statistics(SPEC, held_out, outputs(8), trained)
    assert joined.mean.mean() == pytest.approx(held_out.mean(), rel=1e-3)
    assert joined.inv_std[54, 10] > 1.5 * alone.inv_std[54, 10]


def test_a_texture_has_one_mean_and_one_spread():
    statistics = normal_statistics(ScoreSpec(norm=NormSpec(kind="global")), errors_of(20), outputs(20))
    assert np.ptp(statistics.mean) == np.ptp(statistics.inv_std) == 0


def test_no_part_is_judged_by_statistics_that_saw_it():
    errors = errors_of(10)
    errors[3] += 0.5
    paths = cross_fitted_paths(SPEC, errors, outputs(10))
    seen = normal_statistics(SPEC, errors, outputs(10))
    assert paths[3]._statistics.mean.mean() < seen.mean.mean() - 0.01
    assert paths[3] is paths[8]
    assert len({id(path) for path in paths}) == 5


def test_distances_have_one_mean_and_one_spread():
    found = normal_statistics(
        SPEC, errors_of(2), [NetworkOutputs(emb_dist=np.full((2, 2), v, np.float32)) for v in (1, 3)]
    )
    assert (found.emb_mean, found.emb_inv_std) == (2.0, 1.0)
