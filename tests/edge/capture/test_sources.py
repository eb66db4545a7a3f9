import os
import re
import subprocess
import sys
import time
from itertools import pairwise

import cv2
import numpy as np
import pytest

import edge.capture.sources
from edge.capture import opencv_camera
from edge.capture.file_sources import Pace
from edge.capture.opencv_camera import OpenCvCamera
from edge.capture.sources import open_demo, open_source
from edge.core.config import CameraSettings
from edge.core.datatypes import Reason
from edge.core.errors import CameraError
from tests.fakes import picture, write_picture
from tests.paths import ROOT

SETTINGS = CameraSettings(open_timeout_ms=1000, read_timeout_ms=500)


def read_all(source):
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    return frames


def write_video(path, count, size=(64, 48)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, size)
    for number in range(count):
        # 5 levels apart: JPEG moves a flat grey by one at most
        writer.write(np.full((size[1], size[0], 3), 5 * number, np.uint8))
    writer.release()
    return path


# folders, patterns, single pictures


def test_a_folder_gives_every_picture_in_natural_order_and_ends(tmp_path):
    for number in (10, 9, 1):
        write_picture(tmp_path / f"part{number}.png", picture(number))
    source = open_source(str(tmp_path), SETTINGS)
    frames = read_all(source)
    assert not source.live
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.source for frame in frames] == [str(tmp_path / f"part{number}.png") for number in (1, 9, 10)]
    assert all((frame.image == picture(number)).all() for frame, number in zip(frames, (1, 9, 10), strict=True))


def test_a_pattern_and_a_single_picture_are_sources_too(tmp_path):
    for name in ("a1.png", "a2.png", "b1.png"):
        write_picture(tmp_path / name, picture(1))
    assert len(read_all(open_source(f"{tmp_path}/a*.png", SETTINGS))) == 2
    assert len(read_all(open_source(str(tmp_path / "b1.png"), SETTINGS))) == 1
    assert len(read_all(open_source((tmp_path / "b1.png").as_uri(), SETTINGS))) == 1


def test_a_bad_file_is_a_fault_and_the_next_one_is_read(tmp_path):
    whole = write_picture(tmp_path / "5.png", picture(1)).read_bytes()
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "2.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "3.jpg").write_bytes(cv2.imencode(".jpg", picture(1))[1].tobytes()[:-300])
    write_picture(tmp_path / "4.tiff", picture(1).astype(np.float32))
    frames = read_all(open_source(str(tmp_path), SETTINGS))
    assert [frame.fault and frame.fault.reason for frame in frames] == [Reason.UNDECODABLE] * 4 + [None]
    assert frames[0].image is None
    assert frames[0].fault.detail == "1.png: the file is empty (0 bytes)"


def test_a_picture_that_vanishes_after_the_listing_is_a_fault(tmp_path):
    path = write_picture(tmp_path / "1.png", picture(1))
    source = open_source(str(tmp_path), SETTINGS)
    path.unlink()
    assert "No such file" in read_all(source)[0].fault.detail


def test_sensor_bits_reach_the_files(tmp_path):
    write_picture(tmp_path / "deep.png", np.full((4, 4), 2048, np.uint16))
    frames = read_all(open_source(str(tmp_path), CameraSettings(sensor_bits=12)))
    assert (frames[0].image == 128).all()


def test_camera_fps_paces_files(tmp_path):
    for number in range(4):
        write_picture(tmp_path / f"{number}.png", picture(number))
    # before the first one, which a busy machine may stamp late
    began_ns = time.perf_counter_ns()
    frames = read_all(open_source(str(tmp_path), CameraSettings(fps=50.0)))
    assert frames[-1].captured_ns - began_ns >= 3 * 20e6 - 1e6


def test_a_pace_keeps_its_rhythm_and_does_not_catch_up_in_a_burst():
    now = [10_000_000_000]
    pace = Pace(10.0, lambda: now[0])
    pace.wait()
    now[0] += 1_000_000_000
    pace.wait()
    started = time.perf_counter()
    pace.end()
    assert pace._next_ns == now[0] + 100_000_000
    pace.wait()
    assert time.perf_counter() - started < 0.05


# videos


def test_a_video_gives_every_frame_in_order(tmp_path):
    source = open_source(str(write_video(tmp_path / "line.avi", 40)), SETTINGS)
    frames = read_all(source)
    assert not source.live
    assert [round(float(frame.image.mean()) / 5) for frame in frames] == list(range(40))


