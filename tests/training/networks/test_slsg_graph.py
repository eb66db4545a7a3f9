"""The graph layer: what each relation computes, and what it lets a place know."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from training.networks.slsg_graph import GraphLayer, axial_max_relative, grid_closeness  # noqa: E402

GRID, CHANNELS = 8, 12


def layer(*, dense=False, sparse=False):
    torch.manual_seed(0)
    return GraphLayer(CHANNELS, 6, (GRID, GRID), dense=dense, sparse=sparse, place_code=False).eval()


def nodes(seed=0, grid=GRID):
    return torch.randn(1, CHANNELS, grid, grid, generator=torch.Generator().manual_seed(seed))


def far_influence(graph):
    """How much outputs change that are more than two places away from the one place that changed."""
    before, after = nodes(), nodes()
    after[:, :, 6, 0] += 5.0
    with torch.no_grad():
        changed = (graph(after) - graph(before)).abs().amax((0, 1))
    return float(changed[:4].max())


def test_a_change_far_away_alters_what_a_place_is_told():
    for dense, sparse in [(True, False), (False, True), (True, True)]:
        assert far_influence(layer(dense=dense, sparse=sparse)) > 1e-3, (dense, sparse)


def test_a_layer_without_any_relation_is_refused():
    with pytest.raises(ValueError, match="without any relation"):
        layer()


def test_the_axial_relation_is_the_largest_difference_to_every_second_place():
    for grid in [1, 5, 8, 16]:
        given = nodes(1, grid)
        expected = torch.zeros_like(given)
        for step in range(0, grid, 2):
            for axis in (2, 3):
                expected = torch.maximum(expected, given.roll(step, axis) - given)
        # for an odd side the shifts, which double, pass the wrap and meet places of the other parity as well
        if grid % 2 == 0 or grid == 1:
            assert torch.equal(axial_max_relative(given), expected), grid
        assert (axial_max_relative(given) >= expected).all(), grid


def test_the_sides_of_a_grid_may_differ():
    torch.manual_seed(0)
    graph = GraphLayer(CHANNELS, 6, (3, 10), dense=True, sparse=True, place_code=True).eval()
    before = torch.randn(1, CHANNELS, 3, 10, generator=torch.Generator().manual_seed(0))
    after = before.clone()
    after[..., 2, 9] += 5
    with torch.no_grad():
        changed = (graph(after) - graph(before)).abs().amax((0, 1))
    assert changed.shape == (3, 10) and float(changed[0, 0]) > 1e-3
    # half a turn each way: opposite corners are as far apart as can be
    corners = grid_closeness((3, 10))[0]
    assert int(corners.argmin()) == 29


def test_near_places_count_as_less_similar():
    closeness = grid_closeness((GRID, GRID))
    assert torch.allclose(closeness.diagonal(), torch.ones(GRID * GRID), atol=1e-5)
    along_a_row = closeness[0, :GRID]
    assert (along_a_row.diff() < 0).all()
    with torch.no_grad():
        same_everywhere = torch.ones(1, CHANNELS, GRID, GRID)
        key = layer(dense=True).key(same_everywhere).flatten(2)[0]
        logits = key.T @ key / key.shape[0] ** 0.5 - closeness
    # among equals a place listens to the farthest
    assert int(logits[0].argmax()) == GRID * GRID - 1
