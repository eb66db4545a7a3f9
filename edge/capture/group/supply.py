"""One frame for each part that a group of cameras sees: their pictures joined, in the order of the triggers.

It stands between the captures and the loop, and has no thread of its own. Each camera has the queue that it would have
alone; the oldest of each, its head, waits here until it is clear which heads show the same part.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone

from edge.capture.group.cameras import CameraGroup
from edge.capture.group.joined import Joiner
from edge.capture.group.pairing import Head, Pairing, Part
from edge.capture.streams.stream_clock import utc_at
from edge.capture.triggers.hardware_supply import HardwareSupply
from edge.capture.triggers.ordered_supply import OrderedSupply
from edge.capture.triggers.triggered_supply import TriggeredSupply
from edge.core import datatypes
from edge.core.config import Settings, TriggerSettings
from edge.core.counters import RunCounters, worth_a_line
from edge.core.datatypes import Fault, Frame, Reason

log = logging.getLogger(__name__)


class GroupSupply:
    """What the supplies of groups share. A camera that is lost is told by frames without a picture and without a part,
    as that of a line with one camera is.
    """

    live = True

    def __init__(
        self,
        group: CameraGroup,
        supplies: Sequence[OrderedSupply],
        counters: RunCounters,
        now_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._group, self._supplies, self._counters, self._now_ns = group, tuple(supplies), counters, now_ns
        self._names = tuple(camera.name for camera in group.cameras)
        self._joiner = Joiner(self._names, group.name)
        # touched by the taking side
        self._heads: list[Frame | None] = [None] * len(self._supplies)
        self._next_index = 0
        counters.triggers = 0
        counters.trigger_state = "no trigger yet"
        counters.counted = "parts"

    @property
    def ended(self) -> bool:
        return all(supply.ended for supply in self._supplies) and not any(self._heads)

    @property
    def waiting(self) -> int:
        """Parts that were triggered and are not done; from any thread. A camera's supply counts what was taken of it,
        which is its head here or in the part in hand."""
        return max(supply.waiting for supply in self._supplies)

    def blank(self, fault: Fault) -> Frame:
        """A frame without a picture, stamped now and numbered like the others."""
        return self._numbered(
            Frame(0, time.perf_counter_ns(), datetime.now(timezone.utc), self._group.name, None, fault)
        )

    def take(self, timeout_s: float) -> Frame | None:
        """The next part's frame, or one that says that a camera is lost; None when neither is due in timeout_s."""
        end_ns = self._now_ns() + round(timeout_s * 1e9)
        looked = False
        while True:
            frame = self._part_frame()
            if frame is not None:
                return self._numbered(frame)
            now_ns = self._now_ns()
            if looked and now_ns >= end_ns:
                return None
            looked = True
            lost = self._fill_heads(end_ns)
            self._group.publish()
            if lost is not None:
                return self._numbered(lost)

    def _fill_heads(self, end_ns: int) -> Frame | None:
        """Wait for the first camera without a head, and look at the others. The frame that says that one is lost."""
        for position, supply in enumerate(self._supplies):
            if self._heads[position] is not None:
                continue
            until_ns = min(end_ns, self._until_ns())
            frame = supply.take(max(0, until_ns - self._now_ns()) / 1e9)
            if frame is not None and frame.part is None:
                assert frame.fault is not None, "between parts only the loss of a camera is passed on"
                fault = replace(frame.fault, detail=f"camera {self._names[position]}: {frame.fault.detail}")
                return replace(frame, source=self._group.name, fault=fault)
            self._heads[position] = frame
        return None

    def _until_ns(self) -> int:
        """When the heads must be looked at again, although nothing came."""
        raise NotImplementedError

    def _part_frame(self) -> Frame | None:
        """The frame of the part that the heads belong to, which are taken away; None while it is not complete."""
        raise NotImplementedError

    def _joined(self, frames: Sequence[Frame], doubt: Fault | None = None) -> Frame:
        part = frames[0].part
        count = 0 if part is None else part.trigger
        self._counters.trigger_state = f"{count} parts asked for were looked at, {self.waiting - 1} wait"
        return self._joiner.joined(self._next_index, frames, doubt)

    def _numbered(self, frame: Frame) -> Frame:
        index, self._next_index = self._next_index, self._next_index + 1
        return replace(frame, index=index)


_FAR_NS = 1 << 62


