"""ONNX → engine: real ones with TensorRT for RTX, which needs no GPU; its refusals in its own words."""

import hashlib
from importlib.util import find_spec
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: no network can be written")

from calibration.memory.designs import MemoryDesign  # noqa: E402
from calibration.ranges import collect_ranges  # noqa: E402
from edge.backends.gpu.engine_cache import BuildOptions, EngineCache, engine_key  # noqa: E402
from edge.backends.gpu.tensorrt_runtime import LoadedEngine  # noqa: E402
from edge.backends.gpu.tensorrt_versions import RTX_TARGETS, WeaklyTypedTensorRt, open_tensorrt, tensorrt_from_module  # noqa: E402
from edge.core.errors import EngineError, MissingDependency  # noqa: E402
from export.engine import cached_engine, engine_from_onnx  # noqa: E402
from export.precision_fallback import CANDIDATE_PRECISIONS, graph_of_precision  # noqa: E402
from tests.small_bundle import blur_network  # noqa: E402

needs_rtx = pytest.mark.skipif(
    find_spec("tensorrt_rtx_bindings") is None,
    reason="tensorrt-rtx is not installed: no engine can be built (pip install 'edge-inspect[rtx]')",
)
ALL = BuildOptions(targets=RTX_TARGETS)
BOTH_KINDS = (
    MemoryDesign("fine", ("tap2", "tap4"), axes=16, centres=4, block=2),
    MemoryDesign("coarse", ("tap5", "tap6"), axes=16, centres=20, block=0),
)


def pictures(side):
    return [np.random.default_rng(0).uniform(-1, 1, (3, side, side)).astype(np.float32)]


