"""A GenICam camera as a source of frames: its driver runs in a process of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from importlib.util import find_spec

from edge.capture.genicam.child import Request
from edge.capture.genicam.child_process import STOP_S, STOP_SOON_S, ChildProcess, Message
from edge.capture.genicam.driver import DriverSettings, PixelLayout
from edge.capture.genicam.formats import bgr_of
from edge.capture.genicam.frame_ids import FrameIds, Gap
from edge.capture.genicam.producers import SCHEME, producer_files
from edge.capture.streams.stream_clock import StreamClock, utc_at
from edge.core.config import CameraSettings
from edge.core.datatypes import Fault, Frame, Reason
from edge.core.errors import CameraError, MissingDependency, UndecodableImage, install_extra

log = logging.getLogger(__name__)

DRIVER = "edge.capture.genicam.harvesters_driver"
# a longer gap is told as one, with its count
MOST_SINGLE_GAPS = 64
# pictures that wait in shared memory while this process does not come round
_SLOTS, _SLOTS_TRIGGERED = 4, 16
_MOST_BYTES = 512 * 1024 * 1024
# of RGBa8, the largest format that is handled
_MOST_PIXEL_BYTES = 4
# the driver's process tells four times a second that it is there; a busy machine may let it wait
_LEAST_PATIENCE_MS = 1000


@dataclass(frozen=True)
class _Stamped:
    at_ns: int
    fault: Fault


class GenICamCamera:
    """A live source. Not thread-safe, but for `interrupt`.

    triggered: the camera waits for its own trigger, so silence is no fault while the driver answers; and every gap in
    the camera's count is a frame without a picture (missed_frame). Else the camera runs free, and gaps are counted as
    dropped. A buffer that is not whole is a frame without a picture (incomplete) in both.
    """

    live = True
    recorded_fps = None

    def __init__(self, child: ChildProcess, settings: CameraSettings, *, triggered: bool) -> None:
        self.name, self.dropped = child.name, 0
        self._child, self._settings, self._triggered = child, settings, triggered
        self._interrupted = threading.Event()
        self._ids = FrameIds()
        # the pictures of a triggered camera come when parts do: silence tells nothing
        self._clock = StreamClock(regular=not triggered)
        self._waiting: deque[Message | _Stamped] = deque()
        self._reads = 0
        self._answers = True
        self._warned = False

    @property
    def pid(self) -> int:
        """Of the driver's process."""
        return self._child.pid

    def read(self) -> Frame | None:
        """The next picture, or what there is in its place; waits for ever for a trigger. Raises CameraError."""
        while not self._waiting:
            self._take_in(self._next_message())
        found = self._waiting.popleft()
        return self._blank(found) if isinstance(found, _Stamped) else self._picture(found)

    def interrupt(self) -> None:
        self._interrupted.set()

    def close(self) -> None:
        """End the driver's process; one that did not answer is killed at once."""
        if not self._answers:
            self._child.kill()
        else:
            self._child.close(STOP_SOON_S if self._interrupted.is_set() else STOP_S)

    def _next_message(self) -> Message:
        """The next message about a picture."""
        patience_ms = max(self._settings.read_timeout_ms, _LEAST_PATIENCE_MS)
        lost_s = self._settings.lost_after_ms / 1000
        began_s = time.monotonic()
        while True:
            message = self._child.hear(patience_ms / 1000, self._interrupted.is_set)
            if self._interrupted.is_set():
                raise CameraError(f"{self.name}: closed", fix="open it again")
            if message is None:
                self._answers = False
                raise CameraError(
                    f"{self.name}: the driver has not answered for {patience_ms} ms",
                    fix="the driver is killed and started again; check cable, power and the machine's load",
                )
            if message.kind != "waiting":
                return message
            if not self._triggered and time.monotonic() - began_s > lost_s:
                raise CameraError(
                    f"{self.name}: the driver answers, but no picture came for {self._settings.lost_after_ms} ms",
                    fix="check the camera's trigger settings; a slow one needs a larger camera.read_timeout_ms",
                )

    def _take_in(self, message: Message) -> None:
        values = message.values
        gap = self._ids.gap_before(values["id"], complete=message.kind != "incomplete")
        if gap is not None:
            self._take_in_gap(gap, values["at_ns"])
        if self._triggered and self._ids.useless and not self._warned:
            self._warned = True
            log.warning("%s gives every picture the same number: a part that it misses is not noticed", self.name)
        if message.kind == "picture":
            self._waiting.append(message)
        elif message.kind == "incomplete":
            detail = "the camera's picture did not come whole: packets were lost on the way"
            self._waiting.append(_Stamped(values["at_ns"], Fault(Reason.INCOMPLETE, detail)))
        elif self._triggered:
            detail = "this program did not come round in time to take the picture from the driver"
            self._waiting.append(_Stamped(values["at_ns"], Fault(Reason.OVERRUN, detail)))
        else:
            self.dropped += 1

    def _take_in_gap(self, gap: Gap, at_ns: int) -> None:
        ids = f"the camera's number went from {gap.before} to {gap.after}"
        if not self._triggered:
            self.dropped += gap.count or 0
            return
        if gap.count is None:
            details = [f"{ids}: it began anew, and how many parts have no picture is not known"]
        elif gap.count > MOST_SINGLE_GAPS:
            details = [f"{ids}: {gap.count} parts have no picture"]
        else:
            details = [f"{ids}: picture {place} of {gap.count} that never came" for place in range(1, gap.count + 1)]
        self._waiting.extend(_Stamped(at_ns, Fault(Reason.MISSED_FRAME, detail)) for detail in details)

    def _picture(self, message: Message) -> Frame:
        values = message.values
        at_ns = self._clock.stamp(values["at_ns"], values["at_ns"], values["device_ns"])
        try:
            image = bgr_of(self._child.picture(message), PixelLayout(**values["layout"]), self._settings.sensor_bits)
        except UndecodableImage as error:
            return self._blank(_Stamped(at_ns, Fault(Reason.UNDECODABLE, str(error))))
        finally:
            self._child.give_back(message)
        return Frame(self._counted(), at_ns, utc_at(at_ns), self.name, image)

    def _blank(self, found: _Stamped) -> Frame:
        return Frame(self._counted(), found.at_ns, utc_at(found.at_ns), self.name, None, found.fault)

    def _counted(self) -> int:
        index, self._reads = self._reads, self._reads + 1
        return index


