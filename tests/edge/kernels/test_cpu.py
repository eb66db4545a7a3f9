"""The fast path against the definition, within the stated bound."""

import numpy as np
import pytest

from edge.core.manifest import BlendSpec, ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec
from edge.kernels import reference
from edge.kernels.cpu import (
    KERNEL_TOLERANCE,
    CpuScorePath,
    NetworkOutputs,
    NormalStatistics,
    ResidualTerms,
    planes_from_field,
    top_k_mean,
)

WEIGHTS = {
    "l1": {"w_l1": 1.0},
    "l2": {"w_l2": 1.0},
    "ssim": {"w_ssim": 1.0},
    "gms": {"w_gms": 1.0},
    "col": {"w_col": 1.0},
    "all": {"w_l1": 0.3, "w_l2": 0.2, "w_ssim": 0.4, "w_gms": 0.4, "w_col": 2.0},
}


def pair(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A smooth picture and a noisy copy of it, float32 (3, size, size) in -1..1."""
    random = np.random.default_rng(seed)
    steps = np.cumsum(random.normal(0, 0.1, (3, size, size)), axis=2)
    picture = np.tanh(steps)
    return picture.astype(np.float32), np.clip(picture + random.normal(0, 0.1, picture.shape), -1, 1).astype(np.float32)


def as_shares(picture: np.ndarray) -> np.ndarray:
    return (picture.astype(np.float64) + 1) / 2


@pytest.mark.parametrize("size", [1, 2, 7, 33, 64, 256])
@pytest.mark.parametrize("terms", WEIGHTS)
def test_residual_error_equals_the_definition(size, terms):
    picture, reconstruction = pair(size)
    weights = ResidualSpec(**WEIGHTS[terms])
    expected = reference.residual_error(as_shares(picture), as_shares(reconstruction), weights)
    assert np.abs(ResidualTerms(weights, size).error(picture, reconstruction) - expected).max() < KERNEL_TOLERANCE


@pytest.mark.parametrize("level", [-1.0, 0.0, 0.95])
@pytest.mark.parametrize("terms", WEIGHTS)
def test_flat_bright_and_dark_parts_stay_within_the_bound(level, terms):
    # variances near zero are differences of large squares: where rounding shows first
    random = np.random.default_rng(2)
    picture, reconstruction = (
        np.clip(level + random.normal(0, 0.01, (3, 64, 64)), -1, 1).astype(np.float32) for _ in range(2)
    )
    weights = ResidualSpec(**WEIGHTS[terms])
    expected = reference.residual_error(as_shares(picture), as_shares(reconstruction), weights)
    assert np.abs(ResidualTerms(weights, 64).error(picture, reconstruction) - expected).max() < KERNEL_TOLERANCE


def test_terms_that_share_planes_give_the_same_error_again():
    first, second = pair(32, seed=1), pair(32, seed=2)
    terms = ResidualTerms(ResidualSpec(**WEIGHTS["all"]), 32)
    once = terms.error(*first).copy()
    terms.error(*second)
    assert np.array_equal(terms.error(*first), once)


@pytest.mark.parametrize("size", [2, 34, 64, 256])
@pytest.mark.parametrize("terms", WEIGHTS)
def test_a_map_of_half_the_side_compares_block_means(size, terms):
    picture, reconstruction = pair(size)
    weights = ResidualSpec(**WEIGHTS[terms])
    halves = [reference.reduced(as_shares(one), 2) for one in (picture, reconstruction)]
    error = ResidualTerms(weights, size, scale=2).error(picture, reconstruction)
    assert error.shape == (size // 2, size // 2)
    assert np.abs(error - reference.residual_error(*halves, weights)).max() < KERNEL_TOLERANCE


def test_a_probability_and_a_mask_follow_the_map_to_half_the_side():
    logit = np.full((16, 16), -20, np.float32)
    logit[4:8, 4:8] = 20
    mask = np.ones((16, 16), np.float32)
    mask[:, 6:] = 0
    spec = ScoreSpec(map_scale=2, smooth=SmoothSpec(kind="none"), image_score=ImageScoreSpec(k=1))
    flat = NormalStatistics(np.zeros((8, 8), np.float32), np.ones((8, 8), np.float32))
    found = CpuScorePath(spec, 16, flat, weight=mask).score(
        np.zeros((3, 16, 16), np.float32), NetworkOutputs(seg_logit=logit)
    )
    expected = np.zeros((8, 8))
    expected[2:4, 2] = 1
    assert np.allclose(found.values, expected, atol=1e-6)


@pytest.mark.parametrize("smooth", [SmoothSpec(kind="box", radius=4), SmoothSpec(kind="gaussian", radius=2)])
@pytest.mark.parametrize("mode", ["product", "wsum", "max", "noisy_or", "gate"])
def test_map_score_and_area_equal_the_definition(smooth, mode):
    size = 48
    picture, reconstruction = pair(size)
    random = np.random.default_rng(3)
    logit = random.normal(0, 2, (size, size)).astype(np.float32)
    mean = np.full((size, size), 0.02, np.float32)
    inv_std = random.uniform(10, 40, (size, size)).astype(np.float32)
    spec = ScoreSpec(
        residual=ResidualSpec(w_l1=1, w_gms=0.5),
        blend=BlendSpec(mode=mode, alpha=0.7),
        smooth=smooth,
        image_score=ImageScoreSpec(k=20),
    )
    path = CpuScorePath(spec, size, NormalStatistics(mean, inv_std), pixel_threshold=0.3)

    found = path.score(picture, NetworkOutputs(recon=reconstruction, seg_logit=logit))

    error = reference.residual_error(as_shares(picture), as_shares(reconstruction), spec.residual)
    evidence = reference.evidence(error, mean, inv_std, spec.norm)
    blended = reference.blend(evidence, reference.probability(logit), None, spec.blend)
    expected = reference.smooth(blended, smooth)
    assert np.abs(found.values - expected).max() < KERNEL_TOLERANCE
    assert found.score == pytest.approx(reference.top_k_mean(expected, 20), abs=KERNEL_TOLERANCE)
    assert found.area_px == np.count_nonzero(found.values > 0.3)


def test_an_embedding_alone_is_scored_at_full_size():
    distance = np.zeros((4, 4), np.float32)
    distance[1, 2] = 9
    spec = ScoreSpec(smooth=SmoothSpec(kind="none"), image_score=ImageScoreSpec(k=1))
    flat = np.zeros((16, 16), np.float32)
    found = CpuScorePath(spec, 16, NormalStatistics(flat, flat, 1.0, 1.0)).score(
        np.zeros((3, 16, 16), np.float32), NetworkOutputs(emb_dist=distance)
    )
    assert found.values.shape == (16, 16)
    assert np.unravel_index(found.values.argmax(), (16, 16))[0] // 4 == 1


def test_pixels_outside_the_polygon_do_not_count():
    picture, reconstruction = pair(32)
    inside = np.zeros((32, 32), np.float32)
    inside[:, :16] = 1
    spec = ScoreSpec(residual=ResidualSpec(w_l1=1), smooth=SmoothSpec(kind="none"), image_score=ImageScoreSpec(k=5))
    flat = NormalStatistics(np.zeros((32, 32), np.float32), np.full((32, 32), 50, np.float32))
    masked = CpuScorePath(spec, 32, flat, weight=inside).score(picture, NetworkOutputs(recon=reconstruction))
    assert masked.values[:, 16:].max() == 0
    assert masked.values[:, :16].max() > 0.5


@pytest.mark.parametrize("k", [1, 7, 100, 5000])
@pytest.mark.parametrize("kind", ["smooth", "flat", "one_peak", "fine"])
def test_the_pruned_top_k_equals_the_whole_histogram(k, kind):
    random = np.random.default_rng(5)
    values = np.zeros((64, 96), np.float32)
    if kind == "smooth":
        values = np.add.outer(np.linspace(0, 0.5, 64), np.linspace(0, 0.4, 96)).astype(np.float32)
    elif kind == "one_peak":
        values[31, 17] = 0.9
    elif kind == "fine":
        values = random.random((64, 96)).astype(np.float32)
    assert top_k_mean(values, k) == reference.top_k_mean(values, k)


def test_planes_are_rgb_between_minus_one_and_one():
    field = np.zeros((2, 2, 3), np.uint8)
    field[0, 0] = (255, 0, 51)
    planes = planes_from_field(field, np.empty((3, 2, 2), np.float32))
    assert planes[:, 0, 0].tolist() == pytest.approx([51 * 2 / 255 - 1, -1, 1])
    work = [np.empty((2, 2), np.uint8) for _ in range(3)]
    assert np.array_equal(planes_from_field(field, np.empty((3, 2, 2), np.float32), work), planes)


def test_numbers_that_are_not_finite_reach_the_score():
    picture, reconstruction = pair(16)
    reconstruction[0, 3, 3] = np.nan
    spec = ScoreSpec(residual=ResidualSpec(w_l1=1))
    flat = np.ones((16, 16), np.float32)
    found = CpuScorePath(spec, 16, NormalStatistics(flat, flat)).score(picture, NetworkOutputs(recon=reconstruction))
    assert not np.isfinite(found.score)