def graph_with_quantised_bias(model, side):
    """What ONNX Runtime's quantiser makes unless told otherwise."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    # the names of all tensors: the ranges of edge-inspect leave out what no target quantises
    values = {name: (np.float32(-1), np.float32(1)) for name in ("image", "entered", "inner", "recon")}
    quantizer = QDQQuantizer(
        onnx.load_model_from_string(model), per_channel=True, reduce_range=False, weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8, tensors_range=TensorsData(CalibrationMethod.MinMax, values),
        nodes_to_quantize=[], nodes_to_exclude=[], op_types_to_quantize=["Conv"],
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": True},
    )  # fmt: skip
    return quantizer.quantize_model().SerializeToString()


@pytest.fixture(scope="module")
def rtx():
    return open_tensorrt("tensorrt-rtx")


@pytest.fixture(scope="module")
def method_graph():
    """Name of a method → FP32 graph, with a memory where it wants one, and side of its smallest variant."""
    torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be exported")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: nothing can be exported")
    from calibration.memory.fitting import fit_memories, graphs_of
    from export.onnx_graph import exported_names, onnx_from_module
    from training.methods import METHODS
    from training.methods.base import Design

    graphs = {}

    def graph(name):
        if name not in graphs:
            torch.manual_seed(0)
            method = METHODS[name]
            network, side = method.learner(Design("smoke")).network.eval(), method.variants["smoke"].size
            names = exported_names(network, (side, side), method.outputs)
            model = onnx_from_module(network, (side, side), names)
            if not set(method.outputs) <= set(names):
                fields = np.random.default_rng(0).integers(0, 256, (6, side, side, 3), np.uint8)
                model = graphs_of(model, fit_memories(model, fields, "aligned", BOTH_KINDS)).deployed
            graphs[name] = (model, side)
        return graphs[name]

    return graph


def method_names():
    if find_spec("torch") is None:
        return ["every method"]
    from training.methods import METHODS

    return list(METHODS)


@needs_rtx
@pytest.mark.engines
def test_every_method_builds_for_turing_ampere_ada_and_blackwell(rtx, method_graph, subtests):
    for precision, method in product(
        [precision for precision in CANDIDATE_PRECISIONS["tensorrt-rtx"] if precision != "fp32"], method_names()
    ):
        with subtests.test(precision=precision, method=method):
            model, side = method_graph(method)
            graph = graph_of_precision(precision, "tensorrt-rtx", model, collect_ranges(model, pictures(side)))
            assert len(engine_from_onnx(rtx, graph, ALL)) > 10_000


@needs_rtx
@pytest.mark.parametrize("precision", ["int8", "int8_float_ends", "fp16"])
def test_the_parser_reads_fp16_inputs_and_outputs_from_all_graphs_but_fp32(rtx, precision):
    model = blur_network()
    graph = graph_of_precision(precision, "tensorrt-rtx", model, collect_ranges(model, pictures(32)))
    network = rtx.create_network(rtx.trt.Builder(rtx.logger))
    assert rtx.trt.OnnxParser(network, rtx.logger).parse(graph)
    ends = [network.get_input(0), *(network.get_output(index) for index in range(network.num_outputs))]
    assert {tensor.dtype for tensor in ends} == {rtx.trt.DataType.HALF}


@needs_rtx
@pytest.mark.engines
@pytest.mark.parametrize("target", RTX_TARGETS)
def test_an_engine_for_all_targets_is_another_than_for_one(rtx, target):
    assert engine_from_onnx(rtx, blur_network(), ALL) != engine_from_onnx(
        rtx, blur_network(), BuildOptions(targets=(target,))
    )


@needs_rtx
@pytest.mark.engines
def test_what_the_parser_refuses_is_told_with_its_words_and_the_node(rtx):
    model = onnx.load_model_from_string(blur_network())
    model.graph.node[1].input.append("bias")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(3, np.float32), "bias"))
    graph = graph_with_quantised_bias(model.SerializeToString(), 32)
    with pytest.raises(EngineError) as refusal:
        engine_from_onnx(rtx, graph, ALL)
    assert "DequantizeLinear bias_DequantizeLinear: Invalid Node" in refusal.value.message
    assert "input has type Int32 but must have type" in refusal.value.message
    with pytest.raises(EngineError, match=r"the file: .*Failed to parse the ONNX model"):
        engine_from_onnx(rtx, b"not a graph", ALL)


@needs_rtx
@pytest.mark.engines
def test_a_target_that_rtx_does_not_know_is_refused_with_those_it_does(rtx):
    for targets, named in (((87,), "SM87"), ((), "no target")):
        with pytest.raises(EngineError, match=named) as refusal:
            engine_from_onnx(rtx, blur_network(), BuildOptions(targets=targets))
        assert "75, 80, 86, 89, 120" in refusal.value.fix


@needs_rtx
@pytest.mark.engines
def test_an_rtx_engine_is_kept_under_its_targets_and_needs_no_gpu(rtx, tmp_path):
    cache, model = EngineCache(tmp_path), blur_network()
    built = cached_engine(rtx, cache, "fp32", model, BuildOptions(targets=(89, 75)))
    assert built.built
    assert not cached_engine(rtx, cache, "fp32", model, BuildOptions(targets=(75, 89))).built
    assert cached_engine(rtx, cache, "fp32", model, BuildOptions(targets=(86,))).built
    assert built.path.name == f"tensorrt-rtx-fp32-{hashlib.sha256(model).hexdigest()[:12]}.engine"


@needs_rtx
@pytest.mark.engines
def test_an_engine_that_this_machine_cannot_run_says_why_and_what_to_do(rtx, tmp_path):
    cache = EngineCache(tmp_path)
    engine = cached_engine(rtx, cache, "fp32", blur_network(), BuildOptions(targets=(75,)))
    engine.path.write_bytes(b"")
    broken = type(engine)(b"x" * 200, engine.sha256, engine.path, built=False)
    with pytest.raises(EngineError, match="cannot load the engine") as refusal:
        LoadedEngine(rtx, broken, cache)
    assert "export --bundle BUNDLE --target tensorrt-rtx" in refusal.value.fix


def test_a_missing_tensorrt_is_told_with_what_brings_it(monkeypatch):
    def missing(name):
        raise ImportError(f"no {name}")

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(MissingDependency, match=r"no tensorrt_rtx; no tensorrt_rtx_bindings") as refusal:
        open_tensorrt("tensorrt-rtx")
    assert "[rtx]" in refusal.value.fix
    with pytest.raises(MissingDependency) as refusal:
        open_tensorrt("tensorrt")
    assert "JetPack" in refusal.value.fix


class FakeBindings(SimpleNamespace):
    """As much of TensorRT's module as choosing a version and its flags takes."""

    __hash__ = object.__hash__

    def __init__(self, version):
        names = SimpleNamespace
        super().__init__(
            __version__=version, ILogger=object, LayerType=names(QUANTIZE="quantize"),
            DataType=names(HALF="half"), BuilderFlag=names(INT8="int8", FP16="fp16"),
        )  # fmt: skip