def open_genicam(
    spec: str, settings: CameraSettings, *, triggered: bool = False, driver: str = DRIVER
) -> GenICamCamera:
    """Open genicam:SERIAL, or genicam: for the only camera. driver: the module that opens it, in the child process.

    Raises MissingDependency without harvesters, CameraError for everything else.
    """
    wishes = settings.genicam
    producers: list[str] = []
    if driver == DRIVER:
        if find_spec("harvesters") is None:
            raise MissingDependency(
                "a GenICam camera needs harvesters, which is not installed", fix=install_extra("genicam")
            )
        producers = [str(file) for file in producer_files(wishes.producers)]
    how = DriverSettings(
        serial=spec.strip()[len(SCHEME) :].strip(),
        producers=tuple(producers),
        exposure_us=wishes.exposure_us,
        gain_db=wishes.gain_db,
        pixel_format=wishes.pixel_format,
        packet_bytes=wishes.packet_bytes,
        width_px=settings.width_px,
        height_px=settings.height_px,
        fps=settings.fps,
        triggered=triggered,
        trigger_source=wishes.trigger_source,
    )
    most_picture_bytes = round(settings.max_megapixels * 1_000_000) * _MOST_PIXEL_BYTES
    slots = _SLOTS_TRIGGERED if triggered else _SLOTS
    request = Request(driver, how, slots, most_picture_bytes, _MOST_BYTES)
    return GenICamCamera(ChildProcess(request, settings.open_timeout_ms), settings, triggered=triggered)
