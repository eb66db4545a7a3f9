"""calibrate, gate and run on an engine, from the command line, with TensorRT and the GPU replaced by fakes."""

import json
import shutil

import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: no network can be quantized")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: nothing can stand in for an engine")

from calibration.pipeline import gate_samples as gate_samples_module  # noqa: E402
from calibration.pipeline.calibrator import CalibrationSession  # noqa: E402
from edge.backends.gpu import gpu_tensorrt  # noqa: E402
from edge.backends.gpu.cuda_device import CudaDevice  # noqa: E402
from edge.backends.gpu.engine_cache import BuildOptions, EngineCache, engine_key  # noqa: E402
from edge.backends.gpu.tensorrt_versions import tensorrt_from_module  # noqa: E402
from edge.bundles.bundle import ModelBundle, load_bundle  # noqa: E402
from edge.bundles.versions import differences, write_bundle  # noqa: E402
from edge.cli import main  # noqa: E402
from edge.core.config import Settings  # noqa: E402
from edge.core.errors import EngineError, MissingDependency  # noqa: E402
from edge.inspection.inspectors import make_inspectors  # noqa: E402
from export.engine import cached_engine  # noqa: E402
from tests.edge.backends.gpu.conftest import DEVICE, install  # noqa: E402
from tests.edge.backends.gpu.fakes.fake_cuda import FakeGpu  # noqa: E402
from tests.edge.backends.gpu.fakes.fake_tensorrt import fake_module  # noqa: E402
from tests.small_bundle import blur_network, copying, make_bundle, parts_folder  # noqa: E402


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return parts_folder(tmp_path_factory.mktemp("parts"))


def put_in_place(patch, gpu, there):
    """This machine has the fake GPU, and the TensorRT and the device that `there` says."""
    install(patch, gpu)
    patch.setattr(gate_samples_module, "find_spec", lambda name: None)
    # emulated kernels take their time
    patch.setattr(
        CalibrationSession.__init__, "__defaults__", ((64, 12), *CalibrationSession.__init__.__defaults__[1:])
    )
    for room in ("edge.backends", "edge.backends.gpu.gpu_tensorrt", "calibration.pipeline.engines"):
        patch.setattr(f"{room}.open_tensorrt", lambda product: tensorrt_from_module(product, there["module"]))
    for room in ("edge.backends.gpu.gpu_tensorrt", "export.engine"):
        patch.setattr(f"{room}.read_cuda_device", lambda: there["device"])


@pytest.fixture
def machine(gpu, monkeypatch):
    """A dict to change TensorRT's module, or the device."""
    there = {"module": fake_module(gpu), "device": DEVICE}
    put_in_place(monkeypatch, gpu, there)
    return there


def make_quantized(path):
    """A bundle with all that an engine's graph is made of."""
    bundle = make_bundle(path)
    record = json.dumps({"estimator": {"chosen": "max"}, "sensitivity": {"floating": []}}).encode()
    write_bundle(bundle.path, bundle.manifest, {"quantization": ("quantization.json", record)})
    return bundle.path


@pytest.fixture(scope="module")
def calibrated_once(tmp_path_factory, data):
    """A bundle that was calibrated on an engine, on a machine that is gone."""
    path, gpu = make_quantized(tmp_path_factory.mktemp("calibrated") / "plate"), FakeGpu()
    with pytest.MonkeyPatch.context() as patch:
        put_in_place(patch, gpu, {"module": fake_module(gpu), "device": DEVICE})
        assert run("calibrate", "--bundle", path, "--data", data, "--backend", "tensorrt") == 0
    assert gpu.live() == {}
    return path


@pytest.fixture
def calibrated(calibrated_once, machine, tmp_path):
    """That bundle with its engines, copied."""
    shutil.copytree(calibrated_once.with_name("plate.engines"), tmp_path / "plate.engines")
    return shutil.copytree(calibrated_once, tmp_path / "plate")


@pytest.fixture
def quantized(machine, tmp_path):
    return make_quantized(tmp_path / "plate")