def test_a_video_that_breaks_off_ends_with_a_fault_that_says_so(tmp_path):
    whole = write_video(tmp_path / "line.avi", 40).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    frames = read_all(open_source(str(tmp_path / "cut.avi"), SETTINGS))
    assert 1 < len(frames) < 40
    assert frames[-1].fault.reason is Reason.UNDECODABLE
    size = len(whole)
    assert frames[-1].fault.detail == (
        f"the video breaks off after {len(frames) - 1} frames ({size // 2} of {size} bytes)"
    )


def test_a_damaged_video_ends(tmp_path):
    content = bytearray(write_video(tmp_path / "line.avi", 40).read_bytes())
    start = len(content) // 3
    content[start : start + 4000] = np.random.default_rng(0).bytes(4000)
    (tmp_path / "line.avi").write_bytes(content)
    frames = read_all(open_source(str(tmp_path / "line.avi"), SETTINGS))
    assert 0 < len(frames) <= 41


def test_a_file_that_is_no_video_is_a_camera_error(tmp_path, subtests):
    for content in [b"", b"no video at all"]:
        with subtests.test(content=content):
            (tmp_path / "line.avi").write_bytes(content)
            with pytest.raises(CameraError, match=f"{len(content)} bytes that cannot be opened as a video"):
                open_source(str(tmp_path / "line.avi"), SETTINGS)


# the demo


def demo_pictures(tmp_path, count):
    folder = tmp_path / "good"
    folder.mkdir()
    return [write_picture(folder / f"{number}.png", picture(number)) for number in range(count)]


def test_the_demo_is_live_at_its_rate_and_repeats_for_ever(tmp_path):
    source = open_demo(CameraSettings(fps=200.0), demo_pictures(tmp_path, 3))
    frames = [source.read() for _ in range(12)]
    source.close()
    assert source.live and source.name == "demo"
    # a late frame is not made up for, so the run can only be longer
    assert frames[-1].captured_ns - frames[0].captured_ns >= 11 * 5e6 - 1e6
    assert [frame.source for frame in frames] == ["demo/good/0.png", "demo/good/1.png", "demo/good/2.png"] * 4


@pytest.mark.parametrize("order", [[0, 1, 0, 2, 1], [0, 0, 1, 1], [0, 1, 2, 0]])
def test_the_demo_never_shows_one_part_twice_in_a_row(tmp_path, order):
    pictures = demo_pictures(tmp_path, 3)
    source = open_demo(CameraSettings(fps=10000.0), [pictures[number] for number in order])
    shown = [source.read().source for _ in range(30)]
    assert all(first != second for first, second in pairwise(shown))
    assert len(set(shown)) == len(set(order))


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_reader_owns_what_the_demo_shows(tmp_path, repeats):
    source = open_demo(CameraSettings(fps=10000.0), demo_pictures(tmp_path, 1) * repeats)
    source.read().image[:] = 0
    assert (source.read().image == picture(0)).all()


def test_a_damaged_demo_picture_is_a_fault(tmp_path):
    source = open_demo(CameraSettings(fps=10000.0), [tmp_path / "gone.webp"])
    assert source.read().fault.reason is Reason.UNDECODABLE


def test_a_demo_without_its_pictures_is_a_camera_error(monkeypatch):
    def sample_line():
        raise FileNotFoundError("line.txt")

    monkeypatch.setattr(edge.capture.sources, "sample_line", sample_line)
    with pytest.raises(CameraError, match="sample line is missing"):
        open_source("demo", SETTINGS)


# what is not there


def test_a_source_that_is_not_there_is_a_camera_error_with_a_fix(tmp_path, monkeypatch, subtests):
    for spec, said in [
        ("99", "/dev/video99: no such camera"),
        ("/dev/video99", "/dev/video99: no such camera"),
        ("/nowhere/parts", "no such file, folder or camera"),
        ("/nowhere/*.png", "no pictures"),
        ("", "the source is empty"),
        (
            "http://127.0.0.1:9/stream",
            r"no video within 1000 ms: 127\.0\.0\.1:9 does not answer \(Connection refused\)",
        ),
        ("rtsp://127.0.0.1:9/stream", "does not answer"),
        ("http://:notaport/x", "is not a port"),
    ]:
        with subtests.test(spec=spec):
            monkeypatch.chdir(tmp_path)
            with pytest.raises(CameraError, match=said) as caught:
                open_source(spec, SETTINGS)
            assert caught.value.exit_code == 3 and caught.value.fix


def test_an_empty_folder_is_a_camera_error(tmp_path):
    with pytest.raises(CameraError, match="no pictures among 0 files"):
        open_source(str(tmp_path), SETTINGS)


def test_a_device_that_gives_no_video_is_told_from_one_that_is_missing():
    with pytest.raises(CameraError, match="the device is there, but no picture"):
        open_source("/dev/null", SETTINGS)


