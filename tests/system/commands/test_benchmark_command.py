"""`edge-inspect benchmark`: from the command line to figures, files and exit codes."""

import json

import pytest

from benchmarks.timing.report.program_run import measure_program
from edge.core.errors import UsageError
from tests.fakes import MjpegCamera, write_picture
from tests.small_bundle import good_part
from tests.system.command_line import assert_refused, edge, edge_here

PERCENTILES = {"p50", "p90", "p95", "p99", "p99.9", "max", "mean"}
SHORT = ("--frames", 24, "--warm-up", 2)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    for index in range(3):
        write_picture(folder / f"{index}.png", good_part(index))
    return folder


def test_a_run_prints_figures_and_writes_a_report_and_a_page(bundle_path, parts, tmp_path):
    arguments = ("--bundle", bundle_path, "--source", parts, *SHORT)
    result = edge("benchmark", *arguments, "--json", "--out", "a.json", "--page", "a.html", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["overhead_ratio_p50"] == pytest.approx(
        found["end_to_end_ms"]["p50"] / found["engine_ms"]["p50"], rel=0.01
    )
    assert found["frames_per_s"] > 0
    assert found["stages_ms"].keys() == {"grab", "wait", "preprocess", "infer", "residual", "decide", "sink"}
    assert all(levels.keys() == PERCENTILES for levels in found["stages_ms"].values())
    assert found["run"]["frame_px"] == [48, 64]
    assert found["run"]["records"] is True
    assert found["allocations"]["peak_kb_per_frame"]["p50"] > 0
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["end_to_end_ms"] == found["end_to_end_ms"]
    assert written["command"].startswith("edge-inspect benchmark")
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")
    # temporary records are gone
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "a.json", "plate"]


def test_a_table_names_the_ratio_and_the_deadline(bundle_path, parts, tmp_path):
    # the line waits for more pictures in a folder; a benchmark shows those that are there again and again
    (tmp_path / "config.yaml").write_text("camera: {watch: true}\n")
    arguments = ("--bundle", bundle_path, "--source", parts, *SHORT, "--cadence", "50/s", "--streams", 2)
    result = edge("benchmark", *arguments, "--no-record", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for words in ("end to end over bare engine", "p99.9", "deadline 20 ms", "50/s, 2 streams"):
        assert words in result.stdout


def test_throughput_tells_the_share_of_the_engines_limit(bundle_path, parts, tmp_path):
    arguments = ("--bundle", bundle_path, "--source", parts, "--throughput", "--duration", "1.6s")
    result = edge("benchmark", *arguments, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["share_of_engine_limit"] > 0
    assert found["engine_per_s"] > 0


def test_the_program_itself_is_timed_over_a_folder_to_its_first_verdict_with_its_memory(bundle_path, parts, tmp_path):
    result = edge("benchmark", "--bundle", bundle_path, "--source", parts, "--program", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["mode"], found["frames"], found["run"]["records"]) == ("program", 3, True)
    assert 0 < found["first_verdict_s"] < 60 and found["frames_per_s"] > 0
    assert found["memory"]["max_mb"] > 10
    assert [path.name for path in tmp_path.iterdir()] == ["plate"], "temporary records are gone"


def test_a_program_that_is_cut_short_is_timed_over_as_many_frames_of_the_shipped_line(bundle_path, tmp_path):
    arguments = ("--bundle", bundle_path, "--program", "--frames", 30, "--no-record")
    result = edge("benchmark", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "30 frames, records off" in result.stdout
    assert "after the start of the program" in result.stdout


def test_a_program_that_fails_is_told_with_its_last_words(tmp_path):
    with pytest.raises(UsageError, match=r"ended with 4 after 0 verdicts: [\s\S]*no such bundle"):
        measure_program(["--camera", "demo", "--bundle", str(tmp_path / "nowhere")], None)


def test_a_regression_is_exit_code_1(bundle_path, parts, tmp_path):
    edge("benchmark", "--bundle", bundle_path, "--source", parts, *SHORT, "--out", "a.json", cwd=tmp_path)
    report = json.loads((tmp_path / "a.json").read_text())
    report["samples"]["end_to_end_ms"] = [time * 3 for time in report["samples"]["end_to_end_ms"]]
    (tmp_path / "b.json").write_text(json.dumps(report))
    same = edge("benchmark", "--compare", "a.json", "a.json", cwd=tmp_path)
    worse = edge("benchmark", "--compare", "a.json", "b.json", cwd=tmp_path)
    assert (same.returncode, worse.returncode) == (0, 1)
    assert "the loop around it" in " ".join(worse.stdout.split())
    allowed = edge("benchmark", "--compare", "a.json", "b.json", "--limit", "4", "--json", cwd=tmp_path)
    assert allowed.returncode == 0
    assert json.loads(allowed.stdout)["regressed"] is False


def test_what_cannot_be_is_refused(here, subtests):
    for arguments, code, word in [
        (("--cadence", "soon"), 2, "no cadence"),
        (("--cadence", "2/s", "--cadence-from", "records"), 2, "not allowed with"),
        (("--soak", "1h", "--frames", "5"), 2, "--soak"),
        (("--throughput", "--cadence", "2/s"), 2, "--throughput"),
        (("--program", "--streams", "2"), 2, "--program"),
        (("--program", "--page", "a.html"), 2, "--program"),
        (("--frame-size", "640"), 2, "640x480"),
        (("--page", "a.svg"), 2, "--curves"),
        (("--duration", "0s"), 2, "10m"),
        (("--source", "nowhere"), 3, "nowhere"),
        (("--cadence-from", "nowhere"), 2, "no records"),
        (("--compare", "a.json", "b.json"), 2, "a.json"),
    ]:
        with subtests.test(arguments=arguments):
            assert_refused(edge_here(here, "benchmark", *arguments), code, word)


def test_a_camera_is_timed_as_it_comes_and_its_password_is_kept_secret(bundle_path, tmp_path):
    camera = MjpegCamera(fps=60)
    try:
        arguments = ("--bundle", bundle_path, "--source", camera.url, "--frames", 10, "--warm-up", 2)
        result = edge("benchmark", *arguments, "--out", "a.json", cwd=tmp_path)
        refused = edge("benchmark", *arguments, "--cadence", "2/s", cwd=tmp_path)
    finally:
        camera.kill()
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "a.json").read_text()
    found = json.loads(text)
    assert "grab" not in found["stages_ms"]
    assert found["run"]["frame_px"] == [60, 80]
    assert "hunter2" not in text + result.stdout + result.stderr
    assert refused.returncode == 2
    assert "hunter2" not in refused.stderr
