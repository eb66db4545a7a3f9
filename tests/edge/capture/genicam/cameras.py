"""What the tests of GenICam cameras share: sources over a scripted driver, and their frames."""

import time
from contextlib import contextmanager

from edge.capture.capture import Capture
from edge.capture.genicam.source import open_genicam
from edge.capture.triggers.hardware_supply import HardwareSupply
from edge.core.config import CameraSettings, FreshnessSettings, TriggerSettings
from edge.core.counters import RunCounters
from tests.fakes import WAIT_S

SCRIPTED = "tests.edge.capture.genicam.scripted_driver"
QUICK = CameraSettings(open_timeout_ms=20_000, read_timeout_ms=500, reopen_first_ms=1, reopen_max_ms=20)
# scripted pictures are small, and look alike
LENIENT = FreshnessSettings(max_age_ms=60_000)


@contextmanager
def source(script, settings=QUICK, *, triggered=False, driver=SCRIPTED):
    opened = open_genicam(f"genicam:{script}", settings, triggered=triggered, driver=driver)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def triggered_line(scripts, settings=QUICK, queue=64):
    """(supply, counters) of a camera with its own trigger that is opened with one script after the other."""
    left, counters = list(scripts), RunCounters()

    def opened():
        return open_genicam(f"genicam:{left.pop(0)}", settings, triggered=True, driver=SCRIPTED)

    capture = Capture(opened, settings, LENIENT, counters, triggered=True)
    try:
        yield HardwareSupply(capture, TriggerSettings(mode="hardware", queue=queue), counters), counters
    finally:
        capture.close()


def taken(supply, count):
    """So many frames of a supply; fewer when they do not come."""
    frames, until_s = [], time.monotonic() + WAIT_S
    while len(frames) < count and time.monotonic() < until_s:
        frame = supply.take(0.05)
        if frame is not None:
            frames.append(frame)
    return frames


def taken_until(supply, last):
    """Frames of a supply up to the scripted picture of this id."""
    frames = taken(supply, 1)
    while frames and shown(frames[-1]) != last:
        frames += taken(supply, 1)
    return frames


def shown(frame):
    """The id of a scripted picture, or the word of what is wrong."""
    if frame.image is None:
        return str(frame.fault.reason)
    return (int(frame.image.min()) - 30) % 200
