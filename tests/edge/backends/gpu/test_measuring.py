"""What gpu-check measures, measured on the fake GPU: every figure is there, and nothing is left behind."""

import inspect
import json

import pytest

pytest.importorskip("onnx", reason="onnx is not installed: no graph can be made")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: nothing can stand in for an engine")

from benchmarks.gpu import gpu_line, gpu_pauses, kernels
from benchmarks.gpu.stub_networks import CopyNetwork, open_stub
from edge.backends.gpu.cuda_device import CudaDevice
from edge.backends.gpu.gpu_tensorrt import open_session
from edge.backends.gpu.tensorrt_versions import tensorrt_from_module
from edge.bundles.bundle import load_bundle
from edge.bundles.versions import write_bundle
from edge.core.errors import EngineError, MissingDependency
from tests.edge.backends.gpu.conftest import DEVICE
from tests.edge.backends.gpu.fakes.fake_tensorrt import fake_module


@pytest.fixture
def bundle(bundle_path):
    opened = load_bundle(bundle_path)
    record = json.dumps({"estimator": {"chosen": "max"}, "sensitivity": {"floating": []}}).encode()
    return write_bundle(bundle_path, opened.manifest, {"quantization": ("quantization.json", record)})


@pytest.fixture
def small(monkeypatch):
    """Few repetitions of few frames."""
    for name, value in (("REPEATS", 2), ("IN_GRAPH", 2), ("SPECS", {"l1": kernels.SPECS["l1"]})):
        monkeypatch.setattr(kernels, name, value)
    monkeypatch.setattr("benchmarks.gpu.gpu_timing.WARM_UP", 1)
    monkeypatch.setattr(gpu_line, "CAMERA_SIZE", (48, 64))
    monkeypatch.setattr(gpu_line, "read_cuda_device", lambda: DEVICE)
    monkeypatch.setattr(kernels, "read_cuda_device", lambda: DEVICE)


def test_kernels_are_timed_against_the_copy_and_inside_a_graph(gpu, small):
    values = kernels.measure(batch=2, side=16, frame_side=8)
    row = values["maps"]["l1"]
    assert row["kernels_ms"] > 0 and row["copy_gb_per_s"] > 0
    assert 0 <= row["share_of_copy"] < 1
    assert values["frame_in_graph_us"]["l1"] > 0
    # what an FP16 or INT8 engine's line runs, see test_engine_line.py
    assert gpu.kernels == {"preprocess_f16", "residual_f16_pixel_1", "reduce_box"}
    # the processor's torch has no CUDA, and this is said
    assert "torch" in row


def test_a_torch_that_fails_costs_no_figure_of_the_kernels(gpu, small, monkeypatch):
    import torch

    def full(*arguments):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "ExternalStream", full)
    row = kernels.measure(batch=2, side=16, frame_side=8)["maps"]["l1"]
    assert row["kernels_ms"] > 0 and row["torch_failed"] == "CUDA out of memory"


def test_a_line_with_a_stub_is_measured_with_its_memory_and_its_network_alone(gpu, small, bundle, tmp_path):
    values = gpu_line.measure(bundle, "copy", 3, tmp_path, ())
    # three kernels, and the copy that stands for the network
    assert values["graph_nodes"] == 4
    assert {"p50", "p99", "max"} <= set(values["verdict_ms"])
    assert (values["memory"]["lost_bytes"], values["memory"]["not_watched"]) == (0, None)
    assert set(values["without_graph"]["verdict_ms"]) == set(values["verdict_ms"])
    assert "against_processor" not in values


def test_a_frame_after_a_pause_is_timed_for_each_period_of_keeping_warm(gpu, small, bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_pauses, "PAUSES", {0.05: 2})
    monkeypatch.setattr(gpu_pauses, "PERIODS", (None, 0.01))
    rows = gpu_pauses.measure(bundle, "copy", tmp_path, ())["after_a_pause_ms"]
    assert {name: set(row) for name, row in rows.items()} == {
        "never": {"back_to_back", "0.05 s"}, "10 ms": {"back_to_back", "0.05 s"},
    }  # fmt: skip
    assert all(spent["p50"] > 0 for row in rows.values() for spent in row.values())


