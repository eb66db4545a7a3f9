import io
import json
import sys
from pathlib import Path

import cv2
import pytest

from benchmarks.results_file import RESULTS
from edge.core.config import RecordSettings, Settings
from edge.core.errors import BundleError, MissingDependency
from edge.core.hardware import Gpus, Processor, VideoDevice
from edge.system import doctor
from edge.system.doctor import (
    backend_findings,
    bundle_finding,
    camera_findings,
    diagnose,
    gpu_findings,
    installation_finding,
    instructions_finding,
    opencv_finding,
    packages_finding,
    probe,
    processor_finding,
    python_finding,
    record_finding,
)
from edge.system.findings import Finding, State, findings_json, findings_table, worst

BUILD = "  Video I/O:\n    FFMPEG:      {}\n    GStreamer:   {}\n    v4l/v4l2:    {} (linux/videodev2.h)\n"


def test_a_finding_has_a_fix_exactly_when_something_is_wrong():
    with pytest.raises(ValueError, match="finding a: ok"):
        Finding("a", State.OK, "1", "do something")
    with pytest.raises(ValueError, match="finding a: fail"):
        Finding("a", State.FAIL, "1")


def test_python_is_judged_by_the_tested_versions():
    states = {(3, 9, 0): State.FAIL, (3, 10, 0): State.OK, (3, 12, 9): State.OK, (3, 13, 0): State.WARN}
    assert {version: python_finding(version).state for version in states} == states


def test_a_missing_package_is_named():
    finding = packages_finding(lambda package: None if package == "rich" else "1.0")
    assert finding.state is State.FAIL
    assert "rich MISSING" in finding.value
    assert packages_finding().state is State.OK


def test_a_damaged_installation_passes_its_fix_on():
    def check() -> None:
        raise MissingDependency("the package `export` is gone", fix="install again")

    assert installation_finding(check) == Finding(
        "installation", State.FAIL, "the package `export` is gone", "install again"
    )


GPU_PARTS = ("pycuda", "kernels", "tensorrt", "tensorrt-rtx")
BROKEN = ImportError("libfoo.so.1 is missing")


def test_a_backend_matters_as_much_as_the_settings_need_it():
    for case in [
        ("auto", "1", "1", ("ok", "ok")),
        ("auto", "1", None, ("ok", "ok")),
        ("auto", None, "1", ("warn", "ok")),
        ("auto", None, None, ("fail", "fail")),
        ("auto", BROKEN, "1", ("warn", "ok")),
        ("auto", "1", BROKEN, ("ok", "warn")),
        ("openvino", None, "1", ("fail", "ok")),
        ("openvino", "1", None, ("ok", "ok")),
        ("onnxruntime", "1", None, ("ok", "fail")),
        ("onnxruntime", None, "1", ("ok", "ok")),
        ("onnxruntime", None, None, ("ok", "fail")),
    ]:
        wanted, openvino, onnxruntime, states = case
        findings = backend_findings(wanted, openvino, onnxruntime)
        assert tuple(finding.state.value for finding in findings) == states, case
        assert all("[cpu]" in finding.fix for finding in findings if finding.state is not State.OK), case


def test_a_backend_that_does_not_start_says_why():
    assert "libfoo.so.1 is missing" in backend_findings("auto", BROKEN, "1")[0].value


