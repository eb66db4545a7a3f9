"""An ordered queue between capture and loop: each part that was asked for, or triggered, gets one frame in its turn."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge.capture.capture import Capture
from edge.core.counters import RunCounters
from edge.core.datatypes import Fault, Frame, Part, Reason


@dataclass(eq=False)
class Waiting:
    """A part that waits for its picture, or with it for its turn.

    from_ns, until_ns: when a picture of it may be taken. found: its picture, or why there is none.
    """

    part: Part
    fired_ns: int
    from_ns: int
    until_ns: float
    found: Frame | Fault | None = None


class OrderedSupply:
    """What the supplies of triggered parts share: the queue, its end, and the frames that say that the camera is lost.

    Its lock is held for a few comparisons only: neither a trigger nor the grab thread may wait. At most `most_waiting`
    parts wait for the network with a picture, or for their picture.
    """

    def __init__(
        self,
        capture: Capture,
        counters: RunCounters,
        most_waiting: int,
        now_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.live, self._now_ns = capture.live, now_ns
        self._capture, self._counters, self._most_waiting = capture, counters, most_waiting
        self._changed = threading.Condition()
        self._parts: deque[Waiting] = deque()
        # touched by the taking side
        self._next_index = 0
        self._trouble = ""
        self._in_hand = False
        counters.triggers = 0
        counters.trigger_state = "no trigger yet"

    @property
    def waiting(self) -> int:
        """Parts that were triggered and are not done: whoever took the last one has not come again; from any thread."""
        return len(self._parts) + self._in_hand

    @property
    def ended(self) -> bool:
        return not self._parts and self._capture.ended

    def take(self, timeout_s: float) -> Frame | None:
        """The next part's frame, or one that says that the camera is lost; None when neither is due in timeout_s."""
        self._in_hand = False
        return self._take_live(self._now_ns() + round(timeout_s * 1e9))

    def blank(self, fault: Fault) -> Frame:
        """A frame without a picture, stamped now and numbered like the others."""
        return self._numbered(self._capture.blank(fault))

    @property
    def _is_full(self) -> bool:
        """With the lock held. What will have no picture costs next to nothing, and waits beside."""
        return sum(_holds_picture(each.found) for each in self._parts) >= self._most_waiting

    def _take_live(self, end_ns: int) -> Frame | None:
        looked = False
        while True:
            now_ns = self._now_ns()
            part_frame, until_ns = self._due(now_ns)
            if part_frame is not None:
                return part_frame
            if looked and now_ns >= end_ns:
                return None
            looked = True
            frame = self._capture.take(max(0, min(end_ns, until_ns) - now_ns) / 1e9)
            if frame is not None and frame.fault is not None and frame.fault.reason is Reason.NO_FRAME:
                self._trouble = frame.fault.detail
                return self._numbered(frame)
            if frame is not None:
                self._trouble = ""
            elif self._capture.ended:
                self._give_up()

    def _due(self, now_ns: int) -> tuple[Frame | None, float]:
        """The frame of the part whose turn it is; else until when that part waits for it."""
        with self._changed:
            if not self._parts:
                return None, math.inf
            head = self._parts[0]
            if head.found is None and now_ns > head.until_ns:
                head.found = Fault(Reason.NO_FRAME, self._why_too_late())
            if head.found is None:
                return None, head.until_ns
            # before it leaves the queue: `waiting` never misses it
            self._in_hand = True
            self._parts.popleft()
        return self._of_part(head.part, head.found), 0.0

    def _why_too_late(self) -> str:
        return f"no picture came in time{'; ' if self._trouble else ''}{self._trouble}"

    def _give_up(self) -> None:
        """Capture has ended: nothing will come for those who wait."""
        with self._changed:
            for each in self._parts:
                each.found = each.found or Fault(Reason.NO_FRAME, "the source has ended: no picture is left")

    def _of_part(self, part: Part, found: Frame | Fault) -> Frame:
        frame = self._capture.blank(found) if isinstance(found, Fault) else found
        self._counters.trigger_state = f"{part.trigger} parts asked for were looked at, {len(self._parts)} wait"
        return self._numbered(replace(frame, part=part))

    def _numbered(self, frame: Frame) -> Frame:
        index, self._next_index = self._next_index, self._next_index + 1
        return replace(frame, index=index)


def _holds_picture(found: Frame | Fault | None) -> bool:
    return found is None or (isinstance(found, Frame) and found.image is not None)
