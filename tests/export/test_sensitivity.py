"""The sensitivity pass finds the layer that INT8 ruins, leaves it floating, and says what that bought."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: no network can be quantized")

from calibration.ranges import collect_ranges
from edge.core.datatypes import AnomalyMap
from export import sensitivity
from export.evaluation_set import EvaluationMaps, EvaluationSet
from export.sensitivity import find_sensitive_layers
from tests.export.graphs import SAME, SIDE, onnx_graph, pictures
from tests.small_bundle import manifest


def fragile_network():
    """Convolutions that pass the picture on; the 3x3 one is far dearer, and rounds a picture that was made faint."""
    identity = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    mean = np.zeros((3, 3, 3, 3), np.float32)
    mean[range(3), range(3)] = 1 / 9
    # channel 1 is louder than the others by so much that they vanish in its scale
    loud = identity * np.array([0.01, 100, 0.01], np.float32).reshape(3, 1, 1, 1)
    quiet = identity / np.array([0.01, 100, 0.01], np.float32).reshape(3, 1, 1, 1)
    weights = {"w0": identity, "w1": mean, "w2": loud, "w3": quiet, "w4": mean, "w5": identity}
    nodes = [
        ("Conv", ["image", "w0"], "a", "first", {}),
        ("Conv", ["a", "w1"], "b", "dear", SAME),
        ("Conv", ["b", "w2"], "c", "loud", {}),
        ("Conv", ["c", "w3"], "d", "quiet", {}),
        ("Conv", ["d", "w4"], "e", "dear_too", SAME),
        ("Conv", ["e", "w5"], "recon", "last", {}),
    ]
    return onnx_graph(nodes, weights)


@pytest.fixture(scope="module")
def found():
    normals = [picture * 0.5 for picture in pictures(6)]
    altered = [-picture for picture in normals]
    evaluation_set = EvaluationSet(normals, altered, [np.ones((SIDE, SIDE), np.bool_)] * 6, None, "negatives")
    ranges = collect_ranges(fragile_network(), normals)
    return find_sensitive_layers(fragile_network(), manifest(SIDE), ranges, evaluation_set)


def test_the_layer_that_reads_what_rounding_erased_is_left_floating(found):
    assert found.floating == ("quiet",)
    assert min(found.without, key=lambda name: found.without[name]) == "quiet"


def test_every_quantised_convolution_was_tried_and_the_gain_is_stated(found):
    assert set(found.without) == {"dear", "loud", "quiet", "dear_too"}
    assert found.damage_after < 0.5 * found.damage
    assert found.damage_after == pytest.approx(found.without["quiet"])
    assert 0 < found.cost < 0.1
    assert "quiet in floating point" in found.summary()


def test_a_network_that_bears_int8_is_not_searched(monkeypatch, found):
    monkeypatch.setattr(sensitivity, "TOLERABLE", 2 * found.damage)
    normals = [picture * 0.5 for picture in pictures(4)]
    evaluation_set = EvaluationSet(normals, normals, [np.ones((SIDE, SIDE), np.bool_)] * 4, None, "none")
    ranges = collect_ranges(fragile_network(), normals)
    calm = find_sensitive_layers(fragile_network(), manifest(SIDE), ranges, evaluation_set)
    assert (calm.floating, calm.without) == ((), {})
    assert calm.damage == calm.damage_after


def test_maps_that_are_wider_than_high_are_compared_with_masks_of_the_field():
    mask = np.zeros((8, 24), np.bool_)
    mask[2:6, 4:12] = True
    fields = [np.zeros((3, 8, 24), np.float32)] * 2
    found = np.zeros((4, 12), np.float32)
    found[1:3, 2:6] = 1.0
    maps = [AnomalyMap(np.zeros((4, 12), np.float32), 0.0, 0), AnomalyMap(found, 1.0, 8)]
    evaluation_set = EvaluationSet(fields[:1], fields[1:], [mask], None, "drawn")
    assert EvaluationMaps(maps, 1).precision(evaluation_set) == 1.0
