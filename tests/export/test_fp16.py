"""Casting to FP16: what is halved, inputs and outputs included, and what stays."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: no graph can be cast")

from calibration.ranges import collect_ranges  # noqa: E402
from export.fp16 import fp16_from_fp32  # noqa: E402
from export.graph import graph_from_onnx  # noqa: E402
from export.operators import int8_nodes  # noqa: E402
from export.qdq import quantized_for_rtx, quantized_for_tensorrt  # noqa: E402
from tests.export.graphs import pictures, residual_network, run  # noqa: E402


def graph_of(model):
    return onnx.load_model_from_string(model).graph


def casts(model):
    return [node.name for node in graph_of(model).node if node.op_type == "Cast"]


def ends(model):
    """Types of input and outputs."""
    graph = graph_of(model)
    return [value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)]


FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def test_the_whole_network_is_halved_without_any_cast():
    model = fp16_from_fp32(residual_network())
    assert casts(model) == []
    kinds = {tensor.name: tensor.data_type for tensor in graph_of(model).initializer}
    # the sizes of a Resize are FP32 by the standard
    assert {name for name, kind in kinds.items() if kind != onnx.TensorProto.FLOAT16} == {"twice"}
    assert len(model) < 0.65 * len(residual_network())


def test_input_and_output_are_fp16_also_of_nodes_that_stay_fp32():
    assert ends(fp16_from_fp32(residual_network())) == [HALF, HALF]
    kept = fp16_from_fp32(residual_network(), kept_fp32=["first", "last"])
    assert ends(kept) == [HALF, HALF]
    assert "recon_Cast" in casts(kept)
    picture = pictures(1)[0]
    assert run(kept, picture) == pytest.approx(run(residual_network(), picture), abs=4e-3)


def test_outputs_beyond_the_range_of_fp16_stay_fp32():
    model = fp16_from_fp32(residual_network(), ranges={"recon": (-7e4, 7e4)})
    assert ends(model) == [HALF, FLOAT]
    picture = pictures(1)[0]
    assert run(model, picture) == pytest.approx(run(residual_network(), picture), abs=4e-3)


def test_it_computes_what_fp32_computes_to_eleven_bits():
    for picture in pictures(2):
        exact, rounded = run(residual_network(), picture), run(fp16_from_fp32(residual_network()), picture)
        assert 0 < np.abs(exact - rounded).max() < 4e-3


def test_what_is_quantised_stays_as_it_was():
    ranges = collect_ranges(residual_network(), pictures())
    quantized = quantized_for_tensorrt(residual_network(), ranges)
    model = fp16_from_fp32(quantized, int8_nodes(graph_from_onnx(residual_network()), "tensorrt"))
    kinds = {tensor.name: tensor.data_type for tensor in graph_of(model).initializer}
    assert kinds["one_weight_scale"] == kinds["a_scale"] == onnx.TensorProto.FLOAT
    assert kinds["w_first_half"] == kinds["w_last_half"] == onnx.TensorProto.FLOAT16
    # the same picture for both: FP16 holds a picture of bytes to a thirtieth of a level
    picture = pictures(1, seed=3)[0].astype(np.float16).astype(np.float32)
    difference = np.abs(run(quantized, picture) - run(model, picture))
    # a value on the edge between two steps of INT8 may fall to the other one; most do not
    rounding = np.abs(run(quantized, picture) - run(residual_network(), picture))
    assert np.median(difference) < 0.1 * np.median(rounding)
    assert difference.max() < rounding.max()


def test_pairs_may_give_fp16_so_that_nothing_lies_between_int8_and_fp16():
    ranges = collect_ranges(residual_network(), pictures())
    quantized = quantized_for_rtx(residual_network(), ranges)
    model = fp16_from_fp32(quantized, ranges=ranges, pairs=True)
    graph = graph_of(model)
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert kinds["one_weight_scale_half"] == kinds["a_scale_half"] == onnx.TensorProto.FLOAT16
    assert set(casts(model)) <= {"image_as_half_Cast", "recon_whole"}
    assert [opset.version for opset in onnx.load_model_from_string(model).opset_import] == [19]
    picture = pictures(1, seed=3)[0]
    difference = np.abs(run(quantized, picture) - run(model, picture))
    assert np.quantile(difference, 0.95) < 0.02 and difference.max() < 0.1


def test_nodes_beyond_the_range_of_fp16_stay_fp32():
    model = fp16_from_fp32(residual_network(), ranges={"b0": (-7e4, 7e4), "b": (0.0, 7e4)})
    kinds = {tensor.name: tensor.data_type for tensor in graph_of(model).initializer}
    assert kinds["w_one"] == kinds["w_two"] == onnx.TensorProto.FLOAT
    assert kinds["w_deep_half"] == onnx.TensorProto.FLOAT16
    ranges = collect_ranges(residual_network(), pictures()) | {"b0": (-7e4, 7e4), "b": (0.0, 7e4)}
    graph = graph_of(fp16_from_fp32(quantized_for_rtx(residual_network(), ranges), ranges=ranges, pairs=True))
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    # a pair gives what it was given
    assert kinds["b_scale"] == onnx.TensorProto.FLOAT and kinds["a_scale_half"] == onnx.TensorProto.FLOAT16


def test_a_tensor_that_is_an_output_and_read_inside_has_both_forms():
    graph = onnx.load_model_from_string(residual_network())
    shape = [1, 8, 16, 16]
    graph.graph.output.append(onnx.helper.make_tensor_value_info("d", onnx.TensorProto.FLOAT, shape))
    model = fp16_from_fp32(graph.SerializeToString())
    assert ends(model) == [HALF] * 3
    picture = pictures(1)[0]
    assert run(model, picture, "d") == pytest.approx(run(graph.SerializeToString(), picture, "d"), abs=4e-3)