class TriggeredGroup(GroupSupply):
    """Parts that a PLC asks for: each camera's first picture that was taken from the trigger + settle_ms on.

    Every camera has one frame for each trigger, with a picture or without, so that heads are always of the same part.
    """

    _supplies: tuple[TriggeredSupply, ...]

    def __init__(self, group: CameraGroup, settings: TriggerSettings, counters: RunCounters) -> None:
        supplies = [TriggeredSupply(camera.capture, settings, camera.counters) for camera in group.cameras]
        super().__init__(group, supplies, counters)
        self._firing = threading.Lock()

    def fire(self, number: str, lot: str) -> int:
        """Ask every camera for a picture of the part that is there now; see TriggeredSupply. From any thread."""
        with self._firing:
            counts = {supply.fire(number, lot) for supply in self._supplies}
            (count,) = counts
            self._counters.triggers = count
        return count

    @property
    def longest_wait_s(self) -> float:
        return max(supply.longest_wait_s for supply in self._supplies)

    def follow(self, settings: TriggerSettings) -> None:
        """Another product comes from the next trigger on: its times. From any thread."""
        with self._firing:
            for supply in self._supplies:
                supply.follow(settings)

    def _until_ns(self) -> int:
        return _FAR_NS

    def _part_frame(self) -> Frame | None:
        heads = [head for head in self._heads if head is not None]
        if len(heads) < len(self._heads):
            return None
        triggers = {head.part.trigger for head in heads if head.part is not None}
        assert len(triggers) == 1, f"heads of different triggers: {triggers}"
        self._heads = [None] * len(self._heads)
        return self._joined(heads)


class HardwareGroup(GroupSupply):
    """Parts that one pulse triggers in every camera; `Pairing` says which pictures are of the same part."""

    def __init__(self, group: CameraGroup, settings: TriggerSettings, apart_ms: int, counters: RunCounters) -> None:
        supplies = [HardwareSupply(camera.capture, settings, camera.counters) for camera in group.cameras]
        super().__init__(group, supplies, counters)
        self._apart_ms, self._patience_ms = apart_ms, settings.frame_timeout_ms
        self._pairing = Pairing(len(supplies), apart_ms * 1_000_000, settings.frame_timeout_ms * 1_000_000)
        self._late = self._doubts = 0

    def _until_ns(self) -> int:
        taken = [head.captured_ns for head in self._heads if head is not None]
        return min(taken) + self._patience_ms * 1_000_000 if taken else _FAR_NS

    def _part_frame(self) -> Frame | None:
        while True:
            heads = [None if head is None else Head(head.captured_ns, _is_gap(head)) for head in self._heads]
            lost = [camera.counters.camera_state == "lost" for camera in self._group.cameras]
            part = self._pairing.decide(heads, self._now_ns(), lost)
            if part is None:
                return None
            frames = list(self._heads)
            self._heads = [None if taken else head for taken, head in zip(part.taken, frames, strict=True)]
            if not part.late:
                return self._of_part(part, frames, lost)
            self._late += 1
            if worth_a_line(self._late):
                log.warning("a picture came after its part had its verdict, %d times", self._late)

    def _of_part(self, part: Part, heads: Sequence[Frame | None], lost: Sequence[bool]) -> Frame:
        count = self._counters.triggers = (self._counters.triggers or 0) + 1
        told = datatypes.Part(trigger=count)
        first_ns = min(head.captured_ns for head, of in zip(heads, part.taken, strict=True) if of and head is not None)
        frames = []
        for position, (head, of) in enumerate(zip(heads, part.taken, strict=True)):
            if head is None or not of:
                source = self._group.cameras[position].capture.name
                fault = self._why_none(position, part, lost[position])
                head = Frame(0, first_ns, utc_at(first_ns), source, None, fault)
            frames.append(replace(head, part=told))
        doubt = None
        if part.doubt:
            self._doubts += 1
            doubt = Fault(
                Reason.MISSED_FRAME,
                "which pictures show the same part cannot be told: one was missing, and the camera's numbers do not "
                f"say why; so until no camera has sent any for {self._patience_ms} ms (trigger.frame_timeout_ms)",
            )
            if worth_a_line(self._doubts):
                log.warning("trigger %d, %d times: %s", count, self._doubts, doubt.detail)
        return self._joined(frames, doubt)

    def _why_none(self, position: int, part: Part, lost: bool) -> Fault:
        if lost:
            return Fault(Reason.NO_FRAME, "it is lost, and being opened again")
        others = ", ".join(name for name, of in zip(self._names, part.taken, strict=True) if of)
        return Fault(
            Reason.MISSED_FRAME,
            f"no picture within {self._apart_ms} ms (group.apart_ms) of that of camera {others}: it saw no trigger, or "
            "its picture was lost or came late",
        )


def _is_gap(frame: Frame) -> bool:
    return frame.fault is not None and frame.fault.reason is Reason.MISSED_FRAME


def group_supply(group: CameraGroup, settings: Settings, counters: RunCounters) -> TriggeredGroup | HardwareGroup:
    """What joins the pictures of cameras whose trigger is the PLC's, or a pulse."""
    if settings.trigger.mode == "plc":
        return TriggeredGroup(group, settings.trigger, counters)
    return HardwareGroup(group, settings.trigger, settings.group.apart_ms, counters)