def verdicts(capsys, bundle, camera, *more):
    capsys.readouterr()
    assert run("run", "--camera", camera, "--bundle", bundle, "--json", "--no-record", *more) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_calibration_carries_the_hash_of_the_engine_that_runs(calibrated):
    bundle = load_bundle(calibrated)
    bundle.verify()
    deployed = bundle.manifest.deployments["tensorrt"]
    calibration = bundle.calibration("int8", target="tensorrt")
    report, of_fp16 = json.loads(bundle.read("gate_tensorrt"))
    # both passed, and on this machine they take the same time
    assert (deployed.precision, deployed.backend, [step.precision for step in deployed.tried]) == (
        "int8",
        "tensorrt",
        ["int8", "fp16"],
    )
    assert of_fp16["passed"] and all(step.milliseconds for step in deployed.tried)
    assert calibration.model_sha256 == deployed.tried[0].model_sha256 == report["candidate"]["model_sha256"]
    assert report["reference"]["backend"] == "openvino"
    assert calibration.model_sha256 != bundle.model_sha256("int8")
    assert bundle.read("gate_page_tensorrt").startswith(b"<!doctype html>")
    # the processor's own calibration is still there
    bundle.calibration("int8")


def test_the_line_decides_on_the_engine_as_fp32_does_on_the_processor(calibrated, data, capsys):
    for camera in ("train/good", "ng"):
        ours = verdicts(capsys, calibrated, data / camera, "--backend", "tensorrt")
        theirs = verdicts(capsys, calibrated, data / camera, "--backend", "onnxruntime", "--precision", "fp32")
        assert [each["decision"] for each in ours] == [each["decision"] for each in theirs]


def test_an_engine_s_line_asks_for_no_calibration_of_the_processor(calibrated, data, capsys):
    bundle = load_bundle(calibrated)
    files = {key: entry for key, entry in bundle.manifest.files.items() if key != "calibration_int8"}
    write_bundle(bundle.path, bundle.manifest.model_copy(update={"files": files}), {})
    assert len(verdicts(capsys, calibrated, data / "ng", "--backend", "tensorrt")) == 4


def test_kernels_read_and_write_the_fp16_of_the_engine(calibrated, data, gpu, capsys):
    gpu.kernels.clear()
    verdicts(capsys, calibrated, data / "ng", "--backend", "tensorrt")
    assert {name.split("_")[0]: name.split("_")[1] for name in gpu.kernels} == {
        "preprocess": "f16", "residual": "f16", "reduce": "box",
    }  # fmt: skip


@pytest.mark.parametrize(("keep_warm_ms", "period_s"), [(20, 0.02), (None, None)])
def test_how_often_a_resting_gpu_runs_is_a_setting(calibrated, keep_warm_ms, period_s):
    inspection = {"backend": "tensorrt", "keep_warm_ms": keep_warm_ms}
    (inspector,) = make_inspectors(load_bundle(calibrated), Settings.model_validate({"inspection": inspection}), 1)
    assert inspector.rest_every_s == period_s
    inspector.backend.close()


def test_the_gate_and_the_evaluation_run_on_the_engine(calibrated, data, capsys):
    capsys.readouterr()
    arguments = ("gate", "--bundle", calibrated, "--data", data, "--ng", data / "ng", "--backend", "tensorrt", "--json")
    assert run(*arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["candidate"]["backend"], report["target"]) == ("tensorrt", "tensorrt")


def test_what_tensorrt_refuses_or_ruins_is_passed_over_for_the_next_precision(quantized, data, machine, gpu, capsys):
    def ruined(model):
        return copying(model, "w1_half", "w2_half")

    machine["module"] = fake_module(gpu, refuses=lambda model: b"QuantizeLinear" in model, ruins=ruined)
    assert run("calibrate", "--bundle", quantized, "--data", data, "--backend", "tensorrt") == 0
    tried = load_bundle(quantized).manifest.deployments["tensorrt"].tried
    assert [step.precision for step in tried] == ["int8", "int8_float_ends", "fp16", "fp32"]
    assert "cannot build the network" in tried[0].exceeded[0]
    assert all("more defective parts missed" in step.exceeded[0] for step in tried[1:3])
    assert tried[3].exceeded == ()


def test_without_a_calibration_for_it_an_engine_does_not_run(quantized, data, capsys):
    assert run("run", "--camera", data / "ng", "--bundle", quantized, "--backend", "tensorrt") == 4
    assert "calibrate --bundle BUNDLE --data NORMALS --backend tensorrt" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["driver", "deleted"])
def test_an_engine_of_another_driver_or_a_deleted_one_is_told_and_not_replaced_silently(
    calibrated, data, machine, capsys, change
):
    if change == "driver":
        machine["device"] = CudaDevice("Fake RTX", "8.6", "560.1", "12.4")
    else:
        for engine in calibrated.with_name("plate.engines").glob("*.engine"):
            engine.unlink()
    capsys.readouterr()
    assert run("run", "--camera", data / "ng", "--bundle", calibrated, "--backend", "tensorrt") == 2
    told = capsys.readouterr().err
    assert "that the bundle is calibrated for is not in" in told
    assert ("driver 550.54 → 560.1" in told) == (change == "driver")


