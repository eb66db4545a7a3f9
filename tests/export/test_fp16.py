"""Casting to FP16: what is halved, what stays, and that inputs and outputs do not change."""

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


def test_the_whole_network_is_halved_between_two_casts():
    model = fp16_from_fp32(residual_network())
    assert casts(model) == ["image_as_half_Cast", "recon_whole"]
    kinds = {tensor.name: tensor.data_type for tensor in graph_of(model).initializer}
    # the sizes of a Resize are FP32 by the standard
    assert {name for name, kind in kinds.items() if kind != onnx.TensorProto.FLOAT16} == {"twice"}
    assert len(model) < 0.65 * len(residual_network())


def test_inputs_and_outputs_stay_fp32():
    graph = graph_of(fp16_from_fp32(residual_network()))
    assert {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)} == {onnx.TensorProto.FLOAT}


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
    picture = pictures(1, seed=3)[0]
    difference = np.abs(run(quantized, picture) - run(model, picture))
    # a value on the edge between two steps of INT8 may fall to the other one
    assert np.quantile(difference, 0.95) < 0.01 and difference.max() < 0.1


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
    assert [value.type.tensor_type.elem_type for value in graph_of(model).output] == [onnx.TensorProto.FLOAT] * 2
    picture = pictures(1)[0]
    assert run(model, picture, "d") == pytest.approx(run(graph.SerializeToString(), picture, "d"), abs=4e-3)
