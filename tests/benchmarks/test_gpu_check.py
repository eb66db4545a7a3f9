"""gpu-check: what it plans, what it makes of failures, and what it says where there is no GPU."""

import json
import sys

import numpy as np
import pytest

from benchmarks.gpu import gpu_check
from benchmarks.gpu.gpu_check import Outcome, Step, gpu_slug, planned, run_step, summary
from benchmarks.gpu.runtimes import why_missing
from edge.backends.gpu.cuda_device import CudaDevice
from edge.backends.gpu.tensorrt_versions import RTX_KNOWN
from edge.core.errors import MissingDependency
from edge.core.manifest import BlendSpec, ImageScoreSpec, NormSpec, ResidualSpec, ScoreSpec, SmoothSpec

ADA = CudaDevice("NVIDIA RTX 4090", "8.9", "560.1", "12.6")
HOPPER = CudaDevice("NVIDIA H200", "9.0", "580.1", "13.0")
LINE = {
    "verdict_ms": {"p50": 0.31, "p99": 0.4}, "bare_network_ms": {"p50": 0.25}, "overhead_over_bare_us": 60.0,
    "without_graph": {"verdict_ms": {"p50": 0.4, "p99": 0.5}}, "graph_nodes": 7,
    "memory": {"frames": 100, "lost_bytes": 0, "not_watched": None},
}  # fmt: skip


def names(steps):
    return [step.name if isinstance(step, Step) else step.step for step in steps]


