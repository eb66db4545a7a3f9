"""Losses, by numbers worked out by hand and against the deployed residual."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from edge.core.manifest import ResidualSpec  # noqa: E402
from edge.kernels.cpu import ResidualTerms  # noqa: E402
from training.losses import (  # noqa: E402
    bernoulli_kl,
    box_mean,
    focal_loss,
    residual_error,
    size_weights,
    sparsity_loss,
    total_variation,
)

SIDE = 32
# neighbourhoods that leave the picture are continued differently
INSIDE = (slice(4, -4), slice(4, -4))


def two_pictures():
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 8, 8, generator=random)
    first = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear")
    return first, (first + 0.1 * torch.rand(first.shape, generator=random)).clamp(0, 1)


def test_the_residual_error_is_the_deployed_one():
    for term in ["w_l1", "w_l2", "w_col", "w_gms", "w_ssim"]:
        first, second = two_pictures()
        spec = ResidualSpec(**{term: 2.0})
        deployed = ResidualTerms(spec, (SIDE, SIDE)).error((first[0] * 2 - 1).numpy(), (second[0] * 2 - 1).numpy())
        error = residual_error(first, second, spec)[0, 0].numpy()
        assert error[INSIDE].max() > 1e-4, term
        assert np.abs(error - deployed)[INSIDE].max() < 1e-4, term


def test_residual_terms_add_up_by_their_weights():
    first, second = two_pictures()
    both = residual_error(first, second, ResidualSpec(w_l1=1.0, w_ssim=0.5))
    apart = [residual_error(first, second, spec) for spec in (ResidualSpec(w_l1=1.0), ResidualSpec(w_ssim=0.5))]
    assert torch.allclose(both, apart[0] + apart[1])


def test_the_bernoulli_divergence_by_hand():
    for case in [
        (0.5, 0.25, 0.5 * math.log(4 / 3)),
        (0.02, 0.02, 0.0),
        (0.02, 0.01, 0.02 * math.log(2) + 0.98 * math.log(0.98 / 0.99)),
        (0.0, 0.5, math.log(2)),
        (1.0, 0.5, math.log(2)),
        # found counts as 1e-4 at least
        (0.02, 0.0, 0.02 * math.log(200) + 0.98 * math.log(0.98 / 0.9999)),
    ]:
        expected, found, divergence = case
        computed = float(bernoulli_kl(torch.tensor(expected), torch.tensor(found)))
        assert computed == pytest.approx(divergence, abs=1e-6), case


def test_an_area_inside_the_expected_range_costs_nothing():
    assert float(sparsity_loss(torch.tensor([0.01, 0.03, 0.05]), 0.01, 0.05)) == pytest.approx(0, abs=1e-7)


def test_an_area_outside_costs_its_divergence_to_the_nearer_end():
    area = torch.tensor([0.005, 0.2])
    ends = bernoulli_kl(torch.tensor([0.01, 0.05]), area)
    assert float(sparsity_loss(area, 0.01, 0.05)) == pytest.approx(float(ends.mean()))


def test_the_area_is_drawn_towards_the_expected_range_even_from_nothing():
    for area, sign in [(0.0, -1), (0.001, -1), (0.3, 1)]:
        found = torch.tensor([area], requires_grad=True)
        sparsity_loss(found, 0.01, 0.05).backward()
        assert float(found.grad) * sign > 0, area


def test_focal_loss_is_cross_entropy_that_forgets_what_is_known():
    logits, masks = torch.tensor([0.0, 3.0, -3.0]), torch.tensor([1.0, 1.0, 1.0])
    truth = 1 / (1 + np.exp(-logits.numpy()))
    assert focal_loss(logits, masks).numpy() == pytest.approx(-np.log(truth) * (1 - truth) ** 2, rel=1e-5)
    assert torch.allclose(focal_loss(-logits, 1 - masks), focal_loss(logits, masks))


def test_total_variation_counts_steps_between_neighbours():
    plane = torch.zeros(1, 1, 4, 4)
    plane[..., 2:] = 1
    # across, one of three neighbours differs by one; down, none
    assert float(total_variation(plane)) == pytest.approx(1 / 3)
    assert float(total_variation(plane.transpose(2, 3))) == pytest.approx(1 / 3)


def test_a_small_defect_counts_nearly_as_much_as_a_large_one():
    masks = torch.zeros(3, 1, 100, 100)
    masks[0, 0, :2, :5], masks[1, 0, :20, :20] = 1, 1
    weights = size_weights(masks)
    small, large = (float((weights * masks)[index].sum()) for index in (0, 1))
    assert float(weights[0].max()) == pytest.approx(math.sqrt(0.01 / 0.001))
    assert small / large == pytest.approx(math.sqrt(10 / 400), rel=1e-3)
    assert torch.equal(weights[masks == 0], torch.ones(int((masks == 0).sum())))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 20)])
def test_a_box_mean_is_pooling_of_the_mirrored_picture_also_in_half_precision_surroundings(height, width):
    planes = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(planes, [3] * 4, mode="reflect")
    expected = torch.nn.functional.avg_pool2d(padded, 7, 1)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(box_mean(planes, 7), expected)
