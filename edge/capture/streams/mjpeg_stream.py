"""MJPEG over HTTP: every picture is looked at before it is decoded, and the newest comes first.

FFmpeg fills a broken JPEG with the picture before, and OpenCV scales one of another size to the first one's; neither
can be told from what they give. So the transport is ours.
"""

from __future__ import annotations

import threading
import time

from edge.capture.images.image_io import decode_picture, original_suffix
from edge.capture.streams.http_stream import HttpStream
from edge.capture.streams.multipart import MultipartPart, MultipartReader, NotMultipart
from edge.capture.streams.stream_clock import StreamClock, utc_at
from edge.core.config import CameraSettings
from edge.core.datatypes import Fault, Frame, Reason
from edge.core.errors import CameraError, UndecodableImage
from edge.core.frame_memory import FRAME_MEMORY

# how exactly is known since when bytes lie in the socket, also when this process stood still; and how soon a read ends
POLL_S = 0.02
# a stream that brings more than can be taken in this time is not waited for: the newest whole picture is shown
DRAIN_NS = 100_000_000


class MjpegStream:
    """The pictures of a multipart stream. What came while the one before was decoded is dropped for the newest.

    dropped: how many. A picture's `captured_ns` is the last moment when nothing of it had come, or earlier where it may
    have waited on the way (StreamClock). A part that is no whole picture is a Frame with a fault.
    """

    live = True
    recorded_fps = None

    def __init__(self, stream: HttpStream, boundary: bytes, name: str, settings: CameraSettings) -> None:
        self.name = name
        self.dropped = 0
        self._stream = stream
        self._settings = settings
        self._parts = MultipartReader(boundary, round(settings.max_file_mb * 1e6))
        self._clock = StreamClock()
        self._empty_ns = time.perf_counter_ns()
        self._reads = 0
        self._ending = threading.Event()

    def read(self) -> Frame | None:
        """The newest picture, waiting for one at most camera.lost_after_ms; raises CameraError."""
        part, captured_ns = self._newest_part()
        index, self._reads = self._reads, self._reads + 1
        stamp = index, captured_ns, utc_at(captured_ns), self.name
        if part.missing_bytes:
            detail = f"{part.missing_bytes} of the bytes that the camera announced for the picture did not come"
            return Frame(*stamp, None, Fault(Reason.UNDECODABLE, detail))
        try:
            image = decode_picture(part.body, self._settings.sensor_bits, self._settings.max_megapixels, FRAME_MEMORY)
        except UndecodableImage as error:
            return Frame(*stamp, None, Fault(Reason.UNDECODABLE, str(error)))
        return Frame(*stamp, image, None, part.body if original_suffix(part.body) else None)

    def interrupt(self) -> None:
        """Let a read that waits end soon; from another thread."""
        self._ending.set()

    def close(self) -> None:
        self._stream.close()

    def _newest_part(self) -> tuple[MultipartPart, int]:
        """The newest of all pictures that have come, and when it was taken, as far as can be known."""
        newest: tuple[MultipartPart, int] | None = None
        began_ns = time.perf_counter_ns()
        while True:
            there = self._stream.readable(0.0)
            now_ns = time.perf_counter_ns()
            if not there:
                self._empty_ns = now_ns
            if newest is not None and (not there or now_ns - began_ns > DRAIN_NS):
                return newest
            if not there:
                self._wait_for_bytes()
            for part in self._received():
                if newest is not None:
                    self.dropped += 1
                newest = part, self._clock.stamp(part.since_ns, part.read_ns, _stream_ns(part))

    def _wait_for_bytes(self) -> None:
        deadline_ns = time.perf_counter_ns() + self._settings.lost_after_ms * 1_000_000
        while not self._stream.readable(POLL_S):
            self._empty_ns = time.perf_counter_ns()
            if self._ending.is_set():
                raise CameraError(f"{self.name}: no longer read", fix="nothing: the inspection ends")
            if self._empty_ns > deadline_ns:
                raise CameraError(
                    f"{self.name}: nothing came for {self._settings.lost_after_ms} ms",
                    fix="check cable and power; a slow or triggered camera needs a larger camera.read_timeout_ms",
                )

    def _received(self) -> list[MultipartPart]:
        """The parts that what lies in the socket completes."""
        try:
            data = self._stream.receive()
        except (OSError, ValueError) as error:
            raise CameraError(f"{self.name}: the connection broke: {error}", fix="check cable and power") from error
        if data is None:
            raise CameraError(f"{self.name}: the camera ended the stream", fix="the next attempt opens it again")
        try:
            return self._parts.feed(data, self._empty_ns, time.perf_counter_ns())
        except NotMultipart as error:
            raise CameraError(
                f"{self.name}: {error}", fix="check the address; camera.max_file_mb bounds the size of one picture"
            ) from error


def _stream_ns(part: MultipartPart) -> int | None:
    """The moment that some cameras write beside each picture, in seconds since any origin."""
    try:
        return round(float(part.headers.get("x-timestamp", "")) * 1e9)
    except (ValueError, OverflowError):
        return None
