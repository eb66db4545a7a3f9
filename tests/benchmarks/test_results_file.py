"""Every result says what was measured where, when and how."""

import json
import sys

from benchmarks.emulated import LEVELS, main
from benchmarks.results_file import commit, device_slug, result_path, write_result
from edge.core.hardware import Processor


def test_a_device_has_a_folder_name():
    for name, slug in [
        ("AMD EPYC", "amd-epyc-2-cores"),
        ("Intel(R) Core(TM) i5-8500T CPU @ 2.10GHz", "intel-core-i5-8500t-cpu-2-10ghz-2-cores"),
        ("NVIDIA Jetson Orin Nano Developer Kit", "nvidia-jetson-orin-nano-developer-kit-2-cores"),
    ]:
        assert device_slug(Processor(name, 2, ())) == slug, name


def test_a_result_carries_device_date_commit_and_command(tmp_path):
    path = tmp_path / "new" / "speed.json"
    write_result(path, "python -m something", {"frames": 3})
    result = json.loads(path.read_text())
    assert result["device"]["cores"] > 0
    assert result["date_utc"].endswith("+00:00")
    assert result["command"] == "python -m something"
    assert result["versions"]["numpy"]
    assert "commit" in result
    assert result["frames"] == 3


def test_a_second_result_replaces_the_first(tmp_path):
    for frames in (1, 2):
        write_result(tmp_path / "speed.json", "python -m something", {"frames": frames})
    assert json.loads((tmp_path / "speed.json").read_text())["frames"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["speed.json"]


def test_results_lie_in_a_folder_per_device():
    path = result_path("latency")
    assert path.name == "latency.json"
    assert path.parent.parent.name == "results"


def test_an_emulated_processor_has_a_folder_of_its_own_and_every_file_says_how(tmp_path, monkeypatch):
    for name, value in LEVELS["avx2"].items():
        monkeypatch.setenv(name, value)
    assert result_path("latency").parent.name.endswith("-avx2")
    write_result(tmp_path / "speed.json", "python -m something", {})
    emulated = json.loads((tmp_path / "speed.json").read_text())["device"]["emulated"]
    assert emulated == {"level": "avx2", "environment": LEVELS["avx2"]}
    assert emulated["environment"]["ONEDNN_MAX_CPU_ISA"] == "AVX2"


def test_a_command_runs_with_the_instructions_left_out(capfd):
    show = "import os; print(os.environ['ONEDNN_MAX_CPU_ISA'], os.environ['ATEN_CPU_CAPABILITY'])"
    assert main(["avx2", sys.executable, "-c", show]) == 0
    assert capfd.readouterr().out == "AVX2 avx2\n"
    assert main(["avx1024", "true"]) == 2
    assert "avx2" in capfd.readouterr().err


def test_outside_a_repository_there_is_no_commit(tmp_path):
    assert commit(tmp_path) is None
