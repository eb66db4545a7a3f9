"""What the tests of groups share: live cameras that show what a test gives them, together."""

from contextlib import contextmanager

from edge.capture.capture import Capture
from edge.capture.group.cameras import CameraGroup, OpenCamera
from edge.core.config import CameraSettings, FreshnessSettings
from edge.core.counters import RunCounters

LENIENT = FreshnessSettings(max_age_ms=60_000)
PATIENT = CameraSettings(read_timeout_ms=60_000, reopen_first_ms=1, reopen_max_ms=4)


@contextmanager
def group_of(openers, camera=PATIENT, *, triggered=False):
    """(group, counters of the line) of named cameras. openers: name → what opens the source, again and again."""
    counters = RunCounters()
    opened = []
    for name, opener in openers.items():
        own = RunCounters()
        opened.append(OpenCamera(name, Capture(opener, camera, LENIENT, own, triggered=triggered), own))
    group = CameraGroup(opened, counters)
    try:
        yield group, counters
    finally:
        group.close()