def test_engines_may_lie_elsewhere(quantized, data, tmp_path, capsys):
    elsewhere = ("--backend", "tensorrt", "--engines", tmp_path / "elsewhere")
    assert run("calibrate", "--bundle", quantized, "--data", data, *elsewhere) == 0
    assert list((tmp_path / "elsewhere").glob("tensorrt-int8-*.engine"))
    assert len(verdicts(capsys, quantized, data / "ng", *elsewhere)) == 4


def test_showing_a_bundle_names_the_engine_s_calibration(calibrated, capsys):
    capsys.readouterr()
    assert run("bundle", "show", "--bundle", calibrated) == 0
    shown = capsys.readouterr().out
    assert "runs on tensorrt" in shown and "tensorrt int8" in shown
    assert "NOT USABLE" not in shown


def test_what_a_build_measured_of_layers_is_there_for_the_next(machine, tmp_path, caplog):
    tensorrt, cache = tensorrt_from_module("tensorrt", machine["module"]), EngineCache(tmp_path)
    for count, precision in enumerate(("int8", "fp16"), start=1):
        cached_engine(tensorrt, cache, precision, blur_network(), BuildOptions())
        assert cache.find_timings(engine_key(tensorrt, "fp32", b"", BuildOptions(), DEVICE)) == b"*" * count
    newer = CudaDevice("Fake RTX", "8.6", "560.1", "12.4")
    key = engine_key(tensorrt, "fp32", b"", BuildOptions(), newer)
    assert cache.find_timings(key) is None
    cache.keep_timings(key, b"of another machine")
    machine["device"] = newer
    cached_engine(tensorrt, cache, "fp32", blur_network(), BuildOptions())
    assert cache.find_timings(key) == b"*"
    assert "measuring again" in caplog.text


def test_an_engine_with_other_outputs_than_the_bundle_is_refused(calibrated, data, machine, monkeypatch, capsys):
    monkeypatch.setattr(
        "tests.edge.backends.gpu.fakes.fake_tensorrt._Engine.get_tensor_name", lambda self, index: f"other{index}"
    )
    monkeypatch.setattr(
        "tests.edge.backends.gpu.fakes.fake_tensorrt._Engine.get_tensor_shape", lambda self, name: (1, 3, 32, 32)
    )
    assert run("run", "--camera", data / "ng", "--bundle", calibrated, "--backend", "tensorrt") == 2
    assert "the bundle's network has image and recon" in capsys.readouterr().err


def test_a_missing_kernel_or_gpu_is_told_and_what_was_open_is_closed(calibrated, data, gpu, monkeypatch, capsys):
    def missing(*asked):
        raise MissingDependency("no kernels are built", fix="make kernels")

    monkeypatch.setattr(gpu_tensorrt, "kernel_image", missing)
    assert run("run", "--camera", data / "ng", "--bundle", calibrated, "--backend", "tensorrt") == 2
    assert "make kernels" in capsys.readouterr().err
    assert gpu.live() == {}


def test_an_engine_that_the_gpu_refuses_to_load_is_an_engine_error(calibrated, data, machine, monkeypatch, gpu):
    monkeypatch.setattr(machine["module"].Runtime, "deserialize_cuda_engine", lambda self, plan: None)
    bundle = load_bundle(calibrated)
    calibration = bundle.calibration("int8", target="tensorrt")
    with pytest.raises(EngineError, match="cannot load the engine"):
        gpu_tensorrt.calibrated_gpu_backend(bundle, "tensorrt", calibration, None, 0.0)


def test_recalibrating_an_engine_is_refused_with_what_does_it(calibrated, data, tmp_path, capsys):
    settings = tmp_path / "config.yaml"
    settings.write_text("inspection:\n  backend: tensorrt\n")
    arguments = ("recalibrate", data / "train" / "good", "--bundle", calibrated, "--config", settings)
    assert run(*arguments) == 2
    assert "calibrate --bundle BUNDLE --data NORMALS --backend tensorrt" in capsys.readouterr().err


def test_differences_between_versions_name_the_engine_s_calibration(calibrated):
    bundle = load_bundle(calibrated)
    without = {key: entry for key, entry in bundle.manifest.files.items() if key != "calibration_tensorrt_int8"}
    before = ModelBundle(bundle.path, bundle.manifest.model_copy(update={"files": without}), "")
    (found,) = differences(before, bundle)
    assert found.startswith("tensorrt int8: not calibrated to threshold")
