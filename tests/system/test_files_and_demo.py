"""Files and the demo line, from disk to the verdict."""

import threading

import cv2
import numpy as np

from edge.capture.capture import Capture
from edge.capture.sources import open_demo, open_source
from edge.core.config import CameraSettings, Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision
from edge.inspection.loop import run_loop
from tests.fakes import BrightnessBackend, ListSink, inspector, picture, write_picture


def inspect(open_frames, backend=None, **limits):
    """Verdicts and counters of a run over one source."""
    settings, sink, counters = Settings(), ListSink(), RunCounters()
    capture = Capture(open_frames, settings.camera, settings.freshness, counters)
    try:
        run_loop(capture, inspector(backend), [sink], settings, counters, stop=threading.Event(), **limits)
    finally:
        capture.close()
    return sink, counters


def test_a_slow_model_sees_every_frame_of_a_video_in_order(tmp_path):
    path = tmp_path / "line.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (64, 48))
    for number in range(40):
        writer.write(np.full((48, 64, 3), 20 + 5 * number, np.uint8))
    writer.release()
    sink, counters = inspect(lambda: open_source(str(path), CameraSettings()), BrightnessBackend(slow_s=0.01))
    assert [round((255 * verdict.score - 20) / 5) for verdict in sink.verdicts] == list(range(40))
    assert counters.dropped == 0
    assert counters.camera_state == "ended"


def test_a_folder_with_a_bad_file_goes_on_to_its_end(tmp_path):
    for number in range(5):
        write_picture(tmp_path / f"{number}.png", picture(number))
    (tmp_path / "2.png").write_bytes(b"")
    write_picture(tmp_path / "3.png", np.zeros((60, 80), np.uint8))
    sink, counters = inspect(lambda: open_source(str(tmp_path), CameraSettings()))
    assert sink.reasons == ["below_threshold", "below_threshold", "undecodable", "black", "below_threshold"]
    assert (counters.frames, counters.invalid) == (5, 2)


def test_the_demo_line_runs_as_a_live_camera(tmp_path):
    pictures = [write_picture(tmp_path / f"{number}.png", picture(number)) for number in range(4)]
    sink, counters = inspect(lambda: open_demo(CameraSettings(fps=60.0), pictures), max_frames=12)
    assert [verdict.frame_index for verdict in sink.verdicts] == list(range(12))
    assert {verdict.decision for verdict in sink.verdicts} == {Decision.OK}
    assert counters.stalls == 0
