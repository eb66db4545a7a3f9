"""`edge-inspect --camera`: every kind of source and every option, from the command line to the records."""

import shutil
import sqlite3
from itertools import pairwise

import cv2
import numpy as np
import pytest

from edge.records.schema import DATABASE_NAME
from edge.samples import sample_bundle
from tests.fakes import write_picture
from tests.small_bundle import bad_part, good_part
from tests.system.command_line import decisions, edge, rows, verdicts

EXPECTED = ["OK", "OK", "NG", "OK", "OK", "NG"]
KEYS = {"frame_index", "source", "decision", "reason", "score", "threshold", "times_ms"}


def test_a_folder_is_inspected_in_order_and_recorded(line, bundle_path, tmp_path):
    result = edge("--camera", line, "--bundle", bundle_path, "--json", cwd=tmp_path)
    told = verdicts(result.stdout)
    assert result.returncode == 0
    assert [verdict["decision"] for verdict in told] == EXPECTED
    assert [verdict["source"] for verdict in told] == [str(line / f"part{number}.png") for number in range(6)]
    assert all(set(verdict) >= KEYS for verdict in told)
    assert rows(tmp_path / "records") == [(v["frame_index"], v["decision"], v["score"]) for v in told]
    assert "6: 4 OK, 2 NG, 0 INVALID" in result.stderr


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_every_backend_and_precision_gives_the_same_verdicts(line, bundle_path, tmp_path, backend, precision):
    result = edge(
        "--camera", line, "--bundle", bundle_path, "--backend", backend, "--precision", precision, "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert decisions(result.stdout) == EXPECTED
    assert rows(tmp_path / "records", "decision") == [(decision,) for decision in EXPECTED]


def test_a_pattern_chooses_among_the_files(line, bundle_path, tmp_path):
    result = edge("--camera", line / "part[25].png", "--bundle", bundle_path, "--json", "--no-record", cwd=tmp_path)
    assert decisions(result.stdout) == ["NG", "NG"]
    assert not (tmp_path / "records").exists()


def test_a_video_file_is_inspected_frame_by_frame(bundle_path, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "line.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 30, (64, 48))
    for number in range(4):
        writer.write(bad_part(number) if number == 1 else good_part(number))
    writer.release()
    result = edge("--camera", "line.avi", "--bundle", bundle_path, "--json", "--no-record", cwd=tmp_path)
    assert result.returncode == 0
    assert len(verdicts(result.stdout)) == 4
    assert decisions(result.stdout)[1] == "NG"


def test_one_picture_is_one_verdict(line, bundle_path, tmp_path):
    result = edge("--camera", line / "part2.png", "--bundle", bundle_path, "--json", "--no-record", cwd=tmp_path)
    assert decisions(result.stdout) == ["NG"]


def test_once_and_frames_end_the_run_early(line, bundle_path, tmp_path):
    once = edge("--camera", line, "--bundle", bundle_path, "--json", "--no-record", "--once", cwd=tmp_path)
    four = edge("--camera", line, "--bundle", bundle_path, "--json", "--no-record", "--frames", 4, cwd=tmp_path)
    assert decisions(once.stdout) == EXPECTED[:1]
    assert decisions(four.stdout) == EXPECTED[:4]
    assert (once.returncode, four.returncode) == (0, 0)


def test_a_duration_ends_a_live_source(bundle_path, tmp_path):
    result = edge("--camera", "demo", "--bundle", bundle_path, "--json", "--duration", 0.5, cwd=tmp_path)
    told = verdicts(result.stdout)
    assert result.returncode == 0
    assert [verdict["frame_index"] for verdict in told] == list(range(len(told)))
    assert [row[0] for row in rows(tmp_path / "records")] == [verdict["frame_index"] for verdict in told]


def test_fps_sets_the_pace_of_files(line, bundle_path, tmp_path):
    edge("--camera", line, "--bundle", bundle_path, "--fps", 20, "--record-dir", "kept", cwd=tmp_path)
    grabbed = [captured_ns for (captured_ns,) in rows(tmp_path / "kept", "captured_ns")]
    # a busy machine can only be late, and being late shortens the next gap; the whole cannot be fast
    assert (grabbed[-1] - grabbed[0]) / 1e9 > 0.9 * 5 / 20
    assert all(later > earlier for earlier, later in pairwise(grabbed))


def test_settings_come_from_the_file_and_options_go_before_them(line, bundle_path, tmp_path):
    (tmp_path / "line.yaml").write_text(
        f"inspection:\n  bundle: {bundle_path}\n  precision: fp32\n  backend: onnxruntime\nrecord:\n  directory: here\n"
    )
    by_file = edge("--camera", line, "--config", "line.yaml", cwd=tmp_path)
    by_option = edge(
        "--camera", line, "--config", "line.yaml", "--precision", "int8", "--record-dir", "there", cwd=tmp_path
    )
    assert (by_file.returncode, by_option.returncode) == (0, 0)
    one, other = (rows(tmp_path / name, "engine_sha256")[0] for name in ("here", "there"))
    assert one != other


def test_the_settings_of_the_working_directory_are_found(line, bundle_path, tmp_path):
    (tmp_path / "config.yaml").write_text(f"inspection: {{bundle: {bundle_path}}}\nrecord: {{directory: here}}\n")
    assert edge("--camera", line, cwd=tmp_path).returncode == 0
    assert len(rows(tmp_path / "here")) == 6


def test_the_shipped_demo_runs_with_nothing_but_its_name(tmp_path):
    if not sample_bundle().is_dir():
        pytest.skip("the sample bundle is not there yet")
    result = edge("--camera", "demo", "--frames", 5, "--json", cwd=tmp_path)
    assert result.returncode == 0
    assert len(verdicts(result.stdout)) == 5
    assert set(decisions(result.stdout)) <= {"OK", "NG"}


def test_without_json_standard_output_stays_empty(line, bundle_path, tmp_path):
    result = edge("--camera", line, "--bundle", bundle_path, "--no-record", cwd=tmp_path)
    assert result.stdout == ""
    assert "none: recording is off" in result.stderr


# --- pictures that are not what they should be


def test_damaged_files_in_a_folder_are_invalid_and_the_run_goes_on(line, bundle_path, tmp_path):
    whole = (line / "part0.png").read_bytes()
    (line / "part1.png").write_bytes(b"")
    (line / "part2.png").write_bytes(whole[: len(whole) // 2])
    write_picture(line / "part3.jpg", good_part(3))
    cut = (line / "part3.jpg").read_bytes()
    (line / "part3.jpg").write_bytes(cut[: len(cut) // 2])
    (line / "part4.png").write_text("this is not a picture")
    result = edge("--camera", line, "--bundle", bundle_path, "--json", cwd=tmp_path)
    told = verdicts(result.stdout)
    assert result.returncode == 0
    assert [v["reason"] for v in told] == [
        "below_threshold", "undecodable", "undecodable", "undecodable", "below_threshold", "undecodable",
        "above_threshold",
    ]  # fmt: skip
    assert all(v["score"] is None for v in told if v["reason"] == "undecodable")
    assert "0 bytes" in told[1]["detail"] and "cut off" in told[2]["detail"] and "cut off" in told[3]["detail"]
    assert len(rows(tmp_path / "records")) == 7


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_odd_sizes_and_depths_are_judged_recorded_and_replayed(bundle_path, tmp_path, backend):
    shapes = [(1, 1), (257, 1), (1, 257), (3, 4000), (4000, 3), (33, 31)]
    folder = tmp_path / "odd"
    folder.mkdir()
    for number, shape in enumerate(shapes):
        write_picture(folder / f"{number}.png", np.resize(bad_part(1), (*shape, 3)))
    write_picture(folder / "6.png", good_part(2)[..., 0].astype(np.uint16) << 8)
    write_picture(folder / "7.png", good_part(2)[..., 0])
    (tmp_path / "config.yaml").write_text("record: {keep_ok_share: 1}\n")
    result = edge("--camera", folder, "--bundle", bundle_path, "--json", "--backend", backend, cwd=tmp_path)
    told = verdicts(result.stdout)
    assert result.returncode == 0
    assert len(told) == 8
    assert all(v["score"] is not None for v in told)
    # sixteen bits hold the same eight here
    assert told[6]["score"] == told[7]["score"]
    assert rows(tmp_path / "records", "image_state") == [("stored",)] * 8
    tall = edge("replay", 2, cwd=tmp_path)
    assert tall.stdout.splitlines()[-1].startswith("same: ")


def test_every_rejected_picture_on_record_replays_the_same(line, bundle_path, tmp_path):
    edge("--camera", line, "--bundle", bundle_path, cwd=tmp_path)
    rejected = [row_id for row_id, decision in rows(tmp_path / "records", "id, decision") if decision == "NG"]
    assert rejected == [3, 6]
    for row_id in rejected:
        again = edge("replay", row_id, cwd=tmp_path)
        assert again.returncode == 0
        assert again.stdout.splitlines()[-1].startswith("same: again NG")


def test_a_check_that_fails_is_code_1(line, bundle_path, tmp_path):
    edge("--camera", line, "--bundle", bundle_path, cwd=tmp_path)
    with sqlite3.connect(tmp_path / "records" / DATABASE_NAME) as connection:
        connection.execute("UPDATE verdicts SET score = 0.5 WHERE id = 3")
    again = edge("replay", 3, cwd=tmp_path)
    assert again.returncode == 1
    assert "different: recorded NG" in again.stdout
    check = edge("doctor", "--bundle", "nowhere", "--json", cwd=tmp_path)
    assert check.returncode == 1
    assert "nowhere" in check.stdout


def test_the_next_run_continues_in_the_same_records(line, bundle_path, tmp_path):
    for _ in range(2):
        assert edge("--camera", line, "--bundle", bundle_path, cwd=tmp_path).returncode == 0
    shutil.rmtree(line)
    assert rows(tmp_path / "records", "id, run_id")[5:7] == [(6, 1), (7, 2)]
    report = edge("report", cwd=tmp_path)
    assert report.returncode == 0
    assert "12 verdicts" in report.stdout