def test_a_device_without_permission_says_which_group_helps(tmp_path, monkeypatch):
    monkeypatch.setattr(opencv_camera.os, "access", lambda path, mode: False)
    with pytest.raises(CameraError, match="no permission") as caught:
        open_source("/dev/null", SETTINGS)
    assert "group `video`" in caught.value.fix


def test_a_pipeline_without_gstreamer_says_what_to_install(monkeypatch):
    monkeypatch.setattr(opencv_camera, "gstreamer_available", lambda: False)
    with pytest.raises(CameraError, match="built without GStreamer") as caught:
        open_source("rtspsrc location=rtsp://me:secret@cam/1 user-pw=secret ! appsink", SETTINGS)
    assert "python3-opencv" in caught.value.fix
    assert "secret" not in str(caught.value)


def test_a_csi_pipeline_of_a_jetson_reaches_gstreamer_as_it_is(monkeypatch):
    """The pipeline of docs/line/jetson.md: its caps have commas, brackets, colons and equals signs."""
    page = (ROOT / "docs/line/jetson.md").read_text(encoding="utf-8")
    (pipeline,) = re.findall(r'--camera "(nvarguscamerasrc [^"]*)"', page.replace("\\\n", ""))[:1]
    asked = []

    class Opened(Driver):
        def isOpened(self):
            return True

    def video_capture(what, backend, parameters):
        asked.append((what, backend, parameters))
        return Opened((True, (True, picture(1))), stamps_ms=[0.0])

    monkeypatch.setattr(opencv_camera, "gstreamer_available", lambda: True)
    monkeypatch.setattr(cv2, "VideoCapture", video_capture)
    camera = open_source(pipeline, SETTINGS)
    assert camera.live and camera.read().image.shape == picture(1).shape
    ((what, backend, parameters),) = asked
    assert what == pipeline and what.endswith("appsink drop=true max-buffers=1")
    assert backend == cv2.CAP_GSTREAMER
    # what OpenCV before 4.7 refuses
    timeouts = dict(zip(parameters[::2], parameters[1::2], strict=True))
    assert timeouts == {
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: SETTINGS.open_timeout_ms,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC: SETTINGS.read_timeout_ms,
    }


def test_a_pipeline_that_does_not_start_is_a_camera_error(monkeypatch):
    monkeypatch.setattr(opencv_camera, "gstreamer_available", lambda: True)
    with pytest.raises(CameraError, match="does not start"):
        open_source("nosuchelement ! appsink", SETTINGS)


# credentials


def test_an_address_that_fails_shows_no_password():
    with pytest.raises(CameraError) as caught:
        open_source("http://admin:s3cret@127.0.0.1:9/stream", SETTINGS)
    assert "s3cret" not in str(caught.value)


# the driver's answers


class Driver:
    """What cv2.VideoCapture does, from a list of (grabbed, (decoded, buffer)) or exceptions."""

    def __init__(self, *answers, fourcc="YUYV", stamps_ms=()):
        self.answers = list(answers)
        self.released = False
        self.properties = {cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*fourcc)}
        self.stamps_ms = list(stamps_ms)

    def get(self, wanted):
        if wanted == cv2.CAP_PROP_POS_MSEC:
            return self.stamps_ms.pop(0) if self.stamps_ms else 0.0
        return self.properties[wanted]

    def set(self, wanted, value):
        self.properties[wanted] = value
        return True

    def grab(self):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.retrieved = answer[1]
        return answer[0]

    def retrieve(self, image=None):
        decoded, buffer = self.retrieved
        if image is None or buffer is None or (image.shape, image.dtype) != (buffer.shape, buffer.dtype):
            return self.retrieved
        image[:] = buffer
        return decoded, image

    def release(self):
        self.released = True


def test_a_picture_that_lay_in_the_drivers_buffer_is_as_old_as_the_driver_says():
    now_ms = time.perf_counter_ns() / 1e6
    camera = OpenCvCamera(Driver((True, (True, picture(1))), stamps_ms=[now_ms - 3000]), "cam", CameraSettings())
    assert camera.read().captured_ns == pytest.approx((now_ms - 3000) * 1e6, abs=1e3)


def test_a_drivers_stamp_of_another_clock_is_not_believed():
    for stamp_ms in [0.0, -1.0, 1e15]:
        before_ns = time.perf_counter_ns()
        camera = OpenCvCamera(Driver((True, (True, picture(1))), stamps_ms=[stamp_ms]), "cam", CameraSettings())
        # a machine that has just started could have been up for less than the oldest stamp
        assert camera.read().captured_ns >= before_ns or before_ns < opencv_camera.OLDEST_STAMP_NS, stamp_ms


