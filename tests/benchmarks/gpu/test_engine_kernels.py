"""What TensorRT for RTX makes of our INT8 and FP16 graphs, by its own build log: no GPU, but the real builder."""

from importlib.util import find_spec

import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: no network can be written")

from benchmarks.gpu.engine_kernels import kernels_of, summary  # noqa: E402
from calibration.ranges import collect_ranges  # noqa: E402
from export.fp16 import fp16_from_fp32  # noqa: E402
from export.graph import graph_from_onnx  # noqa: E402
from export.operators import int8_nodes  # noqa: E402
from export.precision_fallback import graph_of_precision  # noqa: E402
from export.qdq import quantized_for_tensorrt  # noqa: E402
from tests.export.graphs import SAME, onnx_graph, pictures, weight  # noqa: E402

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(
        find_spec("tensorrt_rtx_bindings") is None,
        reason="tensorrt-rtx is not installed: no engine can be built (pip install 'edge-inspect[rtx]')",
    ),
]
CHANNELS = 32


@pytest.fixture(scope="module")
def network():
    """Two convolutions with a by-pass, one grouped and one plain between the ends; 16 x 16 pixels."""
    c = CHANNELS
    nodes = [
        ("Conv", ["image", "w_first"], "a0", "first", SAME),
        ("Relu", ["a0"], "a", "relu_a", {}),
        ("Conv", ["a", "w_one", "b_one"], "b0", "one", SAME),
        ("Relu", ["b0"], "b", "relu_b", {}),
        ("Conv", ["b", "w_two", "b_one"], "c", "two", SAME),
        ("Add", ["c", "a"], "d0", "add", {}),
        ("Relu", ["d0"], "d", "relu_d", {}),
        ("Conv", ["d", "w_grouped", "b_one"], "e0", "grouped", SAME | {"group": c}),
        ("Relu", ["e0"], "e", "relu_e", {}),
        ("Conv", ["e", "w_plain", "b_one"], "f0", "plain", SAME),
        ("Relu", ["f0"], "f", "relu_f", {}),
        ("Conv", ["f", "w_last"], "recon", "last", SAME),
    ]
    sides = {"first": (c, 3), "one": (c, c), "two": (c, c), "grouped": (c, 1), "plain": (c, c), "last": (3, c)}
    weights = {f"w_{name}": weight(*sides[name], seed=i) for i, name in enumerate(sides)}
    weights["b_one"] = weight(c, 1, 1).reshape(c)
    return onnx_graph(nodes, weights)


@pytest.fixture(scope="module")
def ranges(network):
    return collect_ranges(network, pictures())


def convolutions(kernels):
    return {kernel.name.split("_myl")[0]: kernel.types for kernel in kernels if kernel.kind == "correlation"}


@pytest.mark.parametrize("capability", [86, 120])
def test_int8_convolutions_take_bias_relu_and_sum_with_them_and_write_fp16(network, ranges, capability):
    kernels = kernels_of(graph_of_precision("int8", "tensorrt-rtx", network, ranges), capability)
    assert convolutions(kernels) == {
        "first": "Half → Half", "one": "Int8 → Half", "two": "Int8, Half → Half", "grouped": "Half → Half",
        "plain": "Int8 → Half", "last": "Half → Half",
    }  # fmt: skip
    # before each of them a kernel rounds to INT8, and does nothing else
    rounding = [kernel for kernel in kernels if "Int8" in kernel.types and kernel.kind != "correlation"]
    assert [kernel.types for kernel in rounding] == ["Half → Int8"] * 3
    assert not any("Add" in kernel.name or "Relu" in kernel.name for kernel in rounding)


def test_the_form_for_tensorrt_would_write_fp32_and_move_more(network, ranges):
    # what this writer did for both before: it is why there are two
    other = quantized_for_tensorrt(network, ranges)
    floats = int8_nodes(graph_from_onnx(network), "tensorrt")
    before = kernels_of(fp16_from_fp32(other, floats, ranges), 86)
    now = kernels_of(graph_of_precision("int8", "tensorrt-rtx", network, ranges), 86)
    assert set(convolutions(before).values()) == {"Half → Half", "Int8 → Float"}
    assert summary(before)["activations_mb"] > 2 * summary(now)["activations_mb"]


def test_fp16_moves_fewer_bytes_in_fewer_kernels_so_that_rtx_tries_it_first(network, ranges):
    int8 = kernels_of(graph_of_precision("int8", "tensorrt-rtx", network, ranges), 86)
    fp16 = kernels_of(graph_of_precision("fp16", "tensorrt-rtx", network, ranges), 86)
    assert set(convolutions(fp16).values()) == {"Half → Half", "Half, Half → Half"}
    assert len(fp16) < len(int8)
    assert sum(kernel.bytes for kernel in fp16) < sum(kernel.bytes for kernel in int8)


def test_turing_computes_int8_convolutions_in_fp16(network, ranges):
    found = convolutions(kernels_of(graph_of_precision("int8", "tensorrt-rtx", network, ranges), 75))
    assert not any("Int8" in types for types in found.values())
