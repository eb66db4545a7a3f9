"""The fast path against the definition, within the stated bound."""

from itertools import product

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
MODES = ["product", "wsum", "max", "noisy_or", "gate"]


def pair(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A smooth picture and a noisy copy of it, float32 (3, size, size) in -1..1."""
    random = np.random.default_rng(seed)
    steps = np.cumsum(random.normal(0, 0.1, (3, size, size)), axis=2)
    picture = np.tanh(steps)
    return picture.astype(np.float32), np.clip(picture + random.normal(0, 0.1, picture.shape), -1, 1).astype(np.float32)


def as_shares(picture: np.ndarray) -> np.ndarray:
    return (picture.astype(np.float64) + 1) / 2


def off_the_definition(picture: np.ndarray, reconstruction: np.ndarray, terms: str, scale: int = 1) -> float:
    """The largest difference between the error of the fast path and that of the definition."""
    weights = ResidualSpec(**WEIGHTS[terms])
    compared = [reference.reduced(as_shares(one), scale) for one in (picture, reconstruction)]
    error = ResidualTerms(weights, picture.shape[1], scale).error(picture, reconstruction)
    return np.abs(error - reference.residual_error(*compared, weights)).max()


def test_residual_error_equals_the_definition():
    for size, terms in product([1, 2, 7, 33, 64, 256], WEIGHTS):
        assert off_the_definition(*pair(size), terms) < KERNEL_TOLERANCE, (size, terms)


def test_flat_bright_and_dark_parts_stay_within_the_bound():
    # variances near zero are differences of large squares: where rounding shows first
    noise = np.random.default_rng(2).normal(0, 0.01, (2, 3, 64, 64))
    for level, terms in product([-1.0, 0.0, 0.95], WEIGHTS):
        flat = np.clip(level + noise, -1, 1).astype(np.float32)
        assert off_the_definition(*flat, terms) < KERNEL_TOLERANCE, (level, terms)


def test_terms_that_share_planes_give_the_same_error_again():
    first, second = pair(32, seed=1), pair(32, seed=2)
    terms = ResidualTerms(ResidualSpec(**WEIGHTS["all"]), 32)
    once = terms.error(*first).copy()
    terms.error(*second)
    assert np.array_equal(terms.error(*first), once)


def test_a_map_of_half_the_side_compares_block_means():
    for size, terms in product([2, 34, 64, 256], WEIGHTS):
        assert off_the_definition(*pair(size), terms, scale=2) < KERNEL_TOLERANCE, (size, terms)
    assert ResidualTerms(ResidualSpec(w_l1=1), 34, scale=2).error(*pair(34)).shape == (17, 17)


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


def test_map_score_and_area_equal_the_definition():
    size = 48
    for case in product([SmoothSpec(kind="box", radius=4), SmoothSpec(kind="gaussian", radius=2)], MODES):
        smooth, mode = case
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
        assert np.abs(found.values - expected).max() < KERNEL_TOLERANCE, case
        assert found.score == pytest.approx(reference.top_k_mean(expected, 20), abs=KERNEL_TOLERANCE), case
        assert found.area_px == np.count_nonzero(found.values > 0.3), case


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


def test_the_pruned_top_k_equals_the_whole_histogram():
    maps = {
        "flat": np.zeros((64, 96), np.float32),
        "one_peak": np.zeros((64, 96), np.float32),
        # high exactly where the fast way takes its sample, and nowhere else
        "grid": np.zeros((64, 96), np.float32),
        "smooth": np.add.outer(np.linspace(0, 0.5, 64), np.linspace(0, 0.4, 96)).astype(np.float32),
        "fine": np.random.default_rng(5).random((64, 96)).astype(np.float32),
    }
    maps["one_peak"][31, 17] = maps["grid"][::8, ::8] = 0.9
    for kind, k in product(maps, [1, 7, 100, 5000]):
        assert top_k_mean(maps[kind], k) == reference.top_k_mean(maps[kind], k), (kind, k)


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