def test_8_6_permits_what_the_graph_asks_for_and_no_more():
    def layer(kind):
        output = SimpleNamespace(dtype="half" if kind == "h" else "float")
        kind = "quantize" if kind == "q" else "convolution"
        return SimpleNamespace(type=kind, num_outputs=1, get_output=lambda index: output)

    tensorrt = tensorrt_from_module("tensorrt", FakeBindings("8.6.2.3"))
    for kinds, flags in [("q", {"int8"}), ("h", {"fp16"}), ("fqh", {"int8", "fp16"}), ("f", set())]:
        set_flags, layers = set(), [layer(kind) for kind in kinds]
        network = SimpleNamespace(num_layers=len(kinds), get_layer=layers.__getitem__)
        tensorrt.configure(SimpleNamespace(set_flag=set_flags.add), network)
        assert isinstance(tensorrt, WeaklyTypedTensorRt), kinds
        assert set_flags == flags, kinds


def test_the_version_chooses_the_typing_and_an_old_one_is_refused():
    for version in ("10.3.0", "11.4.0.106"):
        assert "strongly_typed" in tensorrt_from_module("tensorrt", FakeBindings(version)).flags
    with pytest.raises(MissingDependency, match=r"8\.5\.2 is older than 8\.6"):
        tensorrt_from_module("tensorrt", FakeBindings("8.5.2"))


def test_targets_are_for_rtx_only():
    with pytest.raises(EngineError, match="for the GPU it runs on"):
        tensorrt_from_module("tensorrt", FakeBindings("10.3.0")).aim_at(None, (86,))


class FakeRtx(FakeBindings):
    """A GPU that runs every engine, and compiles what it was not given."""

    def __init__(self, accepts):
        super().__init__("1.7.1.116")
        self.given, self.accepts, self.made = [], accepts, b"kernels"
        self.EngineValidity = SimpleNamespace(INVALID="invalid")
        self.Runtime = lambda logger: SimpleNamespace(
            get_engine_validity=lambda plan: ("valid", 0), deserialize_cuda_engine=lambda plan: self._engine()
        )

    def _engine(self):
        cache = SimpleNamespace(
            deserialize=lambda data: self.given.append(data) or self.accepts, serialize=lambda: self.made
        )
        config = SimpleNamespace(create_runtime_cache=lambda: cache, set_runtime_cache=lambda cache: True)
        return SimpleNamespace(
            create_runtime_config=lambda: config,
            create_execution_context=lambda config: "context",
            num_io_tensors=2,
            get_tensor_name=lambda index: ("image", "recon")[index],
            get_tensor_shape=lambda name: (1, 3, 64, 64),
        )


@pytest.mark.parametrize("accepts", [True, False])
def test_what_rtx_compiled_at_one_start_is_offered_at_the_next(tmp_path, caplog, accepts):
    bindings, cache = FakeRtx(accepts), EngineCache(tmp_path)
    tensorrt = tensorrt_from_module("tensorrt-rtx", bindings)
    key = engine_key(tensorrt, "fp32", b"model", BuildOptions(targets=(86,)), device=None)
    engine = cache.obtain(key, lambda: b"plan")
    first = LoadedEngine(tensorrt, engine, cache)
    assert first.tensors == {"image": (1, 3, 64, 64), "recon": (1, 3, 64, 64)}
    assert bindings.given == []
    first.keep_compiled()
    again = LoadedEngine(tensorrt, engine, cache)
    assert bindings.given == [b"kernels"]
    assert ("another GPU, driver or TensorRT: compiling again" in caplog.text) != accepts
    bindings.made = b"more kernels"
    again.keep_compiled()
    assert cache.find_compiled(engine) == b"more kernels"
