"""Rounding weights moves no channel's mean: what it adds on good parts is taken off again."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: no graph can be quantized")

from calibration.ranges import collect_ranges, ranges_from_bytes, ranges_to_bytes
from export.qdq import quantized_for_cpu, quantized_for_tensorrt
from export.tensor_ranges import Ranges
from tests.export.graphs import onnx_graph, run


def far_from_zero(groups):
    """A network whose middle convolution reads channels that are all far above zero, as after ReLU6."""
    random = np.random.default_rng(0)
    inputs = 16 // groups
    weights = {
        "w_first": random.normal(0, 0.1, (16, 3, 3, 3)).astype(np.float32),
        "b_first": np.linspace(3, 5, 16).astype(np.float32),
        # one large weight in each channel leaves few levels to the others
        "w_middle": (random.normal(0, 0.02, (16, inputs, 3, 3)) + 2.0 * np.eye(9)[4].reshape(3, 3)).astype(np.float32),
        "b_middle": np.zeros(16, np.float32),
        "w_last": random.normal(0, 0.1, (3, 16, 1, 1)).astype(np.float32),
        "zero": np.float32(0),
        "six": np.float32(6),
    }
    weights = {name: np.asarray(value) for name, value in weights.items()}
    nodes = [
        ("Conv", ["image", "w_first", "b_first"], "a", "first", {"pads": [1, 1, 1, 1]}),
        ("Clip", ["a", "zero", "six"], "b", "limit", {}),
        ("Conv", ["b", "w_middle", "b_middle"], "c", "middle", {"group": groups}),
        ("Conv", ["c", "w_last"], "recon", "last", {}),
    ]
    return onnx_graph(nodes, weights, output_side=14)


def pictures(count, seed):
    random = np.random.default_rng(seed)
    return [random.uniform(-1, 1, (3, 16, 16)).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("groups", [1, 4, 16])
@pytest.mark.parametrize("quantised", [quantized_for_cpu, quantized_for_tensorrt])
def test_the_mean_of_what_follows_stays_where_it_was(groups, quantised):
    model = far_from_zero(groups)
    ranges = collect_ranges(model, pictures(8, seed=1))
    shown = pictures(8, seed=2)

    def moved(known):
        int8 = quantised(model, known)
        differences = [run(int8, picture) - run(model, picture) for picture in shown]
        return np.abs(np.mean(differences, (0, 2, 3))).max()

    assert moved(ranges) < 0.35 * moved(Ranges(ranges))


def test_means_are_kept_with_the_ranges_and_older_bundles_have_none():
    ranges = collect_ranges(far_from_zero(1), pictures(4, seed=1))
    again = ranges_from_bytes(ranges_to_bytes(ranges))
    assert again == ranges
    assert again.means.keys() == ranges.means.keys() == ranges.keys()
    for name, means in ranges.means.items():
        np.testing.assert_allclose(again.means[name], means, rtol=1e-5)
    older = ranges_from_bytes(b'{"b": [0.0, 6.0]}')
    assert (dict(older), older.means) == ({"b": (0.0, 6.0)}, {})