def test_without_cuda_it_says_so_in_one_message_runs_nothing_and_writes_nothing(monkeypatch, tmp_path, capsys):
    def missing():
        raise MissingDependency("this machine has no NVIDIA driver", fix="install it")

    monkeypatch.setattr(gpu_check, "read_cuda_device", missing)
    assert gpu_check.main(["--results", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "nothing was run" in said and "no NVIDIA driver" in said
    assert list(tmp_path.iterdir()) == []


def test_every_product_precision_and_stub_is_tried_and_what_is_missing_is_skipped_with_its_reason(tmp_path):
    missing = {"pytest": "it is not here", "compute-sanitizer": "it is not here", "onnxruntime": "it has no CUDA"}
    steps = planned(ADA, tmp_path, 10, 100, missing)
    planned_names = names(steps)
    for product in ("tensorrt", "tensorrt-rtx"):
        assert {f"line with {product} {precision}" for precision in ("int8", "fp16", "fp32")} <= set(planned_names)
        assert f"gate on {product}" in planned_names
    assert {"line with onnxruntime", "line with torch", "line with copy", "kernels", "long run"} <= set(planned_names)
    skipped = {step.step: step.skipped for step in steps if isinstance(step, Outcome)}
    assert set(skipped) == {
        "GPU tests", "line with onnxruntime", *(f"compute-sanitizer {tool}" for tool in gpu_check.SANITIZERS),
    }  # fmt: skip
    assert skipped["line with onnxruntime"] == "it has no CUDA"


def test_a_product_that_is_not_installed_is_skipped_with_its_gate(tmp_path):
    steps = planned(ADA, tmp_path, 10, 100, {"tensorrt": "it is not installed"})
    skipped = [step for step in steps if isinstance(step, Outcome)]
    assert [step.step for step in skipped] == [
        *(f"line with tensorrt {precision}" for precision in ("int8", "fp16", "fp32")), "pauses with tensorrt",
        "gate on tensorrt",
    ]  # fmt: skip
    assert {(step.state, step.failed) for step in skipped} == {("skipped, because it is not installed", False)}


def test_rtx_builds_for_what_it_knows_and_tries_only_what_it_can_build_on_other_gpus(tmp_path):
    def int8(device):
        steps = planned(device, tmp_path / device.compute_capability, 10, 100, {})
        return [step for step in steps if step.name.startswith("line with tensorrt-rtx int8")]

    hopper = int8(HOPPER)
    assert [step.name.partition(", ")[2] for step in hopper] == ["built for the default list", "built for 8.0"]
    assert hopper[1].command[-2:] == ("--compute-capability", "80")
    assert all(step.trial for step in hopper)
    (spark,) = int8(CudaDevice("NVIDIA GB10", "12.1", "580.1", "13.0"))
    assert spark.command[-2:] == ("--compute-capability", "121") and not spark.trial
    (ada,) = int8(ADA)
    assert "--compute-capability" not in ada.command and not ada.trial


def test_what_rtx_knows_is_what_its_bindings_list():
    trt = pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed: nothing to ask")
    listed = {int(name[2:]) for name in trt.ComputeCapability.__members__ if name.startswith("SM")}
    assert listed == set(RTX_KNOWN)


def test_a_trial_that_is_refused_is_told_and_is_no_failure():
    program = "raise SystemExit('made for another GPU')"
    outcome = run_step(Step("line", (sys.executable, "-c", program), figures=True, trial=True))
    assert (outcome.state, outcome.failed) == ("refused", False)
    assert "made for another GPU" in summary({"gpu": vars(HOPPER), "steps": [outcome.as_dict()]})


def test_a_machine_without_any_runtime_passes_with_everything_skipped_for_a_reason(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_check, "read_cuda_device", lambda: HOPPER)
    monkeypatch.setattr(gpu_check, "open_pycuda", lambda: None)
    monkeypatch.setattr(gpu_check, "find_nvcc", lambda: None)
    monkeypatch.setattr(gpu_check, "find_sanitizer", lambda: None)

    def run(step):
        if "benchmarks.gpu.runtimes" in step.command:
            return Outcome(step.name, "", 1.0, 0, "", values={"missing": f"{step.name} is not installed"})
        return Outcome(step.name, "", 1.0, 0, "", values=LINE if "line" in step.name else None)

    monkeypatch.setattr(gpu_check, "run_step", run)
    assert gpu_check.main(["--results", str(tmp_path)]) == 0
    text = next((tmp_path / "nvidia-h200").glob("*.md")).read_text()
    for name in ("tensorrt", "tensorrt-rtx", "onnxruntime", "torch", "compute-sanitizer"):
        assert f"skipped, because {name} is not installed" in text
    assert "skipped, because nvcc is not installed" in text


def test_a_runtime_that_is_not_here_says_why(monkeypatch):
    import onnxruntime

    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_bindings", None)
    assert "tensorrt cannot be imported" in why_missing("tensorrt")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert "built without CUDA" in why_missing("onnxruntime")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert why_missing("onnxruntime") is None


def test_planned_commands_are_ones_that_our_programs_understand(tmp_path):
    from benchmarks.gpu import gpu_line
    from edge.cli.parser import parse

    for step in planned(HOPPER, tmp_path, 10, 100, {}):
        words = list(step.command)
        if {"benchmarks.gpu.gpu_line", "benchmarks.gpu.gpu_pauses"} & set(words):
            given = words[words.index("-m", 1) + 2 :]
            assert given[given.index("--network") + 1] in gpu_line.NETWORKS
        if "edge" in words:
            assert parse(words[words.index("edge") + 1 :]).command == "calibrate"


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("raise SystemExit('the device is gone')", 1, "the device is gone"),
        ("print('no figures')", -1, "not JSON"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGABRT)", -6, ""),
    ],
)
def test_a_step_that_fails_is_an_outcome_with_its_words_and_not_the_end(program, code, words):
    outcome = run_step(Step("line", (sys.executable, "-c", program), figures=True))
    assert outcome.failed and outcome.exit_code == code
    assert words in outcome.words


def test_a_program_that_is_not_there_is_a_failure_too():
    assert run_step(Step("line", ("/nowhere/at-all",))).failed


