"""One thread that grabs, one slot that holds the newest frame, and a `take` that never stays silent.

Frame indexes are given on delivery: consecutive over everything `take` returns, no_frame included. A frame that was
replaced in the slot has no index; it is counted in `dropped`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Protocol, runtime_checkable

from edge.capture.frame_slot import NewestFrameSlot
from edge.capture.freshness import FreshnessCheck
from edge.capture.sources import FrameSource
from edge.core.config import CameraSettings, FreshnessSettings, TriggerSettings
from edge.core.counters import RunCounters
from edge.core.datatypes import Fault, Frame, Reason
from edge.core.errors import EdgeInspectError
from edge.core.redact import redact

log = logging.getLogger(__name__)

# a driver that repeats its last picture without waiting would otherwise spin; no camera line runs at 200 frames/s
FROZEN_PAUSE_S = 0.005
JOIN_TIMEOUT_S = 0.5
# losses that were not taken yet, while the model hangs; of more, the newest become verdicts, and the log has all
_MOST_LOSSES = 16
_SILENT = "the camera sends no picture; a slow or triggered one needs a larger camera.read_timeout_ms"


class FrameSupply(Protocol):
    """What the loop needs of a capture."""

    live: bool

    @property
    def ended(self) -> bool:
        """Nothing will come any more."""

    def take(self, timeout_s: float) -> Frame | None:
        """The newest frame, waiting at most timeout_s; None when there is none yet."""

    def blank(self, fault: Fault) -> Frame:
        """A frame without a picture, stamped now and numbered like the others."""


@runtime_checkable
class OrderedFrames(Protocol):
    """A supply in which parts wait for their turn."""

    @property
    def waiting(self) -> int:
        """Parts that were triggered and are not done; from any thread."""


@runtime_checkable
class FiredFrames(Protocol):
    """A supply that is asked for each part."""

    @property
    def longest_wait_s(self) -> float:
        """A part that was asked for has its picture, or none for good, after so long."""

    def fire(self, number: str, lot: str) -> int:
        """Ask for a picture of the part that is there now; returns at once, with the count of this trigger, from 1."""

    def follow(self, settings: TriggerSettings) -> None:
        """Another product comes from the next trigger on: its times."""


@dataclass(frozen=True)
class _Loss:
    at_ns: int
    text: str


class Capture:
    """The newest frame of a live source, or every frame of a file source; `close` it at the end.

    The source is opened in the caller's thread, so a camera that is not there raises CameraError at once; grabbing
    starts with it, so load the model first. Later a lost live source is reopened for ever, after reopen_first_ms,
    doubling up to reopen_max_ms until a good frame comes.

    `take` returns a no_frame frame for whatever goes wrong: one when the camera is lost, then one for every
    read_timeout_ms without a frame, also while the driver does not return from its grab. A driver that never returns
    cannot be interrupted from Python; its no_frame verdicts go on until the process is restarted.

    triggered: the camera waits for a trigger of its own, so that an open one may be silent for any time, and its source
    notices by itself when it is lost.
    """

    def __init__(
        self,
        open_frames: Callable[[], FrameSource],
        camera: CameraSettings,
        freshness: FreshnessSettings,
        counters: RunCounters,
        *,
        triggered: bool = False,
    ) -> None:
        self._open = open_frames
        self._triggered = triggered
        self._camera = camera
        self._counters = counters
        self._stop = threading.Event()
        self._observer: Callable[[Frame], None] | None = None
        # touched by the grab thread
        self._source = open_frames()
        self._dropped_before = 0
        self.name, self.live = self._source.name, self._source.live
        # of a recording, whose pictures come as fast as they are read
        self.recorded_fps = self._source.recorded_fps
        self._check = FreshnessCheck(freshness, self.live)
        self._frozen_since_ns: int | None = None
        self._reopening = False
        self._backoff_ms = camera.reopen_first_ms
        self._to_skip = camera.skip_first_frames if self.live else 0
        # between the threads
        self._slot = NewestFrameSlot(keep_all=not self.live)
        self._losses: deque[_Loss] = deque(maxlen=_MOST_LOSSES)
        self._problem = _SILENT
        self._grabbing_done = threading.Event()
        # touched by the taking side
        self._next_index = 0
        self._last_look_ns = time.perf_counter_ns()
        self._in_outage = False
        self._held: Frame | None = None
        if triggered:
            counters.camera_state = "running"
        self._thread = threading.Thread(target=self._grab_until_stopped, name="grab", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop grabbing and close the source, within half a second; a thread stuck in a driver is left behind."""
        self._stop.set()
        self._slot.close()
        self._source.interrupt()
        self._thread.join(JOIN_TIMEOUT_S)
        # a file source that is only waiting for its pace is no driver in trouble
        if self._thread.is_alive() and self.live:
            log.warning("%s: the driver does not return; it is left to the end of the process", self.name)

    def observe(self, observer: Callable[[Frame], None]) -> None:
        """Have each frame from now on shown to `observer`, in the grab thread, before it can be taken.

        A frame that is replaced before it is taken counts no longer as dropped: it was seen.
        """
        self._observer = observer

    def wake(self) -> None:
        """Let a `take` that waits return; from any thread."""
        self._slot.wake()

    # the taking side

    @property
    def ended(self) -> bool:
        through = self._grabbing_done.is_set() and self._held is None
        return through and self._slot.waiting is None and not self._losses

    def take(self, timeout_s: float) -> Frame | None:
        """The newest frame, a no_frame frame, or None when neither is due within timeout_s. One caller at a time."""
        due_ns = self._last_look_ns + self._camera.read_timeout_ms * 1_000_000
        frame = self._next_frame(timeout_s, due_ns)
        while self._losses and (frame is None or self._losses[0].at_ns <= frame.captured_ns):
            # the loss came first, so its frame comes first
            loss, self._held = self._losses.popleft(), frame
            if not self._in_outage:
                return self._no_frame(f"the camera was lost: {loss.text}")
            frame = self._next_frame(0.0, due_ns)
        if frame is not None:
            self._in_outage = False
            # of looking, not of the picture: one that is old has come all the same
            self._last_look_ns = time.perf_counter_ns()
            index, self._next_index = self._next_index, self._next_index + 1
            return replace(frame, index=index)
        if not self.live or time.perf_counter_ns() < due_ns or self._stop.is_set():
            return None
        if self._triggered and not self._reopening:
            self._in_outage = False
            self._last_look_ns = time.perf_counter_ns()
            return None
        if not self._in_outage and not self._reopening:
            self._counters.camera_state = "stalled"
        return self._no_frame(f"no frame for {self._camera.read_timeout_ms} ms: {self._problem}")

    def _next_frame(self, timeout_s: float, due_ns: int) -> Frame | None:
        if self._held is not None:
            frame, self._held = self._held, None
            return frame
        if self._losses:
            timeout_s = 0.0
        elif self.live:
            timeout_s = min(timeout_s, (due_ns - time.perf_counter_ns()) / 1e9)
        return self._slot.take(timeout_s)

    def blank(self, fault: Fault) -> Frame:
        """A frame without a picture, stamped now and numbered like the others."""
        index, self._next_index = self._next_index, self._next_index + 1
        return Frame(index, time.perf_counter_ns(), datetime.now(timezone.utc), self.name, None, fault)

    def _no_frame(self, detail: str) -> Frame:
        self._in_outage = True
        self._counters.stalls += 1
        frame = self.blank(Fault(Reason.NO_FRAME, detail))
        self._last_look_ns = frame.captured_ns
        return frame

    # the grab thread

    def _grab_until_stopped(self) -> None:
        try:
            while not self._stop.is_set() and self._grab_once():
                pass
        finally:
            self._close_source()
            self._counters.camera_state = "closed" if self._stop.is_set() else "ended"
            self._grabbing_done.set()
            self._slot.wake()

    def _grab_once(self) -> bool:
        """Move one frame into the slot, or reopen; False at the end of a file source."""
        try:
            frame = self._source.read()
            if frame is not None:
                self._hand_over(frame)
                return True
            if not self.live:
                return False
            problem = "the stream ended"
        # whatever a driver binding throws, capture goes on: a verdict names it, and the source is opened again
        except Exception as error:  # noqa: BLE001
            problem = _text(error)
        if self._stop.is_set():
            return False
        if self.live:
            self._reopen(problem)
            return True
        fault = Fault(Reason.UNDECODABLE, f"reading stopped early: {problem}")
        self._slot.put(Frame(0, time.perf_counter_ns(), datetime.now(timezone.utc), self.name, None, fault))
        return False

    def _hand_over(self, frame: Frame) -> None:
        if self._to_skip > 0:
            self._to_skip -= 1
            self._counters.skipped += 1
            self._problem = "the first pictures after an opening are left out (camera.skip_first_frames)"
            return
        # of a group each picture was looked at by itself
        if frame.image is not None and frame.fault is None and not frame.views:
            frame = replace(frame, fault=self._check.fault(frame.image))
        self._counters.grabbed += 1
        self._counters.sound += frame.fault is None
        if self._observer is not None:
            self._observer(frame)
        self._slot.put(frame)
        replaced = self._slot.dropped if self._observer is None else 0
        self._counters.dropped = replaced + self._dropped_before + self._source.dropped
        if frame.fault is not None and frame.fault.reason is Reason.FROZEN:
            self._bear_frozen(frame.captured_ns)
            return
        self._frozen_since_ns = None
        self._problem = _SILENT
        if self._counters.camera_state != "running":
            self._counters.camera_state = "running"
        if self._reopening:
            self._regained()
        if frame.fault is None:
            self._backoff_ms = self._camera.reopen_first_ms

    def _regained(self) -> None:
        self._reopening = False
        self._counters.reconnects += 1
        log.info("%s: the camera is back", self.name)

    def _bear_frozen(self, captured_ns: int) -> None:
        """Some drivers repeat the last picture for ever after an unplug; only opening them again ends that."""
        self._counters.camera_state = "frozen"
        if self._triggered:
            # its parts of meanwhile would have no verdict
            return
        if self._frozen_since_ns is None:
            self._frozen_since_ns = captured_ns
        if captured_ns - self._frozen_since_ns >= self._camera.read_timeout_ms * 1_000_000:
            self._frozen_since_ns = None
            self._reopen(f"the picture has been frozen for {self._camera.read_timeout_ms} ms")
        else:
            self._stop.wait(FROZEN_PAUSE_S)

    def _reopen(self, problem: str) -> None:
        """Close and open the source until it opens or capture is stopped."""
        self._losses.append(_Loss(time.perf_counter_ns(), problem))
        self._slot.wake()
        self._counters.camera_state = "lost"
        self._reopening = True
        self._problem = problem
        log.warning("opening the camera again: %s", problem)
        self._dropped_before += self._source.dropped
        self._close_source()
        while not self._stop.wait(self._backoff_ms / 1000):
            self._backoff_ms = min(2 * self._backoff_ms, self._camera.reopen_max_ms)
            try:
                self._source = self._open()
                self._to_skip = self._camera.skip_first_frames
                if self._triggered:
                    # the next part may be long in coming
                    self._counters.camera_state = "running"
                    self._regained()
                return
            # see _grab_once; the text goes into the no_frame verdicts
            except Exception as error:  # noqa: BLE001
                self._problem = f"opening it again failed: {_text(error)}"

    def _close_source(self) -> None:
        try:
            self._source.close()
        # a camera that cannot be closed must not keep the next one from being opened
        except Exception as error:  # noqa: BLE001
            log.warning("%s: closing failed: %s", self.name, _text(error))


def _text(error: Exception) -> str:
    return redact(error.message if isinstance(error, EdgeInspectError) else f"{type(error).__name__}: {error}")
