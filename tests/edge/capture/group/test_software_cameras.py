"""A group of two GenICam cameras of the wheel's software producer, each with a driver's process of its own."""

import os
import signal
import time
from pathlib import Path

import pytest

from edge.capture.group.cameras import opened_group
from edge.capture.group.supply import TriggeredGroup
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Reason
from tests.fakes import WAIT_S, eventually

pytestmark = pytest.mark.genicam


@pytest.fixture
def group():
    pytest.importorskip("harvesters", reason="the extra `genicam` is not installed")
    import genicam

    producer = Path(genicam.__file__).parent / "viky.cti"
    if not producer.exists():
        pytest.skip("this genicam wheel has no software producer (viky.cti)")
    settings = Settings.model_validate(
        {
            "camera": {
                "genicam": {"producers": [str(producer)]}, "open_timeout_ms": 20_000, "reopen_first_ms": 1,
                "reopen_max_ms": 20,
            },
            # its pictures are a ball on white
            "freshness": {"saturated_share": 1.0},
            "trigger": {"mode": "plc", "settle_ms": 0, "frame_timeout_ms": 2000, "queue": 64},
            "plc": {"port": 15020},
            "group": {
                "cameras": [
                    {"name": "left", "source": "genicam:0"},
                    {"name": "right", "source": "genicam:1", "camera": {"genicam": {"pixel_format": "Mono8"}}},
                ]
            },
        }
    )  # fmt: skip
    counters = RunCounters()
    opened = opened_group(settings, counters)
    yield TriggeredGroup(opened, settings.trigger, counters), opened, counters
    opened.close()


def part(supply):
    """The frame of the next part."""
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        frame = supply.take(0.05)
        if frame is not None and frame.part is not None:
            return frame
    raise AssertionError("no part came")


def test_a_killed_driver_costs_its_parts_and_the_group_comes_back(group):
    supply, opened, counters = group
    for number in range(3):
        supply.fire(f"P{number}", "")
        frame = part(supply)
        assert frame.part.number == f"P{number}" and frame.image.shape == (400, 800, 3)
        assert [view.frame.fault for view in frame.views] == [None, None]
        assert frame.captured_ns == min(view.frame.captured_ns for view in frame.views)
    right = opened.cameras[1].capture
    os.kill(right._source.pid, signal.SIGKILL)
    assert eventually(lambda: opened.cameras[1].counters.camera_state == "lost")
    supply.fire("P3", "")
    frame = part(supply)
    assert frame.views[0].frame.image is not None
    # its driver may have been started again within the time-out
    assert frame.views[1].frame.fault is None or frame.views[1].frame.fault.reason is Reason.NO_FRAME
    assert eventually(lambda: supply.take(0.01) is None and counters.camera_state == "running")
    supply.fire("P4", "")
    assert all(view.frame.fault is None for view in part(supply).views)
    assert counters.reconnects == 1
