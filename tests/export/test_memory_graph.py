"""A memory in a graph: the distances it gives, what of the network stays, what is read back, how it runs in INT8."""

import io
from dataclasses import replace

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: no graph can be written")

from calibration.ranges import collect_ranges  # noqa: E402
from edge.core.errors import BundleError  # noqa: E402
from export.graph import graph_from_onnx  # noqa: E402
from export.memory_graph import (  # noqa: E402
    memories_of,
    places_name,
    stored,
    with_memories,
    with_other_memories,
    with_places,
)
from export.operators import int8_nodes, operator_report  # noqa: E402
from export.precision_fallback import graph_of_precision  # noqa: E402
from tests.export.graphs import run  # noqa: E402
from tests.export.tap_graphs import memory, pictures, tapped_network  # noqa: E402


def averaged(features):
    """Mean over the places of a 3 x 3 square that are there."""
    _, rows, columns = features.shape
    mean = np.empty_like(features)
    for y in range(rows):
        for x in range(columns):
            mean[:, y, x] = features[:, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].mean((1, 2))
    return mean


def expected_places(model, picture, known):
    planes = [averaged(run(model, picture, tap)) for tap in known.taps]
    _, rows, _ = planes[0].shape
    turned = [np.einsum("ac,cyx->ayx", turn, plane) for turn, plane in zip(known.projection, planes, strict=True)]
    scaled = [np.kron(values, np.ones((1, rows // values.shape[1], rows // values.shape[1]))) for values in turned]
    return sum(scaled) + known.bias[:, None, None]


def expected_distance(model, picture, known):
    places = expected_places(model, picture, known).transpose(1, 2, 0)
    centres = stored(known.centres)
    if known.local:
        block = len(places) // len(centres)
        apart = places[:, :, None] - centres.repeat(block, 0).repeat(block, 1)
    else:
        apart = places[:, :, None] - centres[None, None]
    return (np.linalg.norm(apart, axis=-1).min(-1) - known.mean) * known.inv_std


@pytest.mark.parametrize("local", [True, False])
def test_every_place_has_the_distance_to_its_nearest_centre_in_deviations(local):
    model, known = tapped_network(), memory(local=local)
    graph = with_memories(model, [known])
    for picture in pictures(3):
        assert run(graph, picture, "emb_dist")[0] == pytest.approx(expected_distance(model, picture, known), abs=2e-4)


def test_both_runtimes_of_a_processor_give_the_same_distances():
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    core = openvino.Core()
    for local in (True, False):
        graph = with_memories(tapped_network(), [memory(local=local)])
        compiled = core.compile_model(core.read_model(io.BytesIO(graph)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        picture = pictures(1)[0]
        given = compiled({0: picture[None]})[compiled.output("emb_dist")]
        assert given[0, 0] == pytest.approx(run(graph, picture, "emb_dist")[0], abs=1e-4)


def test_two_memories_add_up_on_the_grid_of_the_finer():
    model = tapped_network()
    fine, coarse = memory(), memory("coarse", ("tap6",), seed=1, step=16)
    picture = pictures(1)[0]
    both = run(with_memories(model, [fine, coarse]), picture, "emb_dist")[0]
    alone = expected_distance(model, picture, fine)
    assert both.shape == alone.shape == (8, 16)
    added, blocks = both - alone, expected_distance(model, picture, coarse)
    # bilinear: the mean of what is added to a block's middle is the block's own
    assert added[1:3, 5:7].mean() == pytest.approx(blocks[0:1, 1:2].mean(), abs=0.5 * np.ptp(blocks))
    assert added.mean() == pytest.approx(blocks.mean(), abs=0.1 * np.ptp(blocks))


def test_other_outputs_stay_and_what_only_unread_taps_need_goes():
    model = tapped_network()
    graph = with_memories(model, [memory()])
    proto = onnx.load_model_from_string(graph)
    assert [value.name for value in proto.graph.output] == ["seg_logit", "emb_dist"]
    assert not {"conv_tap6", "clip_tap6"} & {node.name for node in proto.graph.node}
    assert "w_tap6" not in {tensor.name for tensor in proto.graph.initializer}
    picture = pictures(1)[0]
    assert np.array_equal(run(graph, picture, "seg_logit"), run(model, picture, "seg_logit"))


def test_what_is_read_back_is_what_was_written():
    for local in (True, False):
        written = [memory(local=local), memory("coarse", ("tap6",), local=local, seed=1, step=16)]
        for before, after in zip(written, memories_of(with_memories(tapped_network(), written)), strict=True):
            assert (after.name, after.taps, after.local) == (before.name, before.taps, before.local)
            for field in ("bias", "mean", "inv_std"):
                assert np.array_equal(getattr(after, field), getattr(before, field))
            assert np.array_equal(after.centres, stored(before.centres))
            assert after.centres == pytest.approx(before.centres, abs=2e-3)
            assert all(map(np.array_equal, after.projection, before.projection))
    assert memories_of(tapped_network()) == ()


def test_another_memory_takes_the_place_of_the_first_by_its_constants_alone():
    model = tapped_network()
    first, other = memory(), memory(count=7, seed=5)
    exchanged = with_other_memories(with_memories(model, [first]), [other])
    picture = pictures(1)[0]
    assert run(exchanged, picture, "emb_dist")[0] == pytest.approx(expected_distance(model, picture, other), abs=2e-4)
    assert [n.name for n in graph_from_onnx(exchanged).nodes] == [
        n.name for n in graph_from_onnx(with_memories(model, [first])).nodes
    ]
    with pytest.raises(BundleError, match="its memory is another one"):
        with_other_memories(with_memories(model, [first]), [memory("coarse", ("tap6",), step=16)])


def test_places_can_be_had_of_a_graph_that_has_lost_its_taps():
    model, known = tapped_network(), memory()
    picture = pictures(1)[0]
    places = run(with_places(with_memories(model, [known])), picture, places_name("fine"))
    assert places == pytest.approx(expected_places(model, picture, known), abs=1e-4)


@pytest.fixture(scope="module")
def ranges_of_memory():
    graph = with_memories(tapped_network(), [memory()])
    return graph, collect_ranges(graph, pictures())


def test_the_encoder_runs_in_int8_and_the_memory_does_not(ranges_of_memory):
    graph, _ = ranges_of_memory
    assert int8_nodes(graph_from_onnx(graph), "cpu") == {"conv_tap4", "clip_tap4"}
    rows = {row.node: row for row in operator_report(graph).rows}
    memory_rows = [row for name, row in rows.items() if name.startswith("memory_")]
    assert {tuple(row.runs.values()) for row in memory_rows} == {("float", "float", "float")}
    assert {row.why for row in memory_rows} == {"compares with good parts: its step would be the distance's floor"}


def test_int8_changes_distances_little_and_takes_other_memories(ranges_of_memory):
    graph, ranges = ranges_of_memory
    int8 = graph_of_precision("int8", "cpu", graph, ranges)
    other = memory(seed=5)
    for exact, rounded in ((graph, int8), (with_other_memories(graph, [other]), with_other_memories(int8, [other]))):
        for picture in pictures(2, seed=3):
            wanted, given = run(exact, picture, "emb_dist"), run(rounded, picture, "emb_dist")
            assert 0 < np.abs(given - wanted).mean() < 0.05 * wanted.std()


def test_distances_in_half_precision_stand_though_places_are_far_from_zero():
    known = memory(seed=5)
    far = replace(known, bias=known.bias + 20, centres=known.centres + 20)
    graph = with_memories(tapped_network(), [far])
    half = graph_of_precision("fp16", "tensorrt", graph, {})
    for picture in pictures(3):
        wanted, given = run(graph, picture, "emb_dist"), run(half, picture, "emb_dist")
        assert 0 < np.abs(given - wanted).max() < 0.05 * wanted.std()