def test_figures_are_read_from_standard_output_and_progress_from_standard_error():
    program = "import sys; print('{\"a\": 1}'); print('building', file=sys.stderr)"
    outcome = run_step(Step("line", (sys.executable, "-c", program), figures=True))
    assert (outcome.values, outcome.words, outcome.failed) == ({"a": 1}, "building", False)


def test_results_and_summary_hold_failures_and_skips_beside_figures(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gpu_check, "read_cuda_device", lambda: ADA)
    monkeypatch.setattr(gpu_check, "open_pycuda", lambda: None)
    outcomes = {
        "good": Outcome("line with copy", "python -m x", 3.0, 0, "", values=LINE),
        "bad": Outcome("line with tensorrt int8", "python -m y", 1.0, 2, "no engine for this GPU"),
    }
    steps = [Step("good", ()), Step("bad", ()), Outcome("GPU tests", "", 0.0, None, "", skipped="pytest is not here")]
    monkeypatch.setattr(gpu_check, "planned", lambda *arguments: steps)
    monkeypatch.setattr(gpu_check, "missing_here", dict)
    monkeypatch.setattr(gpu_check, "run_step", lambda step: outcomes[step.name])
    assert gpu_check.main(["--results", str(tmp_path)]) == 1
    (result,) = (tmp_path / "nvidia-rtx-4090").glob("*.json")
    kept = json.loads(result.read_text())
    assert [step["failed"] for step in kept["steps"]] == [False, True, False]
    assert kept["gpu"]["compute_capability"] == "8.9" and kept["commit"]
    text = result.with_suffix(".md").read_text()
    assert "no engine for this GPU" in text and "skipped, because pytest is not here" in text
    assert "overhead over the network alone: 60.0 µs" in text
    assert text in capsys.readouterr().out


def test_kernel_figures_are_told_as_ratios():
    row = {"kernels_ms": 2.0, "share_of_copy": 0.9, "eager_ms": 12.0, "compiled_ms": 5.0, "map_difference": 1e-4}
    values = {"maps": {"all": row}, "frame_in_graph_us": {"all": 12.5}}
    step = Outcome("kernels", "python -m z", 9.0, 0, "", values=values)
    text = summary({"gpu": vars(ADA), "steps": [step.as_dict()]})
    assert "90% of the copy's rate, 6.0 times as fast as torch, 2.5 times as torch.compile" in text
    assert "12.5 µs" in text


def test_the_folder_of_a_gpu_is_its_name():
    assert gpu_slug(HOPPER) == "nvidia-h200"


def test_the_torch_maps_that_kernels_are_compared_with_are_the_definition():
    torch = pytest.importorskip("torch", reason="torch is not installed: there is nothing to compare with")
    from benchmarks.gpu.torch_score_path import torch_maps
    from edge.kernels import reference

    side = 16
    spec = ScoreSpec(
        residual=ResidualSpec(w_l1=0.2, w_l2=0.3, w_ssim=0.2, w_gms=0.2, w_col=0.1), norm=NormSpec(),
        blend=BlendSpec(), smooth=SmoothSpec(radius=10), image_score=ImageScoreSpec(k=10),
    )  # fmt: skip
    random = np.random.default_rng(0)
    pictures, recon = random.uniform(-1, 1, (2, 1, 3, side, side)).astype(np.float32)
    mean, inv_std = np.full((2, side, side), 0.1, np.float32)
    maps, _ = torch_maps(torch, spec, torch.from_numpy(mean), torch.from_numpy(inv_std))(
        torch.from_numpy(pictures), torch.from_numpy(recon)
    )
    error = reference.residual_error(
        (pictures[0].astype(np.float64) + 1) / 2, (recon[0].astype(np.float64) + 1) / 2, spec.residual
    )
    expected = reference.smooth(reference.evidence(error, mean, inv_std, spec.norm), spec.smooth)
    assert maps[0].numpy() == pytest.approx(expected, abs=1e-5)
