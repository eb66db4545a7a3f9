"""One look at each part: of a line's pictures, only those go on in which a new part lies still."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from edge.capture.capture import FrameSupply
from edge.capture.triggers.motion_trigger import STILL_S, MotionTrigger
from edge.core.config import TriggerSettings
from edge.core.counters import RunCounters, worth_a_line
from edge.core.datatypes import U8, Fault, Frame, Reason

log = logging.getLogger(__name__)

# after so long without a part a warning is logged, and again after as long
_QUIET_S = 60.0


class PartTrigger:
    """A supply of frames that stands between capture and loop: each part is judged once, when it lies still.

    Pictures between parts are counted, no verdicts. Nothing is passed over in silence: a picture with a fault goes on
    as ever; what moves for max_moving_ms without coming to rest is a faulty frame (part_moving), once in every such
    period; stops that are too short and places without a part are counted and logged.

    frames_per_s: of a recording, whose own time counts; None: time is when a picture was grabbed. is_empty: whether a
    picture at rest shows no part; None: that is not known, and every new picture at rest is judged.
    """

    def __init__(
        self,
        frames: FrameSupply,
        settings: TriggerSettings,
        counters: RunCounters,
        frames_per_s: float | None = None,
        is_empty: Callable[[U8], bool] | None = None,
    ) -> None:
        self.live = frames.live
        self._frames, self._counters = frames, counters
        self._max_moving_s = settings.max_moving_ms / 1000
        self._frames_per_s = frames_per_s
        self._is_empty = is_empty or (lambda picture: False)
        self._watch = MotionTrigger()
        # the last picture, and the last of a stop
        self._before: U8 | None = None
        self._stopped: U8 | None = None
        self._warned_moving_s: float | None = None
        self._part_s: float | None = None
        self._warned_quiet_s = 0.0
        self._next_index = 0

    def follow(self, settings: TriggerSettings, is_empty: Callable[[U8], bool] | None) -> None:
        """Another product lies here from the next picture on: its times, and its empty place. From any thread."""
        self._max_moving_s = settings.max_moving_ms / 1000
        self._is_empty = is_empty or (lambda picture: False)

    @property
    def ended(self) -> bool:
        return self._frames.ended

    def take(self, timeout_s: float) -> Frame | None:
        """The next part at rest, or a frame with a fault; None when there is neither within timeout_s."""
        until = time.perf_counter() + timeout_s
        while True:
            frame = self._frames.take(max(0.0, until - time.perf_counter()))
            if frame is None:
                return None
            looked_at = self._look(frame)
            if looked_at is not None:
                return self._numbered(looked_at)
            if time.perf_counter() >= until:
                return None

    def blank(self, fault: Fault) -> Frame:
        """A frame without a picture, stamped now and numbered like the others."""
        return self._numbered(self._frames.blank(fault))

    def _numbered(self, frame: Frame) -> Frame:
        index, self._next_index = self._next_index, self._next_index + 1
        return replace(frame, index=index)

    def _look(self, frame: Frame) -> Frame | None:
        """The frame if it gets a verdict, None between parts."""
        if frame.image is None or frame.fault is not None:
            return frame
        at_s = frame.index / self._frames_per_s if self._frames_per_s else frame.captured_ns / 1e9
        if self._part_s is None:
            self._part_s = self._warned_quiet_s = at_s
        stops = self._watch.short_stops
        rests = self._watch.is_new_and_still(frame.image, at_s)
        if self._watch.stopped_s == at_s:
            self._stopped = self._before
        if self._watch.short_stops > stops:
            self._note_short_stop()
        self._before = frame.image
        if rests and not self._is_empty(frame.image):
            self._part_s = self._warned_quiet_s = at_s
            self._counters.trigger_state = "a part lies still"
            return frame
        if rests:
            self._counters.empty_places += 1
        self._counters.between_parts += 1
        self._publish_state(at_s)
        return self._restless(frame, at_s)

    def _note_short_stop(self) -> None:
        if self._stopped is None or self._is_empty(self._stopped):
            return
        self._counters.short_stops += 1
        count = self._counters.short_stops
        if worth_a_line(count):
            log.warning(
                "a part stopped for less than %.1f s and was not judged (%d times): let it lie longer, "
                "or set trigger.mode to free",
                STILL_S,
                count,
            )

    def _publish_state(self, at_s: float) -> None:
        """Keep the state for the view, and say when no part has come for long."""
        assert self._part_s is not None
        quiet_s = at_s - self._part_s
        moves = self._watch.moving_since_s is not None
        self._counters.trigger_state = f"{'moving' if moves else 'at rest'}, last part {quiet_s:.0f} s ago"
        if at_s - self._warned_quiet_s >= _QUIET_S:
            self._warned_quiet_s = at_s
            log.warning("no part has come to rest for %.0f s; %d so far", quiet_s, self._counters.frames)

    def _restless(self, frame: Frame, at_s: float) -> Frame | None:
        since_s = self._watch.moving_since_s
        if since_s is None:
            self._warned_moving_s = None
            return None
        if at_s - max(since_s, self._warned_moving_s or since_s) < self._max_moving_s:
            return None
        self._warned_moving_s = at_s
        detail = (
            f"the picture has moved for {at_s - since_s:.1f} s without lying still for {STILL_S} s: no part could be "
            "judged; stop the belt for each part, raise trigger.max_moving_ms, or set trigger.mode to free"
        )
        return replace(frame, fault=Fault(Reason.PART_MOVING, detail))
