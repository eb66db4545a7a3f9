"""Aravis' fake GigE camera: a picture with lost packets is never judged, and a camera that was away comes back."""

import fcntl
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edge.capture.capture import Capture
from edge.capture.genicam.source import open_genicam
from edge.capture.triggers.hardware_supply import HardwareSupply
from edge.core.config import CameraSettings, FreshnessSettings, InspectionSettings, Settings, TriggerSettings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision, Reason
from edge.inspection.loop import run_loop
from tests.fakes import BrightnessBackend, ListSink, eventually, inspector

pytestmark = pytest.mark.aravis

DRIVER = "tests.edge.capture.genicam.aravis_driver"
ADDRESS = "127.0.0.1"
PROGRAM = shutil.which("arv-fake-gv-camera-0.8")
# 17 packets a picture: at 5 % loss less than half of the pictures are whole
PACKET_BYTES = 4000
LOST_PER_THOUSAND = 50
CAMERA = CameraSettings(
    open_timeout_ms=20_000,
    reopen_first_ms=100,
    reopen_max_ms=500,
    genicam={"packet_bytes": PACKET_BYTES},
)


def start_camera(lost_per_thousand=0):
    """A camera that is found on loopback."""
    command = [PROGRAM, "-i", ADDRESS, "-r", str(lost_per_thousand)]
    camera = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # it says nothing when it is there
    time.sleep(0.3)
    return camera


def end(camera):
    camera.kill()
    camera.wait()


@pytest.fixture(autouse=True)
def only_camera():
    """Where Aravis is installed; other tests of this machine wait, since all fake cameras have one address."""
    if PROGRAM is None:
        pytest.skip("Aravis' fake camera is not installed: apt-get install aravis-tools gir1.2-aravis-0.8")
    importing = "import sys; sys.path.append('/usr/lib/python3/dist-packages'); import gi; "
    importing += "gi.require_version('Aravis', '0.8'); from gi.repository import Aravis"
    if subprocess.run([sys.executable, "-c", importing], capture_output=True).returncode:
        pytest.skip("Aravis cannot be imported by this Python: gir1.2-aravis-0.8, and python3-gi of the same version")
    with (Path(tempfile.gettempdir()) / "edge-inspect-fake-camera.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def lossy():
    camera = start_camera(LOST_PER_THOUSAND)
    yield camera
    end(camera)


class Line:
    """The loop over the fake camera, in a thread; `verdicts` of a sink."""

    def __init__(self, *, triggered):
        self.counters, self.sink, self._stop = RunCounters(), ListSink(), threading.Event()
        self.capture = Capture(
            lambda: open_genicam(f"genicam:{ADDRESS}", CAMERA, driver=DRIVER, triggered=triggered),
            CAMERA, FreshnessSettings(), self.counters, triggered=triggered,
        )  # fmt: skip
        supply = self.capture
        settings = Settings(inspection=InspectionSettings(deadline_ms=1000))
        if triggered:
            supply = HardwareSupply(self.capture, TriggerSettings(mode="hardware", queue=16), self.counters)
        self._thread = threading.Thread(
            target=run_loop,
            args=(supply, inspector(BrightnessBackend()), [self.sink], settings, self.counters),
            kwargs={"stop": self._stop},
        )
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self.capture.close()

    def count(self, reason=None):
        return sum(reason in (None, verdict.reason) for verdict in self.verdicts)

    @property
    def verdicts(self):
        return list(self.sink.verdicts)

    @property
    def inspected(self):
        return [verdict for verdict in self.verdicts if verdict.decision is not Decision.INVALID]


def number_drawn_in(image):
    """The number of the picture that the fake camera drew, modulo 255; None when it is not whole."""
    grey = image[:, :, 0].astype(int)
    rows, columns = np.indices(grey.shape)
    return int(grey[0, 0]) if (grey == (grey[0, 0] + rows + columns) % 255).all() else None


@pytest.mark.parametrize("triggered", [False, True])
def test_of_a_network_that_loses_packets_only_whole_pictures_are_judged(lossy, triggered):
    with Line(triggered=triggered) as line:
        assert eventually(lambda: line.count(Reason.INCOMPLETE) >= 30 and len(line.inspected) >= 20, 60)
    # of a picture no packet at all may have come: then its number tells that it is missing
    lost = (Reason.INCOMPLETE, Reason.MISSED_FRAME) if triggered else (Reason.INCOMPLETE,)
    judged = []
    for place, (frame, verdict) in enumerate(zip(line.sink.frames, line.sink.verdicts, strict=True)):
        if verdict.decision is Decision.INVALID:
            assert verdict.reason in lost and frame.image is None
        else:
            judged.append((place, number_drawn_in(frame.image)))
    assert all(number is not None for _, number in judged)
    if triggered:
        # every picture that the camera drew has its place, also where it did not come whole
        (first_place, first), *others = judged
        assert [(number - first) % 255 for _, number in others] == [(place - first_place) % 255 for place, _ in others]
        assert [frame.part.trigger for frame in line.sink.frames] == list(range(1, len(line.sink.frames) + 1))


@pytest.mark.parametrize("triggered", [False, True])
def test_a_camera_that_was_killed_and_started_again_is_taken_up(triggered):
    camera = start_camera()
    try:
        with Line(triggered=triggered) as line:
            assert eventually(lambda: len(line.inspected) >= 3, 30)
            end(camera)
            assert eventually(lambda: line.count(Reason.NO_FRAME) >= 2, 30)
            before = len(line.inspected)
            camera = start_camera()
            assert eventually(lambda: len(line.inspected) >= before + 3, 30)
            assert line.counters.reconnects == 1
            assert line.counters.camera_state == "running"
    finally:
        end(camera)


def test_an_input_that_never_triggers_is_no_fault():
    camera = start_camera()
    settings = CAMERA.model_copy(
        update={"read_timeout_ms": 300, "genicam": CAMERA.genicam.model_copy(update={"trigger_source": "Line0"})}
    )
    counters = RunCounters()
    try:
        capture = Capture(
            lambda: open_genicam(f"genicam:{ADDRESS}", settings, driver=DRIVER, triggered=True),
            settings, FreshnessSettings(), counters, triggered=True,
        )  # fmt: skip
        supply = HardwareSupply(capture, TriggerSettings(mode="hardware"), counters)
        # long enough for the driver to ask the camera whether it is there
        until_s = time.monotonic() + 2.5
        while time.monotonic() < until_s:
            assert supply.take(0.1) is None
        assert (counters.stalls, counters.reconnects, counters.camera_state) == (0, 0, "running")
        capture.close()
    finally:
        end(camera)