def test_on_a_board_memory_is_everybody_s_and_not_watched(gpu, small, bundle, tmp_path, monkeypatch):
    board = CudaDevice("Orin", "8.7", "R36", "12.6", integrated=True)
    monkeypatch.setattr(gpu_line, "read_cuda_device", lambda: board)
    memory = gpu_line.measure(bundle, "copy", 3, tmp_path, ())["memory"]
    assert memory["lost_bytes"] is None and "Orin has no memory of its own" in memory["not_watched"]
    assert gpu.counts["mem_get_info"] == 0


def test_whatever_takes_or_watches_free_memory_is_skipped_on_a_board():
    from tests.edge.backends.gpu import test_on_a_gpu

    tests = {name: each for name, each in vars(test_on_a_gpu).items() if name.startswith("test_")}
    users = [name for name, each in tests.items() if "free_bytes" in inspect.getsource(each)]
    assert len(users) == 2
    assert all(test_on_a_gpu.own_memory.mark in getattr(tests[name], "pytestmark", []) for name in users)


def test_a_line_with_an_engine_is_held_against_the_processor(gpu, small, bundle, tmp_path, monkeypatch):
    module = fake_module(gpu)
    monkeypatch.setattr(
        "edge.backends.gpu.gpu_tensorrt.open_tensorrt", lambda product: tensorrt_from_module(product, module)
    )
    monkeypatch.setattr("export.engine.read_cuda_device", lambda: DEVICE)
    values = gpu_line.measure(bundle, "tensorrt-fp32", 3, tmp_path, ())
    found = values["against_processor"]
    assert found["other_decisions"] == 0
    assert found["largest_score_difference_in_thresholds"] < 0.02


def test_an_engine_that_is_refused_is_told_with_the_words_of_who_refuses(gpu, small, bundle, tmp_path, monkeypatch):
    module = fake_module(gpu, refuses=lambda model: True)
    monkeypatch.setattr(
        "edge.backends.gpu.gpu_tensorrt.open_tensorrt", lambda product: tensorrt_from_module(product, module)
    )
    monkeypatch.setattr("export.engine.read_cuda_device", lambda: DEVICE)
    with pytest.raises(EngineError, match="cannot build the network"):
        gpu_line.measure(bundle, "tensorrt-int8", 3, tmp_path, ())


@pytest.mark.parametrize("name", ["torch", "onnxruntime"])
def test_a_stub_that_needs_cuda_of_a_library_says_that_it_has_none(gpu, bundle, name):
    pytest.importorskip(name)
    session = open_session()
    with session.current(), pytest.raises(MissingDependency, match="no CUDA here"):
        open_stub(name, session, bundle.read("model_fp32"), bundle.manifest)
    session.close()


def test_the_copying_stub_returns_the_picture_and_zeros(gpu, bundle):
    import numpy as np

    session = open_session()
    manifest = bundle.manifest.model_copy(update={"outputs": ("recon", "seg_logit")})
    network = CopyNetwork(manifest)
    with session.current():
        addresses = {name: session.device_memory(2 * tensor.bytes) for name, tensor in network.tensors.items()}
        pictures = session.pinned((2, *network.tensors["image"].shape), np.float32)
        pictures[:] = np.random.default_rng(0).normal(size=pictures.shape)
        session.upload(addresses["image"], pictures)
        network.enqueue(session.stream, addresses, 2)
        fetched = {name: session.pinned((2, *network.tensors[name].shape), np.float32) for name in manifest.outputs}
        for name, values in fetched.items():
            session.fetch(values, addresses[name])
        session.synchronize()
        assert np.array_equal(fetched["recon"], pictures)
        assert not fetched["seg_logit"].any()
    session.close()
