"""The INT8 artefact: what is quantized on which target, how finely, where the pairs stand, and what is left alone."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: no network can be quantized")

from calibration.ranges import collect_ranges  # noqa: E402
from edge.core.errors import UsageError  # noqa: E402
from export.qdq import quantized_for_cpu, quantized_for_rtx, quantized_for_tensorrt  # noqa: E402
from tests.export.graphs import pictures, residual_network, run  # noqa: E402

TARGETS = {"cpu": quantized_for_cpu, "tensorrt": quantized_for_tensorrt, "tensorrt-rtx": quantized_for_rtx}


@pytest.fixture(scope="module")
def ranges():
    return collect_ranges(residual_network(), pictures())


@pytest.fixture(scope="module")
def quantized(ranges):
    """Target → parsed graph."""
    models = {name: quantize(residual_network(), ranges) for name, quantize in TARGETS.items()}
    return {name: onnx.load_model_from_string(model).graph for name, model in models.items()}


def nodes(graph):
    return {node.name: node for node in graph.node}


def constant(graph, name):
    return onnx.numpy_helper.to_array(next(tensor for tensor in graph.initializer if tensor.name == name))


def pairs(graph):
    """Names of activations that have a Quantize/Dequantize pair."""
    return {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}


@pytest.mark.parametrize("target", TARGETS)
def test_the_first_and_the_last_convolution_stay_in_floating_point(quantized, target):
    graph = quantized[target]
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for name in ("first", "last"):
        assert constants[nodes(graph)[name].input[1]].data_type == onnx.TensorProto.FLOAT
    for name in ("one", "two", "deep", "joined"):
        assert nodes(graph)[name].input[1] not in constants


@pytest.mark.parametrize(("target", "peak"), [("cpu", 64), ("tensorrt", 127)])
def test_weights_are_signed_with_a_scale_for_each_channel(quantized, target, peak):
    # eight bits would let two products overflow 16 bits on processors without VNNI
    values = constant(quantized[target], "one_weight_quantized")
    assert values.dtype == np.int8
    assert [int(np.abs(channel).max()) for channel in values] == [peak] * 8
    assert len(np.unique(constant(quantized[target], "one_weight_scale"))) == 8


def test_for_rtx_all_weights_of_a_convolution_share_a_scale_that_fp16_holds(quantized):
    # with a scale for each channel its convolutions write FP32, and leave bias and ReLU to another kernel
    graph = quantized["tensorrt-rtx"]
    values = constant(graph, "one_weight_quantized")
    assert np.abs(values).max() == 127 and values.dtype == np.int8
    scales = [constant(graph, tensor.name) for tensor in graph.initializer if tensor.name.endswith("_scale")]
    assert all(scale.shape == () and scale.dtype == np.float32 for scale in scales)
    assert all(np.float16(scale) == scale > 0 for scale in scales)


def test_for_rtx_only_convolutions_read_rounded_tensors(quantized):
    graph = quantized["tensorrt-rtx"]
    assert pairs(graph) == {"a", "b", "d", "g"}
    assert {node.op_type for node in graph.node if any("_dequantized" in name for name in node.input)} == {"Conv"}


def test_activations_are_unsigned_on_the_cpu_and_symmetric_for_tensorrt(quantized):
    for target, kind in (("cpu", np.uint8), ("tensorrt", np.int8), ("tensorrt-rtx", np.int8)):
        zeros = [constant(quantized[target], f"{name}_zero_point") for name in pairs(quantized[target])]
        assert {zero.dtype for zero in zeros} == {np.dtype(kind)}
        assert target == "cpu" or not any(zeros)


def test_a_bias_is_quantised_on_the_cpu_only(quantized):
    assert constant(quantized["cpu"], "one_bias_quantized").dtype == np.int32
    kinds = {tensor.data_type for tensor in quantized["tensorrt"].initializer}
    # the parser of TensorRT for RTX refuses an int32 DequantizeLinear
    assert onnx.TensorProto.INT32 not in kinds
    assert constant(quantized["tensorrt"], nodes(quantized["tensorrt"])["one"].input[2]).dtype == np.float32


@pytest.mark.parametrize("target", TARGETS)
def test_no_pair_stands_between_a_convolution_and_its_relu(quantized, target):
    assert not pairs(quantized[target]) & {"b0", "d0", "e0", "h0"}


def test_for_tensorrt_the_pair_stands_after_the_resize_and_the_join(quantized):
    assert pairs(quantized["tensorrt"]) == {"a", "b", "d", "g"}


def test_for_tensorrt_a_sum_reads_its_bypass_rounded_and_its_convolution_as_computed(quantized):
    # "two" then adds in its own epilogue
    assert list(nodes(quantized["tensorrt"])["add"].input) == ["c", "a_dequantized"]


def test_on_the_cpu_everything_between_int8_nodes_is_rounded_and_nothing_that_only_floats_read(quantized):
    assert pairs(quantized["cpu"]) == {"a", "b", "c", "d", "e", "f", "g"}


def test_joined_branches_share_a_scale_for_tensorrt(ranges):
    narrow = ranges | {"f": (0.0, 1.0), "d": (0.0, 8.0), "g": (0.0, 8.0)}
    graph = onnx.load_model_from_string(quantized_for_tensorrt(residual_network(), narrow)).graph
    assert constant(graph, "d_scale") == constant(graph, "g_scale") == np.float32(8 / 127)


def test_what_a_resize_moves_keeps_its_scale(ranges):
    graph = onnx.load_model_from_string(quantized_for_cpu(residual_network(), ranges | {"e": (0.0, 3.0)})).graph
    assert constant(graph, "e_scale") == constant(graph, "f_scale")


def test_zero_is_exact_whatever_the_range(ranges):
    # padding is zero, and must not become something else
    graph = onnx.load_model_from_string(quantized_for_cpu(residual_network(), ranges | {"b": (0.5, 2.0)})).graph
    assert constant(graph, "b_scale") == np.float32(2 / 255)
    assert constant(graph, "b_zero_point") == 0


@pytest.mark.parametrize("target", TARGETS)
def test_the_quantised_network_computes_nearly_the_same(ranges, target):
    quantized = TARGETS[target](residual_network(), ranges)
    for picture in pictures(3, seed=5):
        exact = run(residual_network(), picture)
        difference = np.abs(run(quantized, picture) - exact)
        assert 0 < difference.mean() < 0.03 * np.abs(exact).mean()


@pytest.mark.parametrize("target", TARGETS)
def test_layers_named_stay_floating_and_the_result_is_nearer(ranges, target):
    picture = pictures(1, seed=9)[0]
    exact = run(residual_network(), picture)
    errors = []
    for floating in ((), ("one", "two", "deep"), ("one", "two", "deep", "joined")):
        model = TARGETS[target](residual_network(), ranges, floating)
        errors.append(float(np.abs(run(model, picture) - exact).mean()))
    assert errors[0] > errors[1] > 1e-4
    assert errors[2] < 1e-6


@pytest.mark.parametrize("target", TARGETS)
def test_quantising_twice_gives_the_same_bytes(ranges, target):
    assert TARGETS[target](residual_network(), ranges) == TARGETS[target](residual_network(), ranges)


def test_a_bias_too_large_for_its_channel_raises_the_scale_instead_of_overflowing(ranges):
    model = onnx.load_model_from_string(residual_network())
    for tensor in model.graph.initializer:
        if tensor.name == "w_one":
            values = np.array(onnx.numpy_helper.to_array(tensor))
            # as batch norm leaves a channel that never fired
            values[0] *= 1e-12
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, "w_one"))
    # without the means of channels, by which biases are corrected
    graph = onnx.load_model_from_string(quantized_for_cpu(model.SerializeToString(), dict(ranges))).graph
    restored = constant(graph, "one_bias_quantized") * constant(graph, "one_bias_scale").astype(np.float64)
    assert restored == pytest.approx(np.linspace(-0.3, 0.3, 8), abs=1e-4)


def test_a_tensor_without_a_range_is_named(ranges):
    with pytest.raises(UsageError, match="no range of the tensor 'b'"):
        quantized_for_cpu(residual_network(), {name: limits for name, limits in ranges.items() if name != "b"})
