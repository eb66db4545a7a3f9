"""A GenICam camera in a process of its own: whole pictures only, every gap told, and its end noticed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.capture.sources import names_files, open_source
from edge.core.config import CameraSettings
from edge.core.datatypes import Part, Reason
from edge.core.errors import CameraError, ConfigError
from edge.core.files.settings_file import load_settings
from tests.edge.capture.genicam.cameras import QUICK, shown, source, taken, taken_until, triggered_line
from tests.fakes import WAIT_S, eventually

ROOT = Path(__file__).parents[4]


def is_running(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_pictures_come_as_the_camera_took_them():
    with source("1 2 3") as camera:
        frames = [camera.read() for _ in range(3)]
        assert [shown(frame) for frame in frames] == [1, 2, 3]
        assert [frame.index for frame in frames] == [0, 1, 2]
        assert frames[0].image.shape == (16, 24, 3)
        assert 0 <= time.perf_counter_ns() - frames[-1].captured_ns < WAIT_S * 1e9
        assert camera.dropped == 0


def test_memory_of_a_picture_that_was_read_is_used_again():
    """More pictures than the shared memory has places; whatever is dropped on a slow machine, later ones come."""
    with source(" ".join(f"{number} wait1" for number in range(1, 101))) as camera:
        seen = [shown(camera.read()) for _ in range(6)]
    assert seen == sorted(set(seen))


def test_a_free_running_camera_counts_what_never_came():
    with source("1 2 6 incomplete 8") as camera:
        assert [shown(camera.read()) for _ in range(5)] == [1, 2, 6, "incomplete", 8]
        assert camera.dropped == 3


def test_of_a_triggered_camera_each_picture_that_never_came_is_told():
    with source("1 2 5 incomplete 8 300", triggered=True) as camera:
        words = [1, 2, "missed_frame", "missed_frame", 5, "incomplete", "missed_frame"]
        frames = [camera.read() for _ in range(10)]
        # before 8 one is missing beside the incomplete one; the order of the two is not known
        assert [shown(frame) for frame in frames[:9]] == [*words[:5], "incomplete", "missed_frame", 8, "missed_frame"]
        assert "291 parts have no picture" in frames[8].fault.detail
        assert shown(frames[9]) == 300 % 200


def test_a_camera_that_is_not_there_says_so():
    with pytest.raises(CameraError, match="no camera"), source("none"):
        pass


@pytest.mark.parametrize(
    ("word", "says"),
    [("crash", "was killed by SIGSEGV"), ("hang", "has not answered for 1000 ms"), ("fail", "the cable is off")],
)
def test_a_driver_that_fails_is_a_lost_camera(word, says):
    with source(f"1 {word}") as camera:
        assert shown(camera.read()) == 1
        with pytest.raises(CameraError, match=says):
            camera.read()
    assert not is_running(camera.pid)


def test_without_pictures_a_free_running_camera_is_lost_in_the_end():
    with source("1", QUICK.model_copy(update={"read_timeout_ms": 100})) as camera:
        camera.read()
        with pytest.raises(CameraError, match=r"no picture came for 500 ms"):
            camera.read()


def test_a_read_that_waits_for_a_trigger_can_be_interrupted():
    with source("wait60000", triggered=True) as camera:
        camera.interrupt()
        with pytest.raises(CameraError, match="closed"):
            camera.read()


PARENT = """
import sys
from tests.edge.capture.genicam.cameras import source
with source(sys.argv[1]) as camera:
    camera.read()
    print(camera.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("script", ["1", "1 hang"])
def test_the_driver_dies_with_its_parent_even_while_it_hangs(script):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.send_signal(signal.SIGKILL)
    assert eventually(lambda: not is_running(child))


def test_each_trigger_is_one_frame_in_its_order_and_silence_is_no_fault():
    with triggered_line(["1 2 wait1500 4 incomplete5 6"]) as (supply, counters):
        frames = taken(supply, 6)
        assert [shown(frame) for frame in frames] == [1, 2, "missed_frame", 4, "incomplete", 6]
        assert [frame.part for frame in frames] == [Part(trigger=count) for count in range(1, 7)]
        assert [frame.index for frame in frames] == list(range(6))
        # a pause of three times read_timeout_ms, and then the end of the script
        until_s = time.monotonic() + 1.2
        while time.monotonic() < until_s:
            assert supply.take(0.1) is None
        assert (counters.stalls, counters.triggers, counters.camera_state) == (0, 6, "running")


def test_before_its_first_part_a_triggered_camera_runs():
    with triggered_line(["wait60000"]) as (supply, counters):
        assert supply.take(0.0) is None
        assert counters.camera_state == "running"


def test_a_triggered_camera_that_is_lost_is_no_frame_until_it_is_back():
    with triggered_line(["1 crash", "none", "7 8"]) as (supply, counters):
        frames = taken(supply, 2)
        assert [shown(frame) for frame in frames] == [1, "no_frame"]
        assert "SIGSEGV" in frames[1].fault.detail
        # starting again may take longer than read_timeout_ms
        later = [shown(frame) for frame in taken_until(supply, 8)]
        assert [word for word in later if word != "no_frame"] == [7, 8]
        assert (counters.reconnects, counters.camera_state) == (1, "running")


def test_while_a_triggered_camera_is_away_there_is_one_no_frame_for_each_time_out():
    patient = QUICK.model_copy(update={"read_timeout_ms": 100, "reopen_first_ms": 600, "reopen_max_ms": 600})
    with triggered_line(["fail", "1"], patient) as (supply, _counters):
        frames = taken(supply, 4)
        assert [shown(frame) for frame in frames[:3]] == ["no_frame"] * 3
        assert "the cable is off" in frames[1].fault.detail


def test_parts_beyond_the_queue_lose_their_picture_and_keep_their_place():
    with triggered_line(["1 2 3 incomplete4 5"], queue=2) as (supply, counters):
        assert eventually(lambda: counters.triggers == 5)
        frames = taken(supply, 5)
        assert [shown(frame) for frame in frames] == [1, 2, "overrun", "incomplete", "overrun"]
        assert "trigger.queue" in frames[2].fault.detail


def test_only_a_genicam_camera_may_have_its_own_trigger(tmp_path):
    assert not names_files("genicam:") and not names_files(" genicam:DA123 ")
    for spec in ("demo", "/dev/video0", "rtsp://10.0.0.7/stream"):
        with pytest.raises(CameraError, match=r"trigger\.mode hardware needs a GenICam camera"):
            open_source(spec, CameraSettings(), triggered=True)
    (tmp_path / "c.yaml").write_text("trigger: {mode: hardware}\ncamera: {skip_first_frames: 3}\n")
    with pytest.raises(ConfigError, match="do not go together"):
        load_settings(tmp_path / "c.yaml")


def test_a_part_whose_picture_nobody_took_in_time_is_told(tmp_path):
    ids = " ".join(str(number) for number in range(1, 31))
    with source(f"{ids} touch:{tmp_path}/done", triggered=True) as camera:
        # 16 pictures have a place in the shared memory
        assert eventually(lambda: (tmp_path / "done").exists())
        words = [shown(camera.read()) for _ in range(30)]
        assert words[:16] == list(range(1, 17))
        assert words[16:] == [str(Reason.OVERRUN)] * 14
