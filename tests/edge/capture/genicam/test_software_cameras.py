"""The software producer of the genicam wheel: three cameras through harvesters and a real GenTL file."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from edge.capture.capture import Capture
from edge.capture.sources import open_source
from edge.core.config import CameraSettings, FreshnessSettings
from edge.core.counters import RunCounters
from edge.core.datatypes import Reason
from edge.core.errors import CameraError, MissingDependency, install_extra
from tests.edge.capture.genicam.cameras import source
from tests.fakes import WAIT_S, eventually

pytestmark = pytest.mark.genicam


@pytest.fixture
def producer():
    pytest.importorskip("harvesters", reason="the extra `genicam` is not installed")
    import genicam

    file = Path(genicam.__file__).parent / "viky.cti"
    if not file.exists():
        pytest.skip("this genicam wheel has no software producer (viky.cti)")
    return str(file)


def settings_with(producer, **genicam):
    return CameraSettings(open_timeout_ms=20_000, reopen_first_ms=1, genicam={"producers": [producer], **genicam})


def frames_of(spec, settings, count):
    camera = open_source(spec, settings)
    try:
        return camera.name, [camera.read() for _ in range(count)]
    finally:
        camera.close()


def test_a_camera_is_found_by_its_serial_number_or_its_id(producer):
    name, frames = frames_of("genicam:1", settings_with(producer), 3)
    assert name == "genicam:1"
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert all(frame.image.shape == (400, 400, 3) and frame.fault is None for frame in frames)
    assert 0 <= time.perf_counter_ns() - frames[-1].captured_ns < WAIT_S * 1e9
    assert frames_of("genicam:VikyTL_DEV_blue", settings_with(producer), 1)[0] == "genicam:2"


def test_its_ball_moves_in_colour_and_in_grey(producer):
    _, (first, second) = frames_of("genicam:0", settings_with(producer), 2)
    assert (first.image != second.image).any()
    _, (grey,) = frames_of("genicam:0", settings_with(producer, pixel_format="Mono8"), 1)
    assert np.ptp(grey.image.astype(int), axis=2).max() == 0 and np.ptp(grey.image) > 100


def test_size_and_rate_are_set_in_the_camera(producer):
    small = settings_with(producer).model_copy(update={"width_px": 200, "height_px": 300, "fps": 100.0})
    _, frames = frames_of("genicam:0", small, 2)
    assert [frame.image.shape for frame in frames] == [(300, 200, 3)] * 2
    with pytest.raises(CameraError, match=r"AcquisitionFrameRate = 1000\.0 \(camera\.fps\); it takes 1\.0 to 200\.0"):
        open_source("genicam:0", small.model_copy(update={"fps": 1000.0}))


@pytest.mark.parametrize(
    ("spec", "genicam", "says"),
    [
        ("genicam:", {}, r"3 cameras fit: 0 \(Machine Vision Games"),
        ("genicam:4711", {}, r"no such camera \(present: 0 \(.*, 2 \("),
        ("genicam:0", {"pixel_format": "BayerRG12Packed"}, "it takes RGBa8, Mono8"),
        ("genicam:0", {"exposure_us": 100.0}, r"has no ExposureTime, which camera\.genicam\.exposure_us needs"),
    ],
)
def test_what_a_camera_cannot_do_is_refused_in_words(producer, spec, genicam, says):
    with pytest.raises(CameraError, match=says):
        open_source(spec, settings_with(producer, **genicam))


def test_a_camera_without_a_trigger_cannot_be_triggered(producer):
    with pytest.raises(CameraError, match=r"has no TriggerMode, which trigger\.mode hardware needs"):
        open_source("genicam:0", settings_with(producer), triggered=True)


def test_a_producer_that_cannot_be_loaded_is_named(producer, tmp_path, monkeypatch):
    (tmp_path / "broken.cti").write_text("no library")
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(tmp_path))
    with pytest.raises(CameraError, match=r"broken\.cti: this GenTL producer cannot be loaded"):
        open_source("genicam:", CameraSettings(open_timeout_ms=20_000))
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(Path(producer).parent))
    assert frames_of("genicam:0", CameraSettings(open_timeout_ms=20_000), 1)[0] == "genicam:0"


def test_a_driver_that_is_killed_or_stands_still_is_started_again(producer):
    settings, counters, cameras = settings_with(producer), RunCounters(), []

    def opened():
        cameras.append(open_source("genicam:0", settings))
        return cameras[-1]

    # its pictures are white but for the ball
    capture = Capture(opened, settings, FreshnessSettings(saturated_share=1.0), counters)
    try:
        for back, sign in enumerate((signal.SIGKILL, signal.SIGSTOP), start=1):
            assert eventually(lambda: is_picture(capture.take(0.1)))
            os.kill(cameras[-1].pid, sign)
            assert eventually(lambda: is_no_frame(capture.take(0.1)), 20)
            assert eventually(lambda back=back: counters.reconnects == back, 20)
    finally:
        capture.close()


def is_picture(frame):
    return frame is not None and frame.image is not None and frame.fault is None


def is_no_frame(frame):
    return frame is not None and frame.fault is not None and frame.fault.reason is Reason.NO_FRAME


def test_a_buffer_that_harvesters_throws_away_is_incomplete_and_no_gap(producer):
    driver = "tests.edge.capture.genicam.losing_driver"
    with source("0", settings_with(producer), driver=driver) as camera:
        frames = [camera.read() for _ in range(12)]
        reasons = [None if frame.fault is None else str(frame.fault.reason) for frame in frames]
        assert reasons == [None, None, "incomplete"] * 4
        assert camera.dropped == 0


def test_without_harvesters_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("edge.capture.genicam.source.find_spec", lambda package: None)
    with pytest.raises(MissingDependency) as caught:
        open_source("genicam:", CameraSettings())
    assert install_extra("genicam") in caught.value.fix
