"""A network camera that is killed, comes back and freezes, from the socket to the verdict."""

import threading
from contextlib import contextmanager

from edge.capture.capture import Capture
from edge.capture.sources import open_source
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision
from edge.inspection.loop import run_loop
from tests.fakes import WAIT_S, ListSink, eventually, inspector

SETTINGS = Settings.model_validate(
    {
        "camera": {"open_timeout_ms": 2000, "read_timeout_ms": 300, "reopen_first_ms": 20, "reopen_max_ms": 100},
        "freshness": {"max_age_ms": 5000},
        "inspection": {"deadline_ms": 10_000},
    }
)
# camera and line share this process: on busy cores the camera itself may pause for longer than 300 ms
PATIENT = SETTINGS.model_copy(update={"camera": SETTINGS.camera.model_copy(update={"read_timeout_ms": 10_000})})


class Line:
    """A capture of the camera and a running loop."""

    def __init__(self, camera, settings):
        self.sink, self.counters, self.stop = ListSink(), RunCounters(), threading.Event()
        self.capture = Capture(
            lambda: open_source(camera.url, settings.camera), settings.camera, settings.freshness, self.counters
        )
        self.thread = threading.Thread(
            target=run_loop,
            args=(self.capture, inspector(), [self.sink], settings, self.counters),
            kwargs={"stop": self.stop},
            daemon=True,
        )
        self.thread.start()

    def inspects(self, count=3):
        """Wait until the newest `count` verdicts are of inspected frames."""
        return self.sink.wait_until(
            lambda verdicts: len(verdicts) >= count and all(one.decision is Decision.OK for one in verdicts[-count:])
        )

    def hears(self, reason, count):
        return self.sink.wait_until(lambda verdicts: sum(str(one.reason) == reason for one in verdicts) >= count)


@contextmanager
def running(camera, settings=SETTINGS):
    line = Line(camera, settings)
    try:
        yield line
    finally:
        line.stop.set()
        line.thread.join(WAIT_S)
        line.capture.close()


def test_a_stream_is_inspected_frame_after_frame(camera):
    with running(camera, PATIENT) as line:
        assert line.inspects(10)
    assert line.counters.stalls == 0
    assert [verdict.frame_index for verdict in line.sink.verdicts] == list(range(len(line.sink.verdicts)))


def test_a_camera_that_is_killed_gives_invalid_verdicts_until_it_comes_back(camera):
    with running(camera) as line:
        assert line.inspects()
        camera.kill()
        assert line.hears("no_frame", 3)
        assert line.counters.camera_state == "lost"
        camera.start()
        assert line.inspects()
        assert line.counters.reconnects >= 1
        assert eventually(lambda: line.counters.camera_state == "running")
    missing = [verdict.detail for verdict in line.sink.verdicts if str(verdict.reason) == "no_frame"]
    assert missing[0].startswith("the camera was lost: ")
    assert "opening it again failed" in missing[-1] and "does not answer" in missing[-1]
    assert {verdict.decision for verdict in line.sink.verdicts} == {Decision.OK, Decision.INVALID}
    assert line.counters.stalls == len(missing)


def test_the_password_is_in_no_verdict_and_no_frame(camera):
    with running(camera) as line:
        assert line.inspects()
        camera.kill()
        assert line.hears("no_frame", 3)
        camera.start()
    told = " ".join(verdict.detail for verdict in line.sink.verdicts)
    shown = {frame.source for frame in line.sink.frames}
    assert "hunter2" not in told
    assert shown == {f"http://***@127.0.0.1:{camera.port}/stream.mjpg"}


def test_a_stream_that_freezes_is_frozen_and_inspected_again_when_it_moves(camera):
    with running(camera) as line:
        assert line.inspects()
        camera.frozen.set()
        assert line.hears("frozen", 3)
        camera.frozen.clear()
        assert line.inspects()
    assert eventually(lambda: line.counters.camera_state == "closed")


def test_a_stream_that_falls_silent_with_its_connection_open_is_not_silence_here(camera):
    with running(camera) as line:
        assert line.inspects()
        camera.silent.set()
        assert line.hears("no_frame", 3)
        camera.silent.clear()
        assert line.inspects()
