"""Take a frame, inspect it, publish its verdict; and a watchdog, which gives a verdict while the model hangs.

The inspection thread does all of take → inspect → publish. The caller's thread is the watchdog: it stays free for
signals and for stopping, also while the model does not return. A source that waits (files) may have several inspection
threads: each takes the next frame, and verdicts are published in the order in which the frames were taken.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edge.capture.capture import FrameSupply
from edge.core.config import Settings
from edge.core.counters import RunCounters, worth_a_line
from edge.core.datatypes import Decision, Fault, Frame, Reason, Verdict
from edge.inspection.inspector import Inspector
from edge.inspection.inspector_pool import InspectorPool
from edge.monitoring.sink import Sink

log = logging.getLogger(__name__)

TAKE_TIMEOUT_S = 0.1
WATCH_PERIOD_S = 0.05
# how long a frame may take to finish after a stop; with the rest it stays below a second
FINISH_TIMEOUT_S = 0.6
SINK_TIMEOUT_S = 0.2
BLOCKING_SINK_S = 1.0
# frames taken and not yet published, per inspection thread: one slow frame must not let the others run far ahead
FRAMES_PER_INSPECTOR = 2


def run_loop(
    capture: FrameSupply,
    judging: Inspector | InspectorPool,
    sinks: Sequence[Sink],
    settings: Settings,
    counters: RunCounters,
    *,
    stop: threading.Event,
    max_frames: int | None = None,
    duration_s: float | None = None,
    alive: Callable[[], None] = lambda: None,
) -> bool:
    """Inspect until the source ends, `stop` is set, max_frames verdicts are given or duration_s has passed.

    Returns within a second of that. Capture and sinks stay open: who made them closes them. Returns False when the
    model or a sink had to be left behind, hanging: its thread may still be inside, so do not close it, end the process.
    judging: one inspector, or a pool of as many as there shall be threads; a live source uses the first alone. A
    pool may be replaced while the loop runs: each frame is judged by one version alone. alive: called in this thread
    some twenty times a second, for whoever supervises the process; it must return at once.

    Live sources: a frame older than freshness.max_age_ms when its turn comes is STALE; a verdict later than
    inspection.deadline_ms after the grab is DEADLINE_MISSED; and while the model does not return, one DEADLINE_MISSED
    verdict is given per deadline_ms, for the newest frame if there is one.
    An exception from the model is an INVALID verdict, MODEL_ERROR, however many come in a row: a part without a verdict
    would be worse. A sink that raises misses that verdict, the others get it. Both are counted, and logged at the 1st,
    10th and 100th failure in a row and then every 1000th.
    """
    pool = judging if isinstance(judging, InspectorPool) else InspectorPool([judging])
    loop = _Loop(capture, pool, sinks, settings, counters, max_frames)
    loop.start()
    try:
        loop.watch(stop, duration_s, alive)
    finally:
        finished = loop.finish()
    if loop.error is not None:
        raise loop.error
    return finished


@dataclass(eq=False)
class _InFlightFrame:
    """A frame that was taken, and its verdict once there is one."""

    frame: Frame
    verdict: Verdict | None = None


class _Loop:
    def __init__(
        self,
        capture: FrameSupply,
        pool: InspectorPool,
        sinks: Sequence[Sink],
        settings: Settings,
        counters: RunCounters,
        max_frames: int | None,
    ) -> None:
        self.error: BaseException | None = None
        self._capture = capture
        self._pool = pool
        # the inspector of the frame in flight: gives its verdict when the model does not
        self._inspector = pool.inspectors[0]
        self._sinks = tuple(sinks)
        self._counters = counters
        self._max_frames = max_frames
        self._max_age_ms = settings.freshness.max_age_ms if capture.live else None
        self._deadline_ms = settings.inspection.deadline_ms if capture.live else None
        self._halt = threading.Event()
        self._finished = threading.Event()
        self._frames_before = counters.frames
        self._writing: tuple[str, int] | None = None
        self._reported_write: tuple[str, int] | None = None
        self._sink_failures = [0] * len(self._sinks)
        self._model_failures = self._rest_failures = 0
        self._resting_since_ns: int | None = None
        # a verdict is published under the lock, by the thread that took the frame out of _in_flight
        self._lock = threading.Lock()
        self._in_flight: Frame | None = None
        self._hung_frame: Frame | None = None
        self._publish_again_ns = 0
        # with several inspectors: frames not yet published, in their order; `taking` is held to take one
        self._frames: deque[_InFlightFrame] = deque()
        workers = 1 if capture.live else len(pool.inspectors)
        self._most_frames = FRAMES_PER_INSPECTOR * workers
        self._taking = threading.Lock()
        self._published = threading.Event()
        self._taken = 0
        self._working = workers
        work = self._inspect_next if workers == 1 else self._inspect_beside
        self._threads = [
            threading.Thread(target=self._work, args=(work, position), name="inspection", daemon=True)
            for position in range(workers)
        ]

    def start(self) -> None:
        # so that it grows old where the first frame never gets its verdict
        self._beat()
        for thread in self._threads:
            thread.start()

    # the inspection threads

    def _work(self, inspect_one: Callable[[int], bool], position: int) -> None:
        try:
            while not self._halt.is_set() and inspect_one(position):
                pass
        # raised again in the caller's thread by run_loop
        except BaseException as error:  # noqa: BLE001
            self.error = error
            self._halt.set()
        finally:
            with self._taking:
                self._working -= 1
                if self._working == 0:
                    self._finished.set()

    def _enough(self) -> bool:
        return self._max_frames is not None and self._counters.frames - self._frames_before >= self._max_frames

    def _inspect_next(self, position: int) -> bool:
        """Take and inspect one frame; False when none will come or is wanted."""
        if self._enough():
            return False
        rest_every_s = self._pool.inspectors[position].rest_every_s
        frame = self._capture.take(TAKE_TIMEOUT_S if rest_every_s is None else min(TAKE_TIMEOUT_S, rest_every_s))
        if frame is None:
            self._rest(position)
            self._beat()
            return not self._capture.ended
        inspectors = self._pool.enter()
        try:
            self._inspector = inspectors[position]
            self._inspect(frame)
        finally:
            self._pool.leave(inspectors)
        self._beat()
        return True

    def _beat(self) -> None:
        self._counters.beat_ns = time.perf_counter_ns()

    def _rest(self, position: int) -> None:
        """Let the backend do what it does while no frame comes; the watchdog gives verdicts if it does not return."""
        self._resting_since_ns = time.perf_counter_ns()
        inspectors = self._pool.enter()
        try:
            inspectors[position].rest()
        # the verdict of the next frame will name what is wrong
        except Exception as error:
            self._rest_failures += 1
            if worth_a_line(self._rest_failures):
                log.exception("the backend failed %d times between frames: %s", self._rest_failures, error)
        finally:
            self._pool.leave(inspectors)
            # a watchdog that takes parts meanwhile comes to its end first: a supply has one taker at a time
            with self._lock:
                self._resting_since_ns = None

    def _inspect_beside(self, position: int) -> bool:
        """The same beside other threads. The thread that finishes the oldest frame publishes every finished verdict."""
        with self._taking:
            if self._halt.is_set() or (self._max_frames is not None and self._taken >= self._max_frames):
                return False
            # cleared before the check: what is published from here on sets it
            self._published.clear()
            if len(self._frames) >= self._most_frames:
                self._published.wait(TAKE_TIMEOUT_S)
                return True
            frame = self._capture.take(TAKE_TIMEOUT_S)
            if frame is None:
                # while another thread has a frame, only that frame's verdict shows that inspection goes on
                if not self._frames:
                    self._beat()
                return not self._capture.ended
            taken = _InFlightFrame(frame)
            self._frames.append(taken)
            self._taken += 1
            # chosen in the order of the frames: after a switch none is judged by the version before
            inspectors = self._pool.enter()
            self._inspector = inspectors[0]
        try:
            taken.verdict = self._judged(frame, inspectors[position])
        finally:
            self._pool.leave(inspectors)
        with self._lock:
            while self._frames and self._frames[0].verdict is not None:
                finished = self._frames.popleft()
                assert finished.verdict is not None
                self._note_failures(finished.verdict)
                self._publish(finished.frame, finished.verdict)
                self._beat()
        self._published.set()
        return True

    def _inspect(self, frame: Frame) -> None:
        fault = frame.fault or self._stale(frame)
        if fault is not None:
            with self._lock:
                self._publish(frame, self._inspector.invalid(frame, fault))
            return
        self._in_flight = frame
        judged = self._judged(frame, self._inspector)
        self._note_failures(judged)
        verdict = in_time(judged, self._deadline_ms)
        with self._lock:
            if self._in_flight is None:
                self._hung_frame = None
                self._counters.late_results += 1
                log.warning(
                    "frame %d: the model came back after %.0f ms; the watchdog had already given a verdict",
                    frame.index,
                    verdict.times.total,
                )
                return
            self._in_flight = None
            self._publish(frame, verdict)

    def _judged(self, frame: Frame, inspector: Inspector) -> Verdict:
        try:
            return inspector.inspect(frame)
        # any failure of the model is the verdict of this frame, not the end of the line
        except Exception as error:  # noqa: BLE001
            return inspector.invalid(frame, Fault(Reason.MODEL_ERROR, f"{type(error).__name__}: {error}"))

    def _note_failures(self, verdict: Verdict) -> None:
        if verdict.reason is Reason.MODEL_ERROR:
            self._model_failures += 1
            if worth_a_line(self._model_failures):
                log.error("the model failed %d times in a row: %s", self._model_failures, verdict.detail)
        elif verdict.decision is not Decision.INVALID:
            self._model_failures = 0

    def _stale(self, frame: Frame) -> Fault | None:
        if self._max_age_ms is None:
            return None
        age_ms = (time.perf_counter_ns() - frame.captured_ns) / 1e6
        if age_ms <= self._max_age_ms:
            return None
        detail = f"{age_ms:.0f} ms old at the start of inspection; freshness.max_age_ms allows {self._max_age_ms}"
        return Fault(Reason.STALE, detail)

    def _publish(self, frame: Frame, verdict: Verdict) -> None:
        """Count a verdict and hand it to every sink; the lock is held."""
        counters = self._counters
        counters.frames += 1
        if verdict.decision is Decision.OK:
            counters.ok += 1
            counters.review += verdict.review
        elif verdict.decision is Decision.NG:
            counters.ng += 1
        else:
            counters.invalid += 1
        for position, sink in enumerate(self._sinks):
            self._writing = (type(sink).__name__, time.perf_counter_ns())
            try:
                sink.write(frame, verdict)
                self._sink_failures[position] = 0
            # the other sinks must get the verdict, and the next one may get through
            except Exception as error:
                counters.sink_errors += 1
                self._sink_failures[position] += 1
                if worth_a_line(self._sink_failures[position]):
                    log.exception(
                        "%s failed %d times in a row, verdicts are missing there: %s",
                        type(sink).__name__,
                        self._sink_failures[position],
                        error,
                    )
        self._writing = None

    # the caller's thread

    def watch(self, stop: threading.Event, duration_s: float | None, alive: Callable[[], None]) -> None:
        """Until it is time to end: publish verdicts for a model that hangs."""
        end_ns = math.inf if duration_s is None else time.perf_counter_ns() + duration_s * 1e9
        while not stop.is_set() and not self._enough():
            now_ns = time.perf_counter_ns()
            wait_s = min(WATCH_PERIOD_S, (end_ns - now_ns) / 1e9, (self._next_alarm_ns() - now_ns) / 1e9)
            if end_ns <= now_ns or self._finished.wait(max(0.0, wait_s)):
                return
            alive()
            self._report_blocking_sink()
            if self._next_alarm_ns() <= time.perf_counter_ns():
                self._publish_for_the_model()

    def _next_alarm_ns(self) -> float:
        """When the watchdog must give a verdict, as things are now; read without the lock, checked again under it."""
        if self._deadline_ms is None:
            return math.inf
        frame = self._in_flight
        if frame is not None:
            return frame.captured_ns + self._deadline_ms * 1_000_000
        resting_ns = self._resting_since_ns
        if resting_ns is not None:
            return max(resting_ns + self._deadline_ms * 1_000_000, self._publish_again_ns)
        return self._publish_again_ns if self._hung_frame is not None else math.inf

    def _report_blocking_sink(self) -> None:
        writing = self._writing
        if writing is None or writing is self._reported_write:
            return
        if time.perf_counter_ns() - writing[1] > BLOCKING_SINK_S * 1e9:
            self._reported_write = writing
            log.error("%s has not returned for %.0f s: no verdict can be given meanwhile", writing[0], BLOCKING_SINK_S)

    def _publish_for_the_model(self) -> None:
        if not self._lock.acquire(timeout=WATCH_PERIOD_S):
            return
        try:
            now_ns = time.perf_counter_ns()
            if self._next_alarm_ns() > now_ns or self._deadline_ms is None:
                return
            if self._in_flight is not None:
                self._hung_frame, self._in_flight = self._in_flight, None
                frame = self._hung_frame
                detail = f"no verdict within {self._deadline_ms} ms of the grab"
            else:
                detail = self._what_keeps_the_model(now_ns)
                fault = Fault(Reason.DEADLINE_MISSED, detail)
                frame = self._capture.take(0.0) or self._capture.blank(fault)
            self._publish_again_ns = now_ns + self._deadline_ms * 1_000_000
            self._publish_unjudged(frame, detail)
            # each trigger is owed a verdict of its own, within the deadline, too
            while _is_triggered(frame):
                following = self._capture.take(0.0)
                if following is None:
                    break
                frame = following
                self._publish_unjudged(frame, self._what_keeps_the_model(now_ns))
        finally:
            self._lock.release()

    def _publish_unjudged(self, frame: Frame, why: str) -> None:
        self._publish(frame, self._inspector.invalid(frame, frame.fault or Fault(Reason.DEADLINE_MISSED, why)))

    def _what_keeps_the_model(self, now_ns: int) -> str:
        hung, resting_ns = self._hung_frame, self._resting_since_ns
        since_ns = hung.captured_ns if hung is not None else resting_ns if resting_ns is not None else now_ns
        busy = f"with frame {hung.index}" if hung is not None else "between frames"
        return f"not inspected: the model has been busy {busy} for {(now_ns - since_ns) / 1e9:.1f} s"

    def finish(self) -> bool:
        """Stop the inspection threads; False when one hangs, and then its frame has got a verdict from here."""
        self._halt.set()
        if self._finished.wait(FINISH_TIMEOUT_S):
            return True
        log.error("inspection does not return and is left behind")
        if not self._lock.acquire(timeout=SINK_TIMEOUT_S):
            return False
        try:
            frames = [_InFlightFrame(self._in_flight)] if self._in_flight is not None else [*self._frames]
            self._in_flight = None
            self._frames.clear()
            fault = Fault(Reason.DEADLINE_MISSED, "stopped before the model returned")
            for taken in frames:
                verdict = taken.verdict or self._inspector.invalid(taken.frame, taken.frame.fault or fault)
                self._publish(taken.frame, verdict)
        finally:
            self._lock.release()
        return False


def _is_triggered(frame: Frame) -> bool:
    return frame.part is not None and frame.part.trigger is not None


def in_time(verdict: Verdict, deadline_ms: int | None) -> Verdict:
    """The verdict itself, or INVALID without a score when it came later than deadline_ms after the grab."""
    late = deadline_ms is not None and verdict.times.total > deadline_ms
    if not late or verdict.decision is Decision.INVALID:
        return verdict
    return replace(
        verdict,
        decision=Decision.INVALID,
        reason=Reason.DEADLINE_MISSED,
        detail=f"{verdict.decision} came {verdict.times.total:.0f} ms after the grab; "
        f"inspection.deadline_ms allows {deadline_ms}",
        score=None,
        regions=(),
        anomaly_map=None,
        review=False,
    )
