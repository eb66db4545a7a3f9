"""Parts that one pulse triggers in two cameras, each with a driver's process of its own: pictures of one part only."""

import time
from contextlib import contextmanager

import pytest

from edge.capture.genicam.source import open_genicam
from edge.capture.group.supply import HardwareGroup
from edge.core.config import TriggerSettings
from edge.core.datatypes import Reason
from tests.edge.capture.genicam.cameras import QUICK, SCRIPTED, shown
from tests.edge.capture.group.groups import group_of
from tests.fakes import WAIT_S, eventually

APART_MS = 100
HARDWARE = TriggerSettings(mode="hardware", frame_timeout_ms=400, queue=64)


@contextmanager
def pulsed(tmp_path, settings=HARDWARE, **scripts):
    """(supply, counters, pulse): `pulse(number)` triggers every camera whose script waits for that number."""
    left = {name: list(script) for name, script in scripts.items()}

    def opener(name):
        words = left[name].pop(0).replace("pulse", f"pulse:{tmp_path}/")
        return open_genicam(f"genicam:{words}", QUICK, triggered=True, driver=SCRIPTED)

    openers = {name: lambda name=name: opener(name) for name in scripts}
    with group_of(openers, QUICK, triggered=True) as (group, counters):
        yield HardwareGroup(group, settings, APART_MS, counters), counters, lambda n: (tmp_path / str(n)).touch()


def parts(supply, count):
    """What each camera shows of so many parts: the scripted number, or why there is no picture."""
    frames, until_s = [], time.monotonic() + WAIT_S
    while len(frames) < count and time.monotonic() < until_s:
        frame = supply.take(0.05)
        if frame is not None and frame.part is not None:
            frames.append(frame)
    return frames, [tuple(shown(view.frame) for view in frame.views) for frame in frames]


def test_pictures_of_one_pulse_are_one_part(tmp_path):
    script = ["pulse1 1 pulse2 2"]
    with pulsed(tmp_path, left=script, right=script) as (supply, counters, pulse):
        pulse(1)
        frames, seen = parts(supply, 1)
        pulse(2)
        more, then = parts(supply, 1)
        assert seen + then == [(1, 1), (2, 2)] and counters.triggers == 2
    assert [frame.part.trigger for frame in frames + more] == [1, 2]
    assert frames[0].fault is None and frames[0].image.shape == (16, 48, 3)


def test_a_frame_that_one_camera_loses_shifts_nothing(tmp_path):
    left, right = ["pulse1 1 pulse2 2 pulse3 3"], ["pulse1 1 pulse3 3"]
    with pulsed(tmp_path, left=left, right=right) as (supply, _, pulse):
        pulse(1)
        _, first = parts(supply, 1)
        pulse(2)
        # the right camera's number tells of it with the next picture
        assert supply.take(2.5 * APART_MS / 1000) is None
        pulse(3)
        frames, following = parts(supply, 2)
    assert first + following == [(1, 1), (2, "missed_frame"), (3, 3)]
    assert "number went from 1 to 3" in frames[0].views[1].frame.fault.detail
    assert frames[1].fault is None


def test_a_picture_that_is_not_whole_is_of_its_own_part(tmp_path):
    with pulsed(tmp_path, left=["pulse1 1 pulse2 2"], right=["pulse1 incomplete1 pulse2 2"]) as (supply, _, pulse):
        pulse(1)
        _, first = parts(supply, 1)
        pulse(2)
        _, second = parts(supply, 1)
    assert first + second == [(1, "incomplete"), (2, 2)]


def test_a_trigger_that_one_camera_did_not_see_makes_parts_invalid_until_all_is_silent(tmp_path):
    # its numbers go on as if nothing had been
    left, right = ["pulse1 1 pulse2 2 pulse3 3 pulse4 4"], ["pulse1 1 pulse3 2 pulse4 3"]
    settings = HARDWARE.model_copy(update={"frame_timeout_ms": 900})
    with pulsed(tmp_path, settings, left=left, right=right) as (supply, _, pulse):
        pulse(1)
        parts(supply, 1)
        pulse(2)
        time.sleep(1.5 * APART_MS / 1000)
        pulse(3)
        (missed, doubtful), seen = parts(supply, 2)
        time.sleep(1)
        pulse(4)
        (believed,), then = parts(supply, 1)
    assert seen == [(2, "missed_frame"), (3, 2)] and missed.fault is None
    assert "no picture within 100 ms (group.apart_ms) of that of camera left" in missed.views[1].frame.fault.detail
    assert doubtful.fault.reason is Reason.MISSED_FRAME and "cannot be told" in doubtful.fault.detail
    assert doubtful.image is not None
    assert then == [(4, 3)] and believed.fault is None


@pytest.mark.parametrize("ends", ["fail", "crash"])
def test_a_camera_that_is_lost_makes_its_parts_invalid_and_comes_back_alone(tmp_path, ends):
    left = ["pulse1 1 pulse2 2 pulse4 3"]
    right = [f"pulse1 1 {ends}", "pulse3 touch:/dev/null fail", "pulse4 77"]
    with pulsed(tmp_path, left=left, right=right) as (supply, counters, pulse):
        pulse(1)
        _, first = parts(supply, 1)
        pulse(2)
        (alone,), seen = parts(supply, 1)
        assert first + seen == [(1, 1), (2, alone.views[1].frame.fault.reason.value)]
        assert alone.views[1].frame.fault.reason in (Reason.NO_FRAME, Reason.MISSED_FRAME)
        pulse(3)
        assert eventually(lambda: supply.take(0.01) is None and counters.reconnects == 2)
        time.sleep(HARDWARE.frame_timeout_ms / 1000 + 0.05)
        pulse(4)
        _, again = parts(supply, 1)
    assert again == [(3, 77)]