def test_the_jpegs_of_a_device_are_looked_at_before_they_are_decoded():
    whole = cv2.imencode(".jpg", np.tile(picture(1), (8, 8, 1)))[1].tobytes()
    cut = whole[: len(whole) // 3] + b"\xff\xd9"
    driver = Driver(*((True, (True, np.frombuffer(data, np.uint8)[None])) for data in (whole, cut)), fourcc="MJPG")
    camera = OpenCvCamera(driver, "cam", CameraSettings())
    assert driver.properties[cv2.CAP_PROP_CONVERT_RGB] == 0
    frame, broken = camera.read(), camera.read()
    assert frame.original == whole and frame.image.shape == np.tile(picture(1), (8, 8, 1)).shape
    assert broken.image is None and broken.fault.reason is Reason.UNDECODABLE


def test_a_frame_is_stamped_between_grab_and_decoding():
    before_ns = time.perf_counter_ns()
    frame = OpenCvCamera(Driver((True, (True, picture(1)))), "cam", CameraSettings()).read()
    assert before_ns <= frame.captured_ns <= time.perf_counter_ns()
    assert frame.utc.tzinfo is not None and frame.source == "cam"


def test_a_failed_grab_is_a_lost_camera():
    with pytest.raises(CameraError, match="gave no picture"):
        OpenCvCamera(Driver((False, (False, None))), "cam", CameraSettings()).read()


def test_a_camera_that_waits_for_its_trigger_is_asked_again_one_that_is_gone_is_not():
    class Waiting(Driver):
        asked = 0

        def grab(self):
            self.asked += 1
            time.sleep(0.02)
            return super().grab()

    waiting = Waiting((False, (False, None)), (False, (False, None)), (True, (True, picture(1))))
    assert (OpenCvCamera(waiting, "cam", CameraSettings(read_timeout_ms=20)).read().image == picture(1)).all()
    gone = Waiting((False, (False, None)), (True, (True, picture(1))))
    with pytest.raises(CameraError, match="gave no picture"):
        OpenCvCamera(gone, "cam", CameraSettings(read_timeout_ms=10_000)).read()
    assert gone.asked == 1


def test_an_opencv_exception_is_a_lost_camera_without_credentials():
    driver = Driver(cv2.error("cannot read rtsp://admin:s3cret@cam/1"))
    with pytest.raises(CameraError) as caught:
        OpenCvCamera(driver, "cam", CameraSettings()).read()
    assert "s3cret" not in str(caught.value)


def test_a_picture_that_does_not_decode_is_a_fault_and_the_next_one_counts():
    camera = OpenCvCamera(
        Driver((True, (False, None)), (True, (True, np.full((4, 6), 700, np.uint16)))),
        "cam",
        CameraSettings(sensor_bits=10),
    )
    frames = [camera.read(), camera.read()]
    assert frames[0].fault.reason is Reason.UNDECODABLE
    assert frames[1].image.shape == (4, 6, 3) and (frames[1].image == 700 >> 2).all()
    assert [frame.index for frame in frames] == [0, 1]


# the environment that OpenCV reads while it is loaded


def run_python(code, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


PREPARE = """
import os, sys
from edge.capture.opencv_environment import prepare_capture_environment
from edge.core.config import CameraSettings
prepare_capture_environment(CameraSettings(read_timeout_ms=2500))
assert "cv2" not in sys.modules and "numpy" not in sys.modules
print(*(os.environ[name] for name in
    ("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "OPENCV_LOG_LEVEL", "OPENCV_FFMPEG_LOGLEVEL")))
"""


def test_the_environment_is_prepared_without_loading_opencv():
    assert run_python(PREPARE).stdout.split() == ["3", "SILENT", "-8"]


def test_what_the_user_has_set_is_left_alone():
    answer = run_python(PREPARE, OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT="7", OPENCV_LOG_LEVEL="INFO")
    assert answer.stdout.split() == ["7", "INFO", "-8"]


def test_preparing_too_late_is_said():
    assert "OpenCV was loaded before its camera time-out" in run_python("import cv2" + PREPARE).stderr


def test_a_stream_that_fails_prints_nothing_of_its_own():
    code = PREPARE + (
        "from edge.capture.sources import open_source\n"
        "try: open_source('http://admin:s3cret@127.0.0.1:9/x', CameraSettings())\n"
        "except Exception as error: print('said', error.exit_code)\n"
    )
    answer = run_python(code)
    assert "said 3" in answer.stdout
    assert answer.stderr == ""
