"""The fast path against the definition, within the stated bound."""

from itertools import product

import cv2
import numpy as np
import pytest

from edge.core.manifest import BlendSpec, ImageScoreSpec, NormSpec, ResidualSpec, ScoreSpec, SmoothSpec
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
    error = ResidualTerms(weights, (picture.shape[1], picture.shape[1]), scale).error(picture, reconstruction)
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
    terms = ResidualTerms(ResidualSpec(**WEIGHTS["all"]), (32, 32))
    once = terms.error(*first).copy()
    terms.error(*second)
    assert np.array_equal(terms.error(*first), once)


def test_a_map_of_half_the_side_compares_block_means():
    for size, terms in product([2, 34, 64, 256], WEIGHTS):
        assert off_the_definition(*pair(size), terms, scale=2) < KERNEL_TOLERANCE, (size, terms)
    assert ResidualTerms(ResidualSpec(w_l1=1), (34, 34), scale=2).error(*pair(34)).shape == (17, 17)


def test_a_probability_and_a_mask_follow_the_map_to_half_the_side():
    logit = np.full((16, 16), -20, np.float32)
    logit[4:8, 4:8] = 20
    mask = np.ones((16, 16), np.float32)
    mask[:, 6:] = 0
    spec = ScoreSpec(map_scale=2, smooth=SmoothSpec(kind="none"), image_score=ImageScoreSpec(k=1))
    flat = NormalStatistics(np.zeros((8, 8), np.float32), np.ones((8, 8), np.float32))
    found = CpuScorePath(spec, (16, 16), flat, weight=mask).score(
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
        path = CpuScorePath(spec, (size, size), NormalStatistics(mean, inv_std), pixel_threshold=0.3)

        found = path.score(picture, NetworkOutputs(recon=reconstruction, seg_logit=logit))

        error = reference.residual_error(as_shares(picture), as_shares(reconstruction), spec.residual)
        evidence = reference.evidence(error, mean, inv_std, spec.norm)
        blended = reference.blend(evidence, reference.probability(logit), None, spec.blend)
        expected = reference.smooth(blended, smooth)
        assert np.abs(found.values - expected).max() < KERNEL_TOLERANCE, case
        assert found.score == pytest.approx(reference.top_k_mean(expected, 20), abs=KERNEL_TOLERANCE), case
        assert found.area_px == np.count_nonzero(found.values > 0.3), case


def test_a_sum_of_z_scores_on_a_field_of_another_aspect_equals_the_definition():
    shape = rows, columns = 32, 48
    for scale, present, minus_median in product([1, 2, 4], ["rse", "rs", "se", "re", "e"], [False, True]):
        picture, reconstruction = (np.ascontiguousarray(each[:, :rows, :columns]) for each in pair(48))
        random = np.random.default_rng(4)
        logit = random.normal(-3, 2, shape).astype(np.float32)
        distance = random.normal(0, 2, (4, 6)).astype(np.float32)
        map_shape = rows // scale, columns // scale
        mean = random.uniform(0.01, 0.03, map_shape).astype(np.float32)
        inv_std = random.uniform(10, 40, map_shape).astype(np.float32)
        spec = ScoreSpec(
            map_scale=scale,
            residual=ResidualSpec(w_l1=1, w_gms=0.5) if "r" in present else ResidualSpec(),
            norm=NormSpec(tau=8, z_max=6),
            blend=BlendSpec(mode="sum", alpha=0.5, beta=0.7, gamma=1.3, lift=2),
            smooth=SmoothSpec(kind="gaussian", radius=1),
            image_score=ImageScoreSpec(k=20, minus_median=minus_median),
        )
        statistics = NormalStatistics(mean, inv_std, 0.1, 1.5, -3.2, 0.6)
        outputs = NetworkOutputs(
            recon=reconstruction if "r" in present else None,
            seg_logit=logit if "s" in present else None,
            emb_dist=distance if "e" in present else None,
        )
        found = CpuScorePath(spec, shape, statistics).score(picture, outputs)

        pictures = (reference.reduced(as_shares(each), scale) for each in (picture, reconstruction))
        error = reference.residual_error(*pictures, spec.residual)
        logits = reference.reduced(logit[None].astype(np.float64), scale)[0]
        off = reference.z_score(distance, 0.1, 1.5, 6).astype(np.float32)
        summed = reference.summed(
            reference.z_score(error, mean, inv_std, 6) if "r" in present else None,
            reference.z_score(logits, -3.2, 0.6, 6) if "s" in present else None,
            cv2.resize(off, map_shape[::-1], interpolation=cv2.INTER_LINEAR) if "e" in present else None,
            spec.blend, 8,
        )  # fmt: skip
        expected = reference.smooth(summed, spec.smooth)
        case = scale, present, minus_median
        assert np.abs(found.values - expected).max() < KERNEL_TOLERANCE, case
        assert found.score == pytest.approx(
            reference.image_score(expected, spec.image_score), abs=2 / 1024 + KERNEL_TOLERANCE
        ), case
        assert found.score == pytest.approx(reference.image_score(found.values, spec.image_score), abs=1e-6), case


def test_a_score_less_the_median_does_not_see_what_the_whole_part_shares():
    spec = ScoreSpec(
        norm=NormSpec(tau=8), blend=BlendSpec(mode="sum", lift=4), smooth=SmoothSpec(kind="none"),
        image_score=ImageScoreSpec(k=1, minus_median=True),
    )  # fmt: skip
    plain = ScoreSpec(**{**dict(spec), "image_score": ImageScoreSpec(k=1)})
    flat = NormalStatistics(np.zeros((16, 16), np.float32), np.ones((16, 16), np.float32))
    image, usual = np.zeros((3, 16, 16), np.float32), np.zeros((16, 16), np.float32)
    spot, shifted = usual.copy(), usual + 1
    spot[4, 4] = 3

    def score(spec, distance):
        return CpuScorePath(spec, (16, 16), flat).score(image, NetworkOutputs(emb_dist=distance)).score

    assert score(spec, shifted) == score(spec, usual) == 0
    assert score(spec, spot) > 0.15
    assert score(plain, shifted) > score(plain, usual) > 0.3


def test_an_embedding_alone_is_scored_at_full_size():
    distance = np.zeros((4, 4), np.float32)
    distance[1, 2] = 9
    spec = ScoreSpec(smooth=SmoothSpec(kind="none"), image_score=ImageScoreSpec(k=1))
    flat = np.zeros((16, 16), np.float32)
    found = CpuScorePath(spec, (16, 16), NormalStatistics(flat, flat, 1.0, 1.0)).score(
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
    masked = CpuScorePath(spec, (32, 32), flat, weight=inside).score(picture, NetworkOutputs(recon=reconstruction))
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
    found = CpuScorePath(spec, (16, 16), NormalStatistics(flat, flat)).score(
        picture, NetworkOutputs(recon=reconstruction)
    )
    assert not np.isfinite(found.score)
