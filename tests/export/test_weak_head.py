"""A head on a memory's places: the graph says what NumPy says, in every precision, and heads can be exchanged."""

import io
from dataclasses import replace

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: no graph can be written")

from calibration.ranges import collect_ranges  # noqa: E402
from edge.core.errors import BundleError  # noqa: E402
from export.graph import graph_from_onnx  # noqa: E402
from export.memory_graph import memories_of, places_name, with_memories, with_other_memories, with_places  # noqa: E402
from export.operators import int8_nodes  # noqa: E402
from export.precision_fallback import graph_of_precision  # noqa: E402
from export.weak_head import WeakHead  # noqa: E402
from tests.export.graphs import run  # noqa: E402
from tests.export.tap_graphs import memory, pictures, tapped_network  # noqa: E402


def head(axes=5, units=7, seed=0):
    random = np.random.default_rng(seed)
    return WeakHead(
        hidden=random.normal(0, 1, (units, axes + 1)).astype(np.float32),
        hidden_bias=random.normal(0, 0.5, units).astype(np.float32),
        output=random.normal(0, 1, units).astype(np.float32),
        output_bias=random.normal(0, 1, 1).astype(np.float32),
    )


def expected(graph_without, picture, known):
    distances = run(graph_without, picture, "emb_dist")[0]
    places = run(with_places(graph_without), picture, places_name("fine")).transpose(1, 2, 0)
    return distances + known.head(places, distances)


@pytest.mark.parametrize("local", [True, False])
def test_the_logit_of_each_place_is_added_to_its_distance(local):
    model, plain = tapped_network(), memory(local=local)
    known = replace(plain, head=head())
    without, graph = with_memories(model, [plain]), with_memories(model, [known])
    for picture in pictures(3):
        wanted = expected(without, picture, known)
        assert np.abs(wanted - run(without, picture, "emb_dist")[0]).max() > 0.5
        assert run(graph, picture, "emb_dist")[0] == pytest.approx(wanted, abs=1e-3)


def test_openvino_says_the_same():
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    core = openvino.Core()
    graph = with_memories(tapped_network(), [replace(memory(), head=head())])
    compiled = core.compile_model(core.read_model(io.BytesIO(graph)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    picture = pictures(1)[0]
    given = compiled({0: picture[None]})[compiled.output("emb_dist")]
    assert given[0] == pytest.approx(run(graph, picture, "emb_dist"), abs=1e-3)


def test_with_two_memories_the_finer_has_the_head():
    model = tapped_network()
    fine, coarse = memory(), memory("coarse", ("tap6",), seed=1, step=16)
    picture = pictures(1)[0]
    both = run(with_memories(model, [replace(fine, head=head()), coarse]), picture, "emb_dist")
    plain = run(with_memories(model, [fine, coarse]), picture, "emb_dist")
    alone = with_memories(model, [fine])
    added = expected(alone, picture, replace(fine, head=head())) - run(alone, picture, "emb_dist")[0]
    assert (both - plain)[0] == pytest.approx(added, abs=1e-3)


def test_the_head_that_is_read_back_is_the_one_written():
    written = head()
    (known,) = memories_of(with_memories(tapped_network(), [replace(memory(), head=written)]))
    for name in ("hidden", "hidden_bias", "output", "output_bias"):
        assert np.array_equal(getattr(known.head, name), getattr(written, name))
    assert memories_of(with_memories(tapped_network(), [memory()]))[0].head is None


def test_folds_exchange_memory_and_head_together():
    model, picture = tapped_network(), pictures(1)[0]
    first, other = replace(memory(), head=head()), replace(memory(seed=5), head=head(seed=5))
    graph = with_memories(model, [first])
    given = run(with_other_memories(graph, [other]), picture, "emb_dist")
    assert given == pytest.approx(run(with_memories(model, [other]), picture, "emb_dist"), abs=1e-3)
    with pytest.raises(BundleError, match="has learned from no defective parts"):
        with_other_memories(graph, [memory(seed=5)])
    with pytest.raises(BundleError, match="its memory is another one"):
        with_other_memories(with_memories(model, [memory()]), [other])


@pytest.mark.parametrize(("precision", "target"), [("int8", "cpu"), ("int8", "tensorrt"), ("fp16", "tensorrt")])
def test_the_head_computes_in_floating_point_wherever_the_encoder_is_rounded(precision, target):
    graph = with_memories(tapped_network(), [replace(memory(), head=head())])
    assert not any("head" in name.replace("conv_head", "") for name in int8_nodes(graph_from_onnx(graph), target))
    rounded = graph_of_precision(precision, target, graph, collect_ranges(graph, pictures()))
    for picture in pictures(2, seed=3):
        wanted, given = run(graph, picture, "emb_dist"), run(rounded, picture, "emb_dist")
        assert np.abs(given - wanted).mean() < 0.05 * wanted.std()
