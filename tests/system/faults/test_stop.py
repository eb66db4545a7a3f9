"""How a run ends before its source does: Ctrl-C, SIGTERM, a reader that leaves, kill -9. Nothing recorded is lost."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.system.command_line import WAIT_S, edge, environment, rows, running

# a second is promised; two busy cores and a process that must be scheduled get three
STOP_S = 3.0


@pytest.fixture
def long_line(line):
    """The six parts again and again, 600 in all."""
    for turn in range(1, 100):
        for number in range(6):
            os.link(line / f"part{number}.png", line / f"part{number + 6 * turn}.png")
    return line


@pytest.fixture(params=["stream", "folder"])
def source(request):
    """Options for an inspection that would go on for long: a live network camera, and a paced folder."""
    if request.param == "stream":
        return ["--camera", request.getfixturevalue("camera").url]
    return ["--camera", request.getfixturevalue("long_line"), "--fps", 30]


def assert_all_on_record(run, directory):
    told = [(verdict["frame_index"], verdict["decision"], verdict["score"]) for verdict in run.verdicts]
    assert rows(directory) == told
    assert f"frames      {len(told)}: " in run.errors
    assert "Traceback" not in run.errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_at_once_with_every_verdict_on_record(source, number, bundle_path, tmp_path):
    with running(*source, "--bundle", bundle_path, "--json", cwd=tmp_path) as run:
        run.wait_for_count(5)
        asked = time.monotonic()
        run.signal(number)
        assert run.ended() == 130
        assert time.monotonic() - asked < STOP_S
    assert_all_on_record(run, tmp_path / "records")


def test_ctrl_c_is_heard_while_a_camera_does_not_answer(bundle_path, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/stream"
        with running("--camera", url, "--bundle", bundle_path, cwd=tmp_path) as run:
            connection, _ = silent.accept()
            asked = time.monotonic()
            run.signal()
            assert run.ended() == 130
            assert time.monotonic() - asked < STOP_S
            connection.close()
    assert "edge-inspect: interrupted" in run.errors
    assert "Traceback" not in run.errors


def test_a_second_ctrl_c_from_a_quick_hand_loses_nothing(source, bundle_path, tmp_path):
    with running(*source, "--bundle", bundle_path, "--json", cwd=tmp_path) as run:
        run.wait_for_count(5)
        asked = time.monotonic()
        run.signal(signal.SIGINT)
        run.signal(signal.SIGINT)
        assert run.ended() == 130
        assert time.monotonic() - asked < STOP_S
    assert_all_on_record(run, tmp_path / "records")


def test_a_slowly_paced_folder_does_not_wait_for_its_next_picture(line, bundle_path, tmp_path):
    with running("--camera", line, "--fps", 0.01, "--bundle", bundle_path, "--json", cwd=tmp_path) as run:
        run.wait_for_count(1)
        asked = time.monotonic()
        run.signal()
        assert run.ended() == 130
        assert time.monotonic() - asked < STOP_S
    assert "does not return" not in run.errors
    assert_all_on_record(run, tmp_path / "records")


def piped(command, into, cwd):
    """`edge-inspect command | into`, with the exit code of the first."""
    return subprocess.run(
        ["bash", "-c", f"{sys.executable} -m edge {command} | {into}; exit ${{PIPESTATUS[0]}}"],
        cwd=cwd, env=environment(), capture_output=True, text=True, timeout=WAIT_S,
    )  # fmt: skip


def test_a_reader_that_leaves_does_not_take_the_inspection_along(line, bundle_path, tmp_path):
    result = piped(f"--camera {line} --fps 20 --bundle {bundle_path} --json", "head -1", tmp_path)
    assert result.returncode == 5
    assert result.stdout.count("\n") == 1
    assert "its reader has gone: inspection goes on, verdicts are recorded in records" in result.stderr
    assert "verdicts not delivered" in result.stderr
    assert "Traceback" not in result.stderr and "BrokenPipe" not in result.stderr
    assert len(rows(tmp_path / "records")) == 6


def test_a_reader_that_leaves_ends_an_inspection_that_nothing_records(long_line, bundle_path, tmp_path):
    result = piped(f"--camera {long_line} --fps 60 --bundle {bundle_path} --no-record --json", "head -1", tmp_path)
    assert result.returncode == 5
    assert "inspection ends, as verdicts are recorded nowhere" in result.stderr


def shell(command, cwd):
    """A command line of a shell, with its redirections."""
    return subprocess.run(
        ["bash", "-c", f"{sys.executable} -m edge {command}"],
        cwd=cwd, env=environment(), capture_output=True, text=True, timeout=WAIT_S,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [
        (">&-", 0, "6: "),
        ("2>&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        ("2>/dev/full", 0, ""),
        ("--json > /dev/full", 5, "No space left on device: inspection goes on, verdicts are recorded"),
    ],
)
def test_streams_that_are_closed_or_full(line, bundle_path, tmp_path, streams, code, said):
    result = shell(f"--camera {line} --bundle {bundle_path} {streams}", tmp_path)
    assert result.returncode == code
    assert said in result.stderr and "Traceback" not in result.stderr
    # nothing that was printed went into the database instead
    assert len(rows(tmp_path / "records")) == 6


def test_a_live_view_that_cannot_be_drawn_does_not_matter(line, bundle_path, tmp_path):
    (tmp_path / "config.yaml").write_text("view:\n  live: on\n")
    result = shell(f"--camera {line} --bundle {bundle_path} 2> /dev/full", tmp_path)
    assert result.returncode == 0
    assert len(rows(tmp_path / "records")) == 6


def test_verdicts_for_a_closed_standard_output_are_refused(line, tmp_path):
    result = shell(f"--camera {line} --json >&-", tmp_path)
    assert result.returncode == 2
    assert "standard output is closed" in result.stderr


@pytest.mark.parametrize(("streams", "code"), [("> /dev/full", 1), (">&-", 2)])
def test_other_commands_say_that_their_output_went_nowhere(line, bundle_path, tmp_path, streams, code):
    edge("--camera", line, "--bundle", bundle_path, cwd=tmp_path)
    result = shell(f"report {streams}", tmp_path)
    assert result.returncode == code
    assert result.stderr.startswith("edge-inspect: standard output ") and "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["report --json", "report", "--help"])
def test_other_commands_bear_a_reader_that_leaves_too(line, bundle_path, tmp_path, command):
    edge("--camera", line, "--bundle", bundle_path, cwd=tmp_path)
    result = piped(command, "true", tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


# started by Python itself: Ctrl-C comes while a class of this module is made
INTERRUPTED_IMPORT = """
import sys

