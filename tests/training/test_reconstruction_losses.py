"""What reconstruction losses measure, and where suppression stops."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from training.losses import error_map, gradient_loss, reconstruction_loss, suppression  # noqa: E402


def test_the_reconstruction_loss_is_the_mean_of_its_map_and_a_tenth_of_the_gradients():
    first, second = torch.rand(2, 2, 3, 24, 24, generator=torch.Generator().manual_seed(0)).unbind(0)
    errors = error_map(first, second)
    assert errors.shape == (2, 1, 24, 24)
    expected = errors.mean() + 0.1 * gradient_loss(first, second)
    assert float(reconstruction_loss(first, second)) == pytest.approx(float(expected))


def test_errors_stay_near_where_pictures_differ():
    first = torch.full((1, 3, 24, 24), 0.5)
    second = first.clone()
    second[..., 10, 10] = 0.9
    reached = (error_map(first, second)[0, 0] > 1e-4).nonzero()
    # a window of seven
    assert reached.min(0).values.tolist() == [7, 7]
    assert reached.max(0).values.tolist() == [13, 13]


@pytest.mark.parametrize(("error", "least", "most"), [(0.0, 9.0, 9.51), (1.0, 0.4, 0.6), (5.0, 0.0, 0.01)])
def test_suppression_pulls_bounded_at_nothing_and_lets_go_of_what_is_far(error, least, most):
    at = torch.tensor(error, requires_grad=True)
    suppression(at).backward()
    assert least <= -float(at.grad) <= most
