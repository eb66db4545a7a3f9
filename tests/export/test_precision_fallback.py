"""The precision fallback: the fastest candidate that passes is taken, and all that were tried are recorded."""

import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: no graph can be made")

from calibration.ranges import collect_ranges  # noqa: E402
from edge.core.errors import BundleError, ModelError  # noqa: E402
from export.precision_fallback import CANDIDATE_PRECISIONS, Attempt, graph_of_precision, try_candidates  # noqa: E402
from tests.export.graphs import SAME, onnx_graph, pictures, residual_network, weight  # noqa: E402

HASH = "a" * 64


def attempts(**exceeded):
    """What to do for each candidate: a tuple of limits, or an error to raise."""

    def attempt(candidate):
        result = exceeded.get(candidate, ())
        if isinstance(result, Exception):
            raise result
        return Attempt(candidate.upper(), HASH, result)

    return attempt


def times(**milliseconds):
    """A timing that knows what each takes; what it does not know must not be asked for."""
    return lambda results: [[milliseconds[result.lower()]] * 11 for result in results]


def test_of_what_passes_the_fastest_is_taken_and_the_times_are_recorded():
    for fp16, taken in [(1.5, "fp16"), (2.5, "int8")]:
        fallback = try_candidates("tensorrt", attempts(), times(int8=2.0, fp16=fp16))
        assert (fallback.candidate, fallback.result) == (taken, taken.upper())
        assert [(step.precision, step.milliseconds) for step in fallback.tried] == [("int8", 2.0), ("fp16", fp16)]


def test_a_gain_of_less_than_a_tenth_is_noise_and_the_order_decides():
    for target, expected in [("cpu", "int8"), ("tensorrt", "int8"), ("tensorrt-rtx", "fp16")]:
        rest = {"int8": 1.0, "fp16": 1.0, "fp32": 1.0} | {"fp32" if target == "cpu" else "fp16": 0.95}
        if target == "tensorrt-rtx":
            rest |= {"fp16": 1.0, "int8": 0.95}
        assert try_candidates(target, attempts(), times(**rest)).candidate == expected, target


def test_who_is_faster_in_undisturbed_rounds_alone_is_not_taken():
    # of a machine so busy that the tenth percentile is luck
    int8, fp32 = [3.0] * 30, [1.0] * 6 + [4.0] * 24
    fallback = try_candidates("cpu", attempts(), lambda results: [int8, fp32])
    assert (fallback.candidate, fallback.tried[1].milliseconds) == ("int8", 1.0)


def test_a_processor_that_computes_fp32_faster_runs_fp32():
    assert try_candidates("cpu", attempts(), times(int8=8.0, fp32=6.0)).candidate == "fp32"


def test_what_is_refused_has_its_stand_in_and_is_not_timed():
    refusals = attempts(int8=("too many flips",), int8_float_ends=("AUROC falls",))
    fallback = try_candidates("tensorrt", refusals, times())
    assert fallback.candidate == "fp16"
    assert [(step.precision, step.exceeded, step.milliseconds) for step in fallback.tried] == [
        ("int8", ("too many flips",), None), ("int8_float_ends", ("AUROC falls",), None), ("fp16", (), None),
    ]  # fmt: skip
    fallback = try_candidates("tensorrt", attempts(int8=("too many flips",)), times(int8_float_ends=1.0, fp16=2.0))
    assert (fallback.candidate, fallback.tried[1].milliseconds) == ("int8_float_ends", 1.0)


def test_an_engine_in_fp32_is_tried_only_where_nothing_else_passes():
    for target in ("tensorrt", "tensorrt-rtx"):
        refusals = attempts(int8=("a",), int8_float_ends=("b",), fp16=("c",))
        fallback = try_candidates(target, refusals, times())
        assert fallback.candidate == "fp32"
        assert {step.precision for step in fallback.tried} == set(CANDIDATE_PRECISIONS[target])


def test_a_candidate_that_cannot_be_built_or_run_counts_as_refused():
    broken = BundleError("the parser refuses it", fix="none"), ModelError("not finite", fix="none")
    fallback = try_candidates("tensorrt", attempts(int8=broken[0], int8_float_ends=broken[1]), times())
    assert fallback.candidate == "fp16"
    assert fallback.tried[0].exceeded == ("the parser refuses it",)
    assert fallback.tried[0].model_sha256 is None


def test_below_the_last_candidate_there_is_nothing():
    refusals = attempts(int8=("a",), int8_float_ends=("b",), fp32=BundleError("out of memory", fix=""))
    with pytest.raises(BundleError, match=r"no precision passes the gate .*fp32: out of memory"):
        try_candidates("cpu", refusals, times())


def staged_network():
    """Two levels: convolutions at the input's side, and two of a quarter of it."""
    names = {"first": (3, 4, 1), "wide": (4, 4, 2), "down": (4, 4, 2), "deep": (4, 4, 1), "last": (4, 3, 1)}
    weights = {f"w_{name}": weight(b, a, seed=i) for i, (name, (a, b, _)) in enumerate(names.items())}
    tensors = ["image", "a", "b", "c", "d", "recon"]
    nodes = [
        ("Conv", [source, f"w_{name}"], made, name, SAME | {"strides": [stride, stride]})
        for (name, (_, _, stride)), source, made in zip(names.items(), tensors, tensors[1:], strict=False)
    ]
    return onnx_graph(nodes, weights, output_side=4)


def kinds(model):
    """Name of each convolution → how its weights are stored."""
    graph = onnx.load_model_from_string(model).graph
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer}
    names = {onnx.TensorProto.FLOAT: "fp32", onnx.TensorProto.FLOAT16: "fp16"}
    return {n.name: names.get(stored.get(n.input[1]), "int8") for n in graph.node if n.op_type == "Conv"}


def test_the_graph_of_each_rung():
    model = staged_network()
    ranges = collect_ranges(model, pictures())
    made = {
        (target, candidate): kinds(graph_of_precision(candidate, target, model, ranges))
        for target in CANDIDATE_PRECISIONS
        for candidate in CANDIDATE_PRECISIONS[target]
    }
    assert made["cpu", "int8"] == {"first": "fp32", "wide": "int8", "down": "int8", "deep": "int8", "last": "fp32"}
    # "wide" writes planes of half the side
    assert made["cpu", "int8_float_ends"] == made["cpu", "int8"] | {"wide": "fp32"}
    assert set(made["cpu", "fp32"].values()) == {"fp32"}
    for target in ("tensorrt", "tensorrt-rtx"):
        assert made[target, "int8_float_ends"] == {
            "first": "fp16", "wide": "fp16", "down": "int8", "deep": "int8", "last": "fp16",
        }  # fmt: skip
        assert set(made[target, "fp16"].values()) == {"fp16"}


def test_layers_the_sensitivity_pass_chose_float_on_every_rung():
    model = residual_network()
    ranges = collect_ranges(model, pictures())
    assert kinds(graph_of_precision("int8", "cpu", model, ranges, ["two"]))["two"] == "fp32"
    assert kinds(graph_of_precision("int8", "tensorrt", model, ranges, ["two"]))["two"] == "fp16"