class Interrupts:
    def __set_name__(self, owner, name):
        raise KeyboardInterrupt

class Finder:
    @staticmethod
    def find_spec(name, path, target=None):
        if name == MODULE:
            type("Made", (), {"field": Interrupts()})

sys.meta_path.insert(0, Finder)
"""


@pytest.mark.parametrize("module", ["edge.cli.parser", "cv2"])
def test_ctrl_c_while_a_library_is_loaded_ends_as_always(module, bundle_path, line, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(f"MODULE = {module!r}\n{INTERRUPTED_IMPORT}")
    result = edge("--camera", line, "--bundle", bundle_path, cwd=tmp_path, PYTHONPATH=str(site))
    assert (result.returncode, result.stdout) == (130, "")
    assert result.stderr == "edge-inspect: interrupted\n"


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="pipes cannot be shrunk on this system")
def test_a_reader_that_reads_nothing_does_not_keep_the_run_from_ending(bundle_path, tmp_path):
    output, stuck = os.pipe()
    # shrunk to a page, so that few verdicts fill it
    fcntl.fcntl(stuck, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "--camera", "demo", "--bundle", bundle_path, "--json", "--fps", "60"],
        cwd=tmp_path, env=environment(), stdout=stuck, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(stuck)
    for line in process.stderr:
        if "JsonLines has not returned" in line:
            break
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 130
    assert time.monotonic() - asked < STOP_S
    told = errors.split("parts       ")[1].split(":")[0]
    assert len(rows(tmp_path / "records")) == int(told)
    os.close(output)


def test_kill_9_leaves_a_whole_store_that_the_next_run_continues(long_line, bundle_path, tmp_path):
    arguments = ["--camera", long_line, "--bundle", bundle_path, "--json"]
    with running(*arguments, "--fps", 60, cwd=tmp_path) as run:
        # beyond the first commit, in the middle of pictures and rows
        run.wait_for_count(90)
        run.signal(signal.SIGKILL)
        assert run.ended() == -signal.SIGKILL
    told = {verdict["frame_index"]: verdict for verdict in run.verdicts}
    kept = rows(tmp_path / "records")
    # commit_every_ms is 500, at 60 verdicts a second; a row may be on disk whose line was still in the pipe
    assert len(kept) >= 90 - 60
    assert [row[0] for row in kept] == list(range(len(kept)))
    assert all(told[index]["score"] == score for index, _, score in kept if index in told)

    again = edge(*arguments, "--frames", 6, cwd=tmp_path)
    assert again.returncode == 0
    after = rows(tmp_path / "records", "run_id, frame_index, image, image_state, id")
    assert [row[:2] for row in after[-6:]] == [(2, index) for index in range(6)]
    assert len(after) == len(kept) + 6
    assert "waiting" not in {row[3] for row in after}
    for picture in [row[2] for row in after if row[2]]:
        assert (tmp_path / "records" / picture).stat().st_size > 0
    one_of_each_run = [next(row[4] for row in after if row[0] == run_id and row[2]) for run_id in (1, 2)]
    for row_id in one_of_each_run:
        assert edge("replay", row_id, cwd=tmp_path).stdout.splitlines()[-1].startswith("same: ")