def test_a_probe_tells_absent_from_broken(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import not_there_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    assert probe("not_there_at_all") is None
    assert isinstance(probe("half_installed"), ModuleNotFoundError)
    assert isinstance(probe("numpy"), str)


def test_opencv_tells_what_it_can_open():
    finding = opencv_finding(
        jetson=False, build_information=BUILD.format("YES", "NO", "YES"), version_of=lambda _: None
    )
    assert finding == Finding("opencv", State.OK, f"{cv2.__version__}: FFmpeg yes, GStreamer no, V4L2 yes")


def test_an_opencv_that_lacks_something_is_a_warning(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    for jetson, built, fix in [
        (True, ("YES", "NO", "YES"), "CSI cameras need the system's OpenCV"),
        (False, ("NO", "NO", "YES"), "video files and network streams need one of them"),
        (False, ("YES", "NO", "NO"), "USB cameras need it"),
    ]:
        finding = opencv_finding(jetson=jetson, build_information=BUILD.format(*built), version_of=lambda _: None)
        assert finding.state is State.WARN, built
        assert fix in finding.fix, built


def test_two_opencv_packages_over_each_other_are_a_warning():
    finding = opencv_finding(
        jetson=False, build_information=BUILD.format("YES", "YES", "YES"), version_of=lambda _: "1"
    )
    assert finding.state is State.WARN
    assert "pip uninstall opencv-python opencv-python-headless" in finding.fix


def test_the_processor_is_never_a_problem():
    assert processor_finding(Processor("A", 1, ())).state is State.OK
    assert processor_finding(Processor("A", 4, ("avx2",))).value == "A, 4 cores, avx2"


def test_what_a_processor_lacks_is_said_with_what_that_costs():
    for features, words in [
        (("avx2", "avx512f", "avx512_vnni", "avx512_bf16"), ["all that the networks can use"]),
        (("avx2",), ["no AVX-512: INT8 takes", "no bfloat16: training computes in float32 and takes"]),
        (("avx2", "avx_vnni"), ["at most (it has AVX-VNNI"]),
        (("avx2", "avx512f"), ["no AVX-512 VNNI: INT8 takes", "no bfloat16"]),
        (("asimd",), ["ARM: what it lacks was not measured"]),
    ]:
        found = instructions_finding(Processor("A", 2, features))
        assert found.state is State.OK, features
        assert not [word for word in words if word not in found.value], features


def test_a_processor_that_is_older_than_all_that_was_tried_is_a_warning():
    assert instructions_finding(Processor("A", 2, ())).state is State.WARN


def test_the_costs_that_are_told_are_those_of_the_results_file():
    measured = json.loads((RESULTS / "amd-epyc-2-cores" / "instructions.json").read_text())["levels"]
    times = {level: values["ms"] for level, values in measured.items()}
    whole = times["avx512-bf16"]
    assert round(times["avx2"]["int8"] / whole["int8"], 1) == doctor.INT8_WITHOUT_AVX512
    assert round(times["avx512"]["int8"] / whole["int8"], 1) == doctor.INT8_WITHOUT_VNNI
    assert round(whole["step_float32"] / whole["step_bfloat16"], 1) == doctor.TRAINING_WITHOUT_BF16


def test_a_gpu_is_optional_but_a_broken_one_is_a_warning():
    nothing = dict.fromkeys(GPU_PARTS)
    assert [finding.state for finding in gpu_findings(Gpus(()), "auto", nothing)] == [State.OK]
    assert [finding.state for finding in gpu_findings(Gpus(("A",)), "auto", nothing)] == [State.OK] * 5
    assert gpu_findings(Gpus((), problem="no answer"), "auto", nothing)[0].state is State.WARN
    assert gpu_findings(Gpus(("A",)), "openvino", {"tensorrt": BROKEN})[1].state is State.WARN


def test_what_the_wanted_gpu_backend_lacks_prevents_inspection_and_another_product_does_not():
    for missing in GPU_PARTS:
        parts = {**dict.fromkeys(GPU_PARTS, "1.0"), missing: None}
        states = {finding.name: finding.state for finding in gpu_findings(Gpus(("A",)), "tensorrt", parts)}
        expected = State.OK if missing == "tensorrt-rtx" else State.FAIL
        assert states == {"gpu": State.OK, **dict.fromkeys(GPU_PARTS, State.OK), missing: expected}, missing
        assert gpu_findings(Gpus(()), "tensorrt", parts)[0].state is State.FAIL, missing


def test_a_broken_part_that_is_not_needed_prevents_nothing():
    findings = gpu_findings(Gpus(("A",)), "tensorrt", {**dict.fromkeys(GPU_PARTS, "1.0"), "tensorrt-rtx": BROKEN})
    assert {finding.state for finding in findings if finding.name == "tensorrt-rtx"} == {State.WARN}


def test_a_jetson_s_tensorrt_that_the_environment_does_not_see_is_told_as_that(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3, GCID: 38968081\n")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    package = tmp_path / f"usr/lib/python{version}/dist-packages/tensorrt"
    package.mkdir(parents=True)
    for wanted, state in [("auto", State.WARN), ("tensorrt", State.FAIL)]:
        settings = Settings.model_validate({"inspection": {"backend": wanted}})
        found = {finding.name: finding for finding in diagnose(settings, tmp_path, root=tmp_path)}["tensorrt"]
        assert found.state is state, wanted
        assert found.value.startswith(f"tensorrt is installed on this system ({package}), but the environment")
        assert "--system-site-packages" in found.fix and "docs/line/jetson.md" in found.fix


def _camera(may_open: bool = True, used_by: tuple[str, ...] = ()) -> VideoDevice:
    return VideoDevice(Path("/dev/video2"), 2, "HD Webcam", may_open, used_by)


def test_a_free_camera_is_ok_and_named():
    assert camera_findings([_camera()], "linux") == [Finding("camera 2", State.OK, "HD Webcam (/dev/video2)")]


def test_a_camera_that_cannot_be_used_says_why_and_what_to_do():
    (busy,) = camera_findings([_camera(used_by=("browser (77)",))], "linux")
    (closed,) = camera_findings([_camera(may_open=False)], "linux")
    (absent,) = camera_findings([], "linux")
    assert "in use by browser (77)" in busy.value
    assert "usermod -aG video" in closed.fix
    assert "connect" in absent.fix
    assert {busy.state, closed.state, absent.state} == {State.WARN}


def test_records_need_a_directory_that_takes_files(tmp_path):
    (tmp_path / "file").write_text("")
    finding = record_finding(RecordSettings(directory=str(tmp_path / "file" / "records")))
    assert finding.state is State.FAIL
    assert "record.directory" in finding.fix


def test_records_create_nothing_while_being_checked(tmp_path):
    finding = record_finding(RecordSettings(directory=str(tmp_path / "a" / "b")), lambda path: 10**12)
    assert finding.state is State.OK
    assert list(tmp_path.iterdir()) == []


def test_records_switched_off_are_ok():
    assert record_finding(RecordSettings(directory=None)).state is State.OK


def test_a_disk_that_will_not_hold_the_pictures_is_a_warning(tmp_path):
    settings = RecordSettings(directory=str(tmp_path), max_image_mb=5000)
    assert record_finding(settings, lambda path: 1_000_000_000).state is State.WARN
    assert record_finding(settings, lambda path: 4_000_000_000).state is State.WARN
    assert record_finding(settings, lambda path: 6_000_000_000).state is State.OK


def test_pictures_already_stored_count_towards_their_limit(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(bytes(3_000_000))
    settings = RecordSettings(directory=str(tmp_path), max_image_mb=2502)
    assert record_finding(settings, lambda path: 2_500_000_000).state is State.OK


def test_a_bundle_is_described_or_refused_by_its_check(tmp_path):
    def damaged(path: Path) -> str:
        raise BundleError("manifest.json is damaged", fix="export it again")

    assert bundle_finding(tmp_path, lambda path: "256 px").value == f"{tmp_path}: 256 px"
    assert bundle_finding(tmp_path, damaged) == Finding(
        "bundle", State.FAIL, "manifest.json is damaged", "export it again"
    )
    assert bundle_finding(tmp_path / "absent", damaged).state is State.FAIL
    assert bundle_finding(tmp_path, None).state is State.OK


def test_a_whole_diagnosis_runs_on_this_machine_and_on_an_empty_one(tmp_path):
    settings = Settings(record=RecordSettings(directory=str(tmp_path / "records")))
    here = diagnose(settings, tmp_path, check_bundle=lambda path: "fine")
    empty = diagnose(settings, tmp_path, check_bundle=lambda path: "fine", root=tmp_path)
    assert {"python", "openvino", "onnxruntime", "processor", "gpu", "opencv", "records", "bundle"} <= {
        finding.name for finding in here
    }
    assert [finding.value for finding in empty if finding.name == "gpu"] == [
        "no NVIDIA GPU; inspection runs on the CPU"
    ]


def test_the_worst_state_counts():
    ok, warn, fail = Finding("a", State.OK, ""), Finding("b", State.WARN, "", "x"), Finding("c", State.FAIL, "", "x")
    assert worst([]) is worst([ok]) is State.OK
    assert worst([ok, warn]) is State.WARN
    assert worst([fail, warn, ok]) is State.FAIL


def test_findings_are_shown_as_json_and_as_a_table_with_fixes():
    from rich.console import Console

    findings = [Finding("a", State.OK, "path [red]"), Finding("b", State.FAIL, "broken", "mend it")]
    assert json.loads(findings_json(findings)) == {
        "state": "fail",
        "findings": [
            {"name": "a", "state": "ok", "value": "path [red]", "fix": ""},
            {"name": "b", "state": "fail", "value": "broken", "fix": "mend it"},
        ],
    }
    screen = io.StringIO()
    Console(file=screen, width=80).print(findings_table(findings))
    assert "path [red]" in screen.getvalue()
    assert "fix: mend it" in screen.getvalue()
