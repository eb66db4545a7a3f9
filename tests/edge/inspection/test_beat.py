"""What shows that inspection goes round: verdicts and idle rounds, but no verdict given for a model that hangs."""

import threading

from edge.core.config import FreshnessSettings, InspectionSettings, Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Fault, Reason
from edge.inspection.inspector_pool import InspectorPool
from edge.inspection.loop import run_loop
from tests.fakes import (
    WAIT_S,
    BrightnessBackend,
    HangingBackend,
    ListSink,
    ScriptedSupply,
    eventually,
    frame,
    inspector,
)


class Loop:
    """run_loop in a thread; beats: the times seen by `alive`, oldest first."""

    def __init__(self, supply, *backends, deadline_ms=30_000):
        self.sink, self.counters, self.stop = ListSink(), RunCounters(), threading.Event()
        self.looks = 0
        settings = Settings(
            freshness=FreshnessSettings(max_age_ms=min(500, deadline_ms)),
            inspection=InspectionSettings(deadline_ms=deadline_ms),
        )
        pool = InspectorPool([inspector(backend) for backend in backends or (None,)])
        self._thread = threading.Thread(
            target=run_loop,
            args=(supply, pool, [self.sink], settings, self.counters),
            kwargs={"stop": self.stop, "alive": self._look},
            daemon=True,
        )
        self._thread.start()

    def _look(self):
        self.looks += 1

    def beats_again(self):
        before = self.counters.beat_ns
        return eventually(lambda: self.counters.beat_ns > before)

    def end(self):
        self.stop.set()
        self._thread.join(WAIT_S)


def test_a_line_without_frames_beats():
    loop = Loop(ScriptedSupply([], endless=True))
    assert all(loop.beats_again() for _ in range(3))
    assert loop.counters.beat_age_s() < WAIT_S
    loop.end()
    assert loop.looks > 0


def test_a_lost_camera_beats():
    fault = Fault(Reason.NO_FRAME, "no picture")
    supply = ScriptedSupply([frame(index, fault=fault) for index in range(3)], endless=True)
    loop = Loop(supply)
    assert loop.sink.wait_until(lambda verdicts: len(verdicts) == 3)
    assert loop.beats_again()
    loop.end()


def test_a_model_that_hangs_does_not_although_verdicts_are_given_for_it():
    backend = HangingBackend()
    loop = Loop(ScriptedSupply([frame(0)], endless=True), backend, deadline_ms=50)
    assert backend.hanging.wait(WAIT_S)
    before = loop.counters.beat_ns
    looks = loop.looks
    assert loop.sink.wait_until(lambda verdicts: len(verdicts) >= 4)
    assert loop.counters.beat_ns == before
    # whoever supervises is told all the time, and decides by the age of the beat
    assert loop.looks > looks
    backend.released.set()
    assert loop.beats_again()
    loop.end()


def test_one_of_several_models_that_hangs_stops_the_beat():
    hanging = HangingBackend()
    supply = ScriptedSupply([frame(index) for index in range(12)], live=False, endless=True)
    loop = Loop(supply, hanging, None)
    assert hanging.hanging.wait(WAIT_S)
    # the other runs ahead as far as it may; its verdicts wait for the oldest frame
    stood = []

    def stands():
        stood.append(loop.counters.beat_ns)
        return len(stood) > 50 and len(set(stood[-50:])) == 1

    assert eventually(stands)
    hanging.released.set()
    assert loop.beats_again()
    loop.end()


class WarmBackend(BrightnessBackend):
    """Does not return from keeping warm until `released` is set."""

    keep_warm_every_s = 0.005

    def __init__(self):
        super().__init__()
        self.released = threading.Event()

    def keep_warm(self):
        assert self.released.wait(WAIT_S)


class OneTaker(ScriptedSupply):
    """Lets a backend go on while the watchdog takes, and notes whether somebody takes at the same time."""

    def __init__(self, backend):
        super().__init__([], endless=True)
        self.backend, self.taken_beside = backend, threading.Event()
        self.watchdog_took, self._taking = threading.Event(), threading.Lock()

    def take(self, timeout_s):
        if not self._taking.acquire(blocking=False):
            self.taken_beside.set()
            return None
        try:
            if threading.current_thread().name != "inspection":
                self.backend.released.set()
                self.taken_beside.wait(0.1)
                self.watchdog_took.set()
            return super().take(timeout_s)
        finally:
            self._taking.release()


def test_a_backend_that_comes_back_does_not_take_parts_beside_the_watchdog():
    backend = WarmBackend()
    supply = OneTaker(backend)
    loop = Loop(supply, backend, deadline_ms=50)
    assert supply.watchdog_took.wait(WAIT_S)
    assert loop.beats_again()
    loop.end()
    assert not supply.taken_beside.is_set()
