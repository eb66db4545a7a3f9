"""One verdict for each trigger of the camera itself: every buffer is a part, in order, and none replaces another."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

from edge.capture.capture import Capture
from edge.capture.triggers.ordered_supply import OrderedSupply, Waiting
from edge.core.config import TriggerSettings
from edge.core.counters import RunCounters, worth_a_line
from edge.core.datatypes import Fault, Frame, Part, Reason

log = logging.getLogger(__name__)

# parts without a picture that wait while the model hangs; of more, the last one has the count
MOST_WITHOUT_PICTURE = 1000


class HardwareSupply(OrderedSupply):
    """A supply of frames that stands between the capture of a triggered camera and the loop.

    What the camera's reader gives is a part each, whatever is wrong with it: a picture, an incomplete one, one that the
    camera counted and that never came. While `queue` parts wait for the network, further ones lose their picture
    (overrun), each in its place. Between triggers nothing is passed on but the frames without a picture by which
    capture says that the camera is lost.
    """

    def __init__(self, capture: Capture, settings: TriggerSettings, counters: RunCounters) -> None:
        super().__init__(capture, counters, settings.queue)
        self._overruns = self._beyond = 0
        capture.observe(self._see)

    # the grab thread

    def _see(self, frame: Frame) -> None:
        with self._changed:
            count = self._counters.triggers = (self._counters.triggers or 0) + 1
            full = self._is_full
            overrun = full and frame.fault is None
            if full:
                fault = frame.fault or Fault(Reason.OVERRUN, self._why_overrun())
                frame = replace(frame, image=None, original=None, fault=fault)
            self._overruns += overrun
            waiting = Waiting(Part(trigger=count), frame.captured_ns, frame.captured_ns, math.inf, frame)
            if len(self._parts) >= self._most_waiting + MOST_WITHOUT_PICTURE:
                self._beyond += 1
                detail = f"{self._beyond + 1} parts came while verdicts stood still, the last one at trigger {count}"
                waiting.found = Fault(Reason.OVERRUN, detail)
                self._parts[-1] = waiting
            else:
                self._beyond = 0
                self._parts.append(waiting)
            overruns = self._overruns
        if overrun and worth_a_line(overruns):
            log.warning("trigger %d, %d times: %s", count, overruns, self._why_overrun())

    def _why_overrun(self) -> str:
        return (
            f"{self._most_waiting} parts wait already (trigger.queue): parts come faster than they are judged; slow "
            "the line down, or raise trigger.queue for parts that come in bursts"
        )
