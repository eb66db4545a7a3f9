"""The operator policy: every node is accounted for, and what must not be deployed is refused with a way out."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: no graph can be read")

from edge.core.errors import UsageError  # noqa: E402
from export.graph import end_stages, graph_from_onnx, input_convolutions, multiplications, output_convolutions  # noqa: E402
from export.operators import TARGETS, int8_nodes, is_fused, operator_report  # noqa: E402
from tests.export.graphs import SAME, onnx_graph, residual_network, weight  # noqa: E402


def states(report, target="cpu"):
    return {row.node: row.runs[target] for row in report.rows}


def test_every_node_has_a_row_and_a_reason_where_it_does_not_run_in_int8():
    report = operator_report(residual_network())
    graph = graph_from_onnx(residual_network())
    assert [row.node for row in report.rows] == [node.name for node in graph.nodes]
    for row in report.rows:
        assert set(row.runs) == set(TARGETS)
        assert bool(row.why) == ("float" in row.runs.values())


@pytest.mark.parametrize("target", TARGETS)
def test_only_the_ends_float_in_a_network_of_clean_operators(target):
    floating = {name for name, state in states(operator_report(residual_network()), target).items() if state != "int8"}
    # TensorRT for RTX fuses INT8 into convolutions and what they end with, and nothing else
    alone = {"add", "relu_d", "enlarge", "join"} if target == "tensorrt-rtx" else set()
    assert floating == {"first", "relu_a", "last"} | alone


def test_a_grouped_convolution_is_left_in_floating_point_for_rtx_alone():
    nodes = [
        ("Conv", ["image", "w"], "a", "first", SAME),
        ("Conv", ["a", "m"], "b", "grouped", SAME | {"group": 4}),
        ("Conv", ["b", "n"], "c", "plain", SAME),
        ("Conv", ["c", "v"], "recon", "last", SAME),
    ]
    weights = {"w": weight(4, 3), "m": weight(4, 1), "n": weight(4, 4), "v": weight(3, 4)}
    report = operator_report(onnx_graph(nodes, weights))
    by_target = {
        target: {name for name, state in states(report, target).items() if state == "int8"} for target in TARGETS
    }
    assert by_target["cpu"] == by_target["tensorrt"] == {"grouped", "plain"}
    assert by_target["tensorrt-rtx"] == {"plain"}
    (row,) = [row for row in report.rows if row.node == "grouped"]
    assert "plain convolutions alone" in row.why


def test_layers_left_floating_are_reported_so_with_what_lies_between_them():
    after = states(operator_report(residual_network(), ["two"]))
    assert (after["two"], after["add"], after["relu_d"]) == ("float", "float", "float")
    assert after["one"] == "int8"


def test_a_summary_line_counts_each_operator():
    lines = operator_report(residual_network()).summary()
    assert any(line.startswith("Conv x6: INT8 on cpu 4, tensorrt 4, tensorrt-rtx 4") for line in lines)


def refused(op, inputs, extra, weights=None, output_side=None):
    nodes = [
        ("Conv", ["image", "w"], "a", "first", SAME),
        (op, ["a", *inputs], "b", "odd_one", extra),
        ("Conv", ["b", "v"], "recon", "last", SAME),
    ]
    constants = {"w": weight(4, 3), "v": weight(3, 4)} | (weights or {})
    report = operator_report(onnx_graph(nodes, constants, output_side=output_side))
    with pytest.raises(UsageError, match="odd_one") as refusal:
        report.require(TARGETS)
    return refusal.value.fix


def test_a_transposed_convolution_is_refused_with_its_replacement():
    fix = refused("ConvTranspose", ["t"], {"strides": [2, 2]}, {"t": weight(4, 4, 2)}, 32)
    assert "nearest Resize and a convolution" in fix


def test_a_resize_with_aligned_corners_is_refused():
    extra = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    assert "nearest" in refused("Resize", ["", "twice"], extra, {"twice": np.array([1, 1, 2, 2], np.float32)}, 32)


def test_an_unfolded_normalisation_is_refused():
    one = np.ones(4, np.float32)
    fix = refused("BatchNormalization", ["g", "h", "i", "j"], {}, {"g": one, "h": 0 * one, "i": 0 * one, "j": one})
    assert "evaluation mode" in fix


def test_sorting_is_refused_for_engines_and_allowed_on_the_cpu():
    from onnx import TensorProto, helper, numpy_helper

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])
    values = helper.make_tensor_value_info("recon", TensorProto.FLOAT, [1, 3, 8, 2])
    node = helper.make_node("TopK", ["image", "k"], ["recon", "where"], name="pick")
    constants = [numpy_helper.from_array(np.array([2], np.int64), "k")]
    graph = helper.make_graph([node], "pick", [image], [values], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    report = operator_report(model)
    report.require(["cpu"])
    with pytest.raises(UsageError, match=r"pick \(TopK\) is not deployed on tensorrt") as refusal:
        report.require(["tensorrt"])
    assert "fixed pattern" in refusal.value.fix


@pytest.mark.parametrize("target", TARGETS)
def test_a_relu6_runs_in_int8_with_the_convolution_before_it(target):
    nodes = [
        ("Conv", ["image", "w"], "a", "first", SAME),
        ("Conv", ["a", "m"], "b", "middle", SAME),
        ("Clip", ["b", "zero", "six"], "c", "relu6", {}),
        ("Conv", ["c", "m"], "d", "next", SAME),
        ("Conv", ["d", "v"], "recon", "last", SAME),
    ]
    limits = {"zero": np.float32(0), "six": np.float32(6)}
    graph = graph_from_onnx(onnx_graph(nodes, {"w": weight(4, 3), "m": weight(4, 4), "v": weight(3, 4), **limits}))
    int8 = int8_nodes(graph, target)
    assert int8 == {"middle", "relu6", "next"}
    assert is_fused(graph, int8, "b")


def test_transformer_blocks_stay_in_floating_point_and_the_convolutions_beside_them_do_not():
    nodes = [
        ("Conv", ["image", "w"], "a", "first", SAME),
        ("Conv", ["a", "m"], "b", "middle", SAME),
        ("MatMul", ["b", "b"], "c", "attention", {}),
        ("Softmax", ["c"], "d", "soft", {"axis": -1}),
        ("Add", ["d", "b"], "e", "sum", {}),
        ("Conv", ["e", "v"], "recon", "last", SAME),
    ]
    report = operator_report(onnx_graph(nodes, {"w": weight(4, 3), "m": weight(4, 4), "v": weight(3, 4)}))
    assert states(report) == {
        "first": "float", "middle": "int8", "attention": "float", "soft": "float", "sum": "float", "last": "float",
    }  # fmt: skip


def test_ends_and_stages_are_found():
    graph = graph_from_onnx(residual_network())
    assert input_convolutions(graph) == ["first"]
    assert output_convolutions(graph) == ["last"]
    # "deep" writes planes of half the side, all others of the whole
    assert end_stages(graph) == ["first", "one", "two", "deep", "joined", "last"]


def test_multiplications_are_counted():
    counts = multiplications(graph_from_onnx(residual_network()))
    assert counts["first"] == 8 * 3 * 9 * 16 * 16
    assert counts["deep"] == 8 * 8 * 9 * 8 * 8
