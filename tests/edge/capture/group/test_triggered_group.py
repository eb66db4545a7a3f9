"""Parts that a PLC asks for, seen by several cameras: each trigger is one frame, with a picture of each camera."""

import threading
import time

import numpy as np

from edge.capture.group.supply import TriggeredGroup
from edge.core.config import CameraSettings, TriggerSettings
from edge.core.datatypes import Reason
from edge.core.errors import CameraError
from tests.edge.capture.group.groups import group_of
from tests.edge.capture.triggers.test_triggered_supply import Camera
from tests.fakes import WAIT_S, eventually, picture

AT_ONCE = TriggerSettings(mode="plc", settle_ms=0, frame_timeout_ms=200, queue=64)
QUICK = CameraSettings(read_timeout_ms=200, reopen_first_ms=1, reopen_max_ms=4)


def giving_up_after(timeout_ms):
    return AT_ONCE.model_copy(update={"frame_timeout_ms": timeout_ms})


def taken(supply, parts, lost=0):
    """The frames of so many parts, and those between them that say that a camera is lost."""
    frames, between, until_s = [], [], time.monotonic() + WAIT_S
    while (len(frames) < parts or len(between) < lost) and time.monotonic() < until_s:
        frame = supply.take(0.05)
        if frame is not None:
            (between if frame.part is None else frames).append(frame)
    return frames, between


def test_each_trigger_is_one_frame_with_the_pictures_side_by_side():
    left, right = Camera(), Camera()
    with group_of({"left": lambda: left, "right": lambda: right}) as (group, counters):
        supply = TriggeredGroup(group, AT_ONCE, counters)
        for seed in (1, 2):
            assert supply.fire(f"P{seed}", "L7") == seed
            left.show(seed)
            right.show(10 + seed, picture(10 + seed, 40, 50))
        (first, second), _ = taken(supply, 2)
    assert [frame.part.number for frame in (first, second)] == ["P1", "P2"]
    assert [frame.index for frame in (first, second)] == [0, 1]
    one, other = second.views
    assert (one.camera, one.x, one.width, one.height) == ("left", 0, 80, 60)
    assert (other.camera, other.x, other.width, other.height) == ("right", 80, 50, 40)
    assert second.image.shape == (60, 130, 3)
    assert (one.frame.image == picture(2)).all() and (other.frame.image == picture(12, 40, 50)).all()
    assert (second.image[:40, 80:] == other.frame.image).all() and np.shares_memory(second.image, one.frame.image)
    assert second.captured_ns == one.frame.captured_ns < other.frame.captured_ns


def test_a_camera_that_shows_nothing_is_named_and_takes_no_later_picture():
    left, right = Camera(), Camera()
    with group_of({"left": lambda: left, "right": lambda: right}) as (group, counters):
        supply = TriggeredGroup(group, AT_ONCE, counters)
        supply.fire("P1", "")
        left.show(1)
        (first,), _ = taken(supply, 1)
        # too late for the first part, and of no other
        right.show(11)
        supply.fire("P2", "")
        left.show(2)
        right.show(12)
        (second,), _ = taken(supply, 1)
    one, other = first.views
    assert one.frame.fault is None and other.frame.fault.reason is Reason.NO_FRAME
    # its place stays where it will be
    assert first.image.shape == (60, 160, 3) and (other.x, other.width) == (80, 80)
    assert [(view.frame.image == picture(seed)).all() for view, seed in zip(second.views, (2, 12), strict=True)]


def test_without_any_picture_the_frame_says_so_for_every_camera():
    with group_of({"left": Camera, "right": Camera}) as (group, counters):
        supply = TriggeredGroup(group, giving_up_after(50), counters)
        supply.fire("P1", "")
        (frame,), _ = taken(supply, 1)
    assert frame.image is None and frame.fault.reason is Reason.NO_FRAME
    assert "camera left: no picture came within" in frame.fault.detail and "camera right: " in frame.fault.detail


def test_a_lost_camera_is_named_and_comes_back_alone():
    left, right, again = Camera(), Camera(), Camera()
    rights = [right, again]
    with group_of({"left": lambda: left, "right": lambda: rights.pop(0)}, QUICK) as (group, counters):
        supply = TriggeredGroup(group, AT_ONCE, counters)
        right._given.put(CameraError("the cable is off", fix="plug it in"))
        _, between = taken(supply, 0, lost=1)
        assert between[0].fault.detail == "camera right: the camera was lost: the cable is off"
        left.show(1)
        assert eventually(lambda: supply.take(0.0) is None and not rights)
        again.show(5)
        assert eventually(lambda: supply.take(0.0) is not None or counters.camera_state == "running")
        supply.fire("P1", "")
        left.show(2)
        again.show(6)
        (frame,), _ = taken(supply, 1)
        assert (counters.reconnects, counters.camera_names) == (1, "")
    assert all(view.frame.fault is None for view in frame.views)


def test_parts_beyond_the_queue_lose_their_pictures_and_keep_their_place():
    left, right = Camera(), Camera()
    with group_of({"left": lambda: left, "right": lambda: right}) as (group, counters):
        supply = TriggeredGroup(group, TriggerSettings(mode="plc", settle_ms=0, queue=1), counters)
        supply.fire("P1", "")
        left.show(1)
        right.show(11)
        supply.fire("P2", "")
        assert supply.waiting == 2
        (first,), _ = taken(supply, 1)
        # the one in hand is not done, and waits no longer
        assert supply.waiting == 2 and counters.trigger_state.endswith(" looked at, 1 wait")
        (second,), _ = taken(supply, 1)
        assert supply.waiting == 1 and counters.trigger_state.endswith(" looked at, 0 wait")
    assert first.fault is None and second.fault.reason is Reason.OVERRUN
    assert [frame.part.trigger for frame in (first, second)] == [1, 2]


def test_triggers_of_several_threads_have_one_count_for_all_cameras():
    with group_of({"left": Camera, "right": Camera}) as (group, counters):
        supply = TriggeredGroup(group, giving_up_after(1), counters)
        threads = [threading.Thread(target=lambda: [supply.fire("", "") for _ in range(20)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        frames, _ = taken(supply, 80)
    assert [frame.part.trigger for frame in frames] == list(range(1, 81))
