"""One look at each part that somebody asks for: its picture is the first one that was taken after the trigger."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone

from edge.capture.capture import Capture
from edge.capture.triggers.ordered_supply import OrderedSupply, Waiting
from edge.core.config import TriggerSettings
from edge.core.counters import RunCounters, worth_a_line
from edge.core.datatypes import Fault, Frame, Part, Reason

log = logging.getLogger(__name__)


class TriggeredSupply(OrderedSupply):
    """A supply of frames that stands between capture and loop: one frame for each `fire`, in their order.

    A part gets the first frame with captured_ns from its trigger + settle_ms on, whatever is wrong with that frame.
    Every frame is looked at where it is grabbed, so a busy model makes no part miss its frame. A frame belongs to one
    part: what was taken after the next part's time shows that part, and the one before gets none. A part without a
    frame for frame_timeout_ms is a frame without a picture (no_frame). While `queue` parts wait, further ones are
    frames without a picture, too (overrun), each in its place. Between triggers nothing is passed on but the frames
    without a picture by which capture says that the camera is lost.

    Of a source that waits (files), each trigger gets the next picture, as if it had been taken then, and waits for it.
    """

    def __init__(
        self,
        capture: Capture,
        settings: TriggerSettings,
        counters: RunCounters,
        now_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        super().__init__(capture, counters, settings.queue, now_ns)
        self._settle_ns = settings.settle_ms * 1_000_000 if capture.live else 0
        self._patience_ms = settings.frame_timeout_ms
        self._overruns = 0
        if capture.live:
            capture.observe(self._see)

    def fire(self, number: str, lot: str) -> int:
        """Ask for a picture of the part that is there now; returns at once, with the count of this trigger, from 1.

        number, lot: what the plant calls the part; cleaned here. From any thread.
        """
        part = Part.told(number, lot)
        with self._changed:
            # under the lock: no frame can come in between this moment and the part's place in the queue
            now_ns = self._now_ns()
            count = self._counters.triggers = (self._counters.triggers or 0) + 1
            from_ns = now_ns + self._settle_ns
            until_ns = from_ns + self._patience_ms * 1_000_000 if self.live else math.inf
            waiting = Waiting(replace(part, trigger=count), now_ns, from_ns, until_ns)
            full = self._is_full
            if full:
                waiting.found = Fault(Reason.OVERRUN, self._why_overrun())
                self._overruns += 1
            overruns = self._overruns
            self._parts.append(waiting)
            self._changed.notify_all()
        # so that a part's end of patience is counted from now
        self._capture.wake()
        if full and worth_a_line(overruns):
            log.warning("trigger %d, %d times: %s", count, overruns, self._why_overrun())
        return count

    def _why_overrun(self) -> str:
        return (
            f"{self._most_waiting} parts wait already (trigger.queue): parts come faster than they are judged; let the "
            "PLC wait for each result, or slow the line down"
        )

    # the grab thread

    def _see(self, frame: Frame) -> None:
        """Give a frame to the part that it shows: of those whose time had come, the last one."""
        with self._changed:
            shown = None
            for each in self._parts:
                if each.from_ns > frame.captured_ns:
                    break
                if shown is not None and shown.found is None:
                    shown.found = Fault(Reason.NO_FRAME, self._why_none(shown, each))
                shown = each
            if shown is not None and shown.found is None and frame.captured_ns <= shown.until_ns:
                shown.found = frame
                return
        self._counters.between_parts += 1

    def _why_none(self, missed: Waiting, following: Waiting) -> str:
        apart_ms = (following.fired_ns - missed.fired_ns) / 1e6
        return (
            f"no picture was taken between this part's time and that of the next one, {apart_ms:.0f} ms later: "
            "the camera is too slow for these parts, or the trigger bounced"
        )

    # the taking side

    @property
    def longest_wait_s(self) -> float:
        """A part that was asked for has its picture, or none for good, after so long."""
        return self._settle_ns / 1e9 + self._patience_ms / 1000

    def follow(self, settings: TriggerSettings) -> None:
        """Another product comes from the next trigger on: its times. From any thread."""
        self._settle_ns = settings.settle_ms * 1_000_000 if self.live else 0
        self._patience_ms = settings.frame_timeout_ms

    def take(self, timeout_s: float) -> Frame | None:
        """The next part's frame, or one that says that the camera is lost; None when neither is due in timeout_s."""
        self._in_hand = False
        end_ns = self._now_ns() + round(timeout_s * 1e9)
        return self._take_live(end_ns) if self.live else self._take_next_picture(end_ns)

    def _why_too_late(self) -> str:
        trouble = f"; {self._trouble}" if self._trouble else ""
        return (
            f"no picture came within trigger.frame_timeout_ms ({self._patience_ms}) of trigger.settle_ms "
            f"({self._settle_ns // 1_000_000}) after the trigger{trouble}"
        )

    def _take_next_picture(self, end_ns: int) -> Frame | None:
        with self._changed:
            if not self._parts:
                self._changed.wait(max(0, end_ns - self._now_ns()) / 1e9)
            head = self._parts[0] if self._parts else None
        if head is None:
            return None
        picture = None if head.found is not None else self._capture.take(max(0, end_ns - self._now_ns()) / 1e9)
        if picture is not None:
            # read ahead of its trigger: no time passed that the part had to wait
            head.found = replace(picture, captured_ns=self._now_ns(), utc=datetime.now(timezone.utc))
        elif head.found is None and self._capture.ended:
            self._give_up()
        return self._due(self._now_ns())[0]
