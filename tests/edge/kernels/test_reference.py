"""The definition of the score path against numbers worked out by hand."""

import numpy as np
import pytest
from scipy import ndimage

from edge.core.manifest import BlendSpec, NormSpec, ResidualSpec, SmoothSpec
from edge.kernels import reference


def flat(value: float, size: int = 8) -> np.ndarray:
    return np.full((3, size, size), value)


def test_equal_pictures_have_no_error():
    picture = np.random.default_rng(0).random((3, 16, 16))
    everything = ResidualSpec(w_l1=1, w_l2=1, w_ssim=1, w_gms=1, w_col=1)
    assert np.allclose(reference.residual_error(picture, picture, everything), 0, atol=1e-12)


def test_l1_and_l2_of_a_constant_difference():
    assert np.allclose(reference.residual_error(flat(0.5), flat(0.2), ResidualSpec(w_l1=2)), 0.6)
    assert np.allclose(reference.residual_error(flat(0.5), flat(0.2), ResidualSpec(w_l2=1)), 0.09)


def test_a_change_of_brightness_has_no_colour_error_and_a_change_of_one_channel_has():
    grey, red = flat(0.5), flat(0.5)
    red[0] += 0.2
    weights = ResidualSpec(w_col=1)
    assert np.allclose(reference.residual_error(grey, flat(0.7), weights), 0, atol=1e-12)
    # R - G changes by 0.2, (R + G) / 2 - B by 0.1
    assert np.allclose(reference.residual_error(red, grey, weights), 0.2**2 + 0.1**2)


def test_a_flat_picture_against_an_edge_has_the_gradient_error_of_the_formula():
    edge = flat(0.0, 16)
    edge[:, :, 8:] = 0.3
    error = reference.residual_error(edge, flat(0.0, 16), ResidualSpec(w_gms=1))
    # beside the edge Prewitt / 3 gives 0.3 at the fine scale; halved, the same edge gives 0.3 at the coarse one
    similar = reference.GMS_C / (0.3**2 + reference.GMS_C)
    assert error[8, 7] == pytest.approx(1 - (similar + (0.75 * similar + 0.25 * 1)) / 2, abs=0.13)
    assert error[8, 0] == pytest.approx(0, abs=1e-9)


def test_ssim_of_two_constants_is_the_luminance_term():
    error = reference.residual_error(flat(0.6), flat(0.2), ResidualSpec(w_ssim=1))
    similarity = (2 * 0.6 * 0.2 + reference.SSIM_C1) / (0.6**2 + 0.2**2 + reference.SSIM_C1)
    assert np.allclose(error, (1 - similarity) / 2)


def test_smoothing_agrees_with_scipy_at_its_reflecting_border():
    for side in [(9, 9), (5, 12), (1, 7)]:
        values = np.random.default_rng(1).random(side)
        box = ndimage.uniform_filter(values, 5, mode="reflect")
        gaussian = ndimage.gaussian_filter(values, 1, mode="reflect", truncate=4)
        assert np.allclose(reference.smooth(values, SmoothSpec(kind="box", radius=2)), box), side
        assert np.allclose(reference.smooth(values, SmoothSpec(kind="gaussian", radius=1)), gaussian), side


def test_evidence_starts_at_the_normal_mean_and_is_clamped():
    error = np.array([0.0, 1.0, 2.0, 1e9])
    norm = NormSpec(z_max=20, tau=3)
    evidence = reference.evidence(error, np.ones(4), np.full(4, 3.0), norm)
    assert np.allclose(evidence, [0, 0, 1 - np.exp(-1), 1 - np.exp(-20 / 3)])


def test_blends_of_two_kinds_of_evidence():
    blends = {"product": 0.1, "max": 0.5, "wsum": 0.35, "noisy_or": 0.6, "gate": 0.5 * 1.1 / 1.5}
    for mode, expected in blends.items():
        alpha = 0.5 if mode in ("wsum", "gate") else 1.0
        blended = reference.blend(np.array([[0.2]]), np.array([[0.5]]), None, BlendSpec(mode=mode, alpha=alpha))
        assert blended[0, 0] == pytest.approx(expected), mode


def test_one_kind_of_evidence_is_not_blended_and_none_is_an_error():
    assert reference.blend(None, np.array([[0.3]]), None, BlendSpec())[0, 0] == 0.3
    with pytest.raises(ValueError, match="no evidence"):
        reference.blend(None, None, None, BlendSpec())


def test_top_k_mean_is_the_mean_of_the_k_largest_to_a_bin():
    values = np.linspace(0, 0.999, 1000).reshape(25, 40)
    assert reference.top_k_mean(values, 10) == pytest.approx(np.sort(values.ravel())[-10:].mean(), abs=1 / 1024)
    assert reference.top_k_mean(np.ones((4, 4)), 3) == pytest.approx(1 - 0.5 / 1024)
    assert reference.top_k_mean(np.zeros((2, 2)), 100) == pytest.approx(0.5 / 1024)


def test_halving_and_doubling_keep_a_plane_of_odd_size():
    plane = np.add.outer(np.arange(7.0), np.arange(5.0))
    doubled = reference._double(reference._halve(plane), plane.shape)
    assert doubled.shape == plane.shape
    assert np.allclose(doubled[1:5, 1:3], plane[1:5, 1:3])
