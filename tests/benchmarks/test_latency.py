"""The latency benchmark runs with a tiny bundle and says all it promises; how fast it was is not asserted."""

import json

import pytest

from benchmarks.studies import latency

PERCENTILES = {"p50", "p90", "p95", "p99", "p99.9", "max", "mean"}


@pytest.fixture
def result(bundle_path, tmp_path):
    """A run of every part, as short as it gets, on one backend."""
    out = tmp_path / "latency.json"
    arguments = ["--bundle", str(bundle_path), "--backend", "openvino", "--frames", "4", "--folder-frames", "6"]
    assert latency.main([*arguments, "--memory-frames", "12", "--starts", "1", "--out", str(out)]) == 0
    return json.loads(out.read_text())


def test_every_part_is_reported(result, capsys):
    rows = {(row["precision"], *row["frame_px"]) for row in result["inspection"]}
    assert rows == {("int8", 32, 32), ("int8", 480, 640), ("fp32", 32, 32), ("fp32", 480, 640)}
    for row in result["inspection"]:
        assert row["engine_ms"].keys() == row["end_to_end_ms"].keys() == PERCENTILES
        assert row["stages_ms"].keys() == {"grab", "wait", "preprocess", "infer", "residual", "decide", "sink"}
        assert row["overhead_ratio_p50"] > 0
        assert row["p99_over_p50"] >= 1
    assert result["resize"]["cv2_inter_area_ms"].keys() == PERCENTILES
    assert [(run["pictures"], run["verdicts"]) for run in result["folder"]] == [("png", 6), ("jpg", 6)]
    assert result["memory"]["verdicts"] == 12
    assert len(result["first_verdict"]["seconds"]) == 1
    assert result["command"].startswith("python -m benchmarks.studies.latency --bundle")


def test_a_count_of_zero_leaves_its_part_out(bundle_path, capsys):
    arguments = ["--bundle", str(bundle_path), "--backend", "openvino", "--precision", "int8", "--frames", "2"]
    assert latency.main([*arguments, "--folder-frames", "0", "--memory-frames", "0", "--starts", "0"]) == 0
    shown = capsys.readouterr().out
    assert "openvino" in shown
    assert "folder" not in shown
    assert "first verdict" not in shown


def test_of_repeated_rows_the_one_with_the_fastest_engine_is_reported_and_all_are_listed(bundle_path, tmp_path):
    out = tmp_path / "latency.json"
    arguments = ["--bundle", str(bundle_path), "--backend", "openvino", "--precision", "int8", "--frames", "2"]
    rest = ["--repeats", "3", "--folder-frames", "0", "--memory-frames", "0", "--starts", "0", "--out", str(out)]
    assert latency.main([*arguments, *rest]) == 0
    for row in json.loads(out.read_text())["inspection"]:
        engines = [repeat["engine_p50_ms"] for repeat in row["repeats"]]
        assert len(engines) == 3
        assert row["engine_ms"]["p50"] == min(engines)


def test_of_repeated_folder_runs_the_median_is_reported():
    runs = [{"frames_per_s": rate, "load_average": 1.0} for rate in (90.0, 130.0, 110.0)]
    assert latency.median_run(runs)["frames_per_s"] == 110.0


def test_a_missing_bundle_is_one_message_with_its_fix(tmp_path, capsys):
    assert latency.main(["--bundle", str(tmp_path / "none")]) == 4
    assert "fix:" in capsys.readouterr().err


def test_a_program_that_fails_is_told_with_its_last_words(bundle_path, tmp_path):
    pictures = latency.picture_folder(tmp_path / "pictures", ".png", 1)
    (bundle_path / "manifest.json").write_text("{}")
    with pytest.raises(latency.EdgeInspectError, match="bundle format"):
        latency.first_verdict_s(bundle_path, pictures, "openvino", "int8", tmp_path)
