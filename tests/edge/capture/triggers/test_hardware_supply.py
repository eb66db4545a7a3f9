"""Parts of a camera with its own trigger: one verdict each, in order, also while the network hangs or stands still."""

import time
from contextlib import contextmanager
from dataclasses import replace

from edge.capture.capture import Capture
from edge.capture.triggers import hardware_supply
from edge.capture.triggers.hardware_supply import HardwareSupply
from edge.core.config import FreshnessSettings, TriggerSettings
from edge.core.counters import RunCounters
from edge.core.datatypes import Fault, Reason
from tests.edge.capture.triggers.test_triggered_supply import PATIENT, Camera, loop_over, seed_of
from tests.fakes import WAIT_S, BrightnessBackend, HangingBackend, eventually, frame


class TriggeredCamera(Camera):
    """Also shows what its reader gives in place of a picture."""

    def tell(self, reason):
        blank = replace(frame(fault=Fault(reason, "told")), captured_ns=time.perf_counter_ns())
        self._given.put(blank)
        self._looked_at.get(timeout=WAIT_S)


@contextmanager
def triggered(queue=64, settings=PATIENT):
    camera, counters = TriggeredCamera(), RunCounters()
    capture = Capture(lambda: camera, settings, FreshnessSettings(), counters, triggered=True)
    try:
        yield camera, HardwareSupply(capture, TriggerSettings(mode="hardware", queue=queue), counters), counters
    finally:
        capture.close()


def test_a_slow_network_judges_all_parts_in_their_order_and_tells_overruns():
    with (
        triggered(queue=3) as (camera, supply, counters),
        loop_over(supply, counters, BrightnessBackend(slow_s=0.01)) as loop,
    ):
        for seed in range(40):
            (camera.tell(Reason.MISSED_FRAME) if seed % 10 == 9 else camera.show(seed))
        told = loop.verdicts(40)
        assert supply.take(0.0) is None
    assert [trigger for trigger, _ in told] == list(range(1, 41))
    assert [trigger for trigger, reason in told if reason == "missed_frame"] == [10, 20, 30, 40]
    assert {reason for _, reason in told} == {"below_threshold", "overrun", "missed_frame"}
    for taken, (trigger, reason) in zip(loop.sink.frames, told, strict=True):
        assert reason != "below_threshold" or seed_of(taken) == trigger - 1


def test_while_the_network_hangs_each_part_is_told_within_its_deadline():
    backend = HangingBackend(hang_at=0)
    with (
        triggered() as (camera, supply, counters),
        loop_over(supply, counters, backend, deadline_ms=400) as loop,
    ):
        for seed in range(5):
            camera.show(seed)
        told = loop.verdicts(5)
        backend.hang_at = -1
        backend.released.set()
        assert eventually(lambda: counters.late_results == 1)
        camera.show(5)
        told = loop.verdicts(6)
    assert [trigger for trigger, _ in told] == list(range(1, 7))
    assert [reason for _, reason in told] == [*["deadline_missed"] * 5, "below_threshold"]


def test_a_picture_with_a_fault_keeps_it_for_the_records_while_there_is_room():
    with triggered(queue=1) as (camera, supply, counters):
        for _ in range(2):
            camera.show(1, image=frame(1).image * 0)
        first, second = supply.take(WAIT_S), supply.take(WAIT_S)
        assert (first.fault.reason, second.fault.reason) == (Reason.BLACK, Reason.BLACK)
        assert first.image is not None and second.image is None
        # a PLC is not told that the camera is there for black pictures
        assert (counters.grabbed, counters.sound) == (2, 0)


def test_identical_pictures_are_invalid_and_the_camera_stays_open_for_the_next_part():
    hasty = PATIENT.model_copy(update={"read_timeout_ms": 1})
    with triggered(settings=hasty) as (camera, supply, counters):
        for seed in (1, 1, 1, 1, 2):
            camera.show(seed)
            # a frozen camera that runs free would be opened again by now
            time.sleep(0.005)
        reasons = [taken.fault and str(taken.fault.reason) for taken in (supply.take(WAIT_S) for _ in range(5))]
        assert reasons == [None, None, "frozen", "frozen", None]
        assert (counters.reconnects, counters.camera_state) == (0, "running")


def test_what_waits_without_a_picture_has_a_bound_and_the_rest_is_counted(monkeypatch):
    monkeypatch.setattr(hardware_supply, "MOST_WITHOUT_PICTURE", 3)
    with triggered(queue=2) as (camera, supply, counters):
        for _ in range(12):
            camera.tell(Reason.INCOMPLETE)
        assert supply.waiting == 5
        frames = [supply.take(WAIT_S) for _ in range(5)]
        assert [taken.part.trigger for taken in frames] == [1, 2, 3, 4, 12]
        assert frames[-1].fault.detail.startswith("8 parts came while verdicts stood still")
        assert (counters.triggers, supply.take(0.0)) == (12, None)
