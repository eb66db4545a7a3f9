"""The INT8 artefact: what is quantised, how finely, and what is left alone."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: no network can be quantised")

from calibration.ranges import collect_ranges, ranges_to_bytes  # noqa: E402
from edge.kernels.cpu import planes_from_field  # noqa: E402
from edge.preprocess import Preprocess  # noqa: E402
from export.qdq import output_convolutions, quantized_for_cpu  # noqa: E402
from tests.small_bundle import SIZE, blur_network, good_part  # noqa: E402


def images(count=4):
    fields = [Preprocess(SIZE).field(good_part(seed)) for seed in range(count)]
    return [planes_from_field(field, np.empty((3, SIZE, SIZE), np.float32)) for field in fields]


@pytest.fixture(scope="module")
def ranges():
    return collect_ranges(blur_network(), images())


@pytest.fixture(scope="module")
def quantized(ranges):
    return onnx.load_model_from_string(quantized_for_cpu(blur_network(), ranges))


def run(model, image):
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image[None]})[0][0]


def test_ranges_name_every_activation_and_hold_all_of_its_values(ranges):
    assert set(ranges) >= {"image", "inner", "recon"}
    assert ranges["image"] == pytest.approx((min(i.min() for i in images()), max(i.max() for i in images())))
    assert all(low <= high for low, high in ranges.values())


def test_the_same_pictures_give_the_same_bytes_of_ranges(ranges):
    assert ranges_to_bytes(ranges) == ranges_to_bytes(collect_ranges(blur_network(), images()))


def test_the_convolution_that_writes_the_output_stays_unquantised(quantized):
    assert output_convolutions(onnx.load_model_from_string(blur_network())) == ["last"]
    convolutions = {node.name: node for node in quantized.graph.node if node.op_type == "Conv"}
    constants = {tensor.name: tensor for tensor in quantized.graph.initializer}
    assert constants[convolutions["last"].input[1]].data_type == onnx.TensorProto.FLOAT
    assert convolutions["first"].input[1] not in constants


def test_weights_are_signed_and_of_seven_bits(quantized):
    weights = [
        onnx.numpy_helper.to_array(tensor)
        for tensor in quantized.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    ]
    assert len(weights) == 1
    # eight bits would reach 127, and two such products overflow 16 bits on processors without VNNI
    assert 60 <= np.abs(weights[0]).max() <= 64


def test_activations_are_unsigned(quantized):
    producers = {output: node for node in quantized.graph.node for output in node.output}
    constants = {tensor.name: tensor for tensor in quantized.graph.initializer}
    quantizers = [node for node in producers.values() if node.op_type == "QuantizeLinear"]
    assert quantizers
    assert {constants[node.input[2]].data_type for node in quantizers} == {onnx.TensorProto.UINT8}


def test_the_quantised_network_computes_nearly_the_same(ranges):
    image = images()[0]
    exact, coarse = run(blur_network(), image), run(quantized_for_cpu(blur_network(), ranges), image)
    step = (ranges["image"][1] - ranges["image"][0]) / 255
    assert np.abs(exact - coarse).max() < 4 * step
    assert np.abs(exact - coarse).max() > 0


def test_quantising_twice_gives_the_same_bytes(ranges):
    assert quantized_for_cpu(blur_network(), ranges) == quantized_for_cpu(blur_network(), ranges)
