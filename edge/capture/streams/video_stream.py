"""Video over the network (RTSP, and HTTP that is no MJPEG) through FFmpeg: whole pictures, and no old ones."""

from __future__ import annotations

import logging
import time

import av

from edge.capture.streams.stream_clock import StreamClock, utc_at
from edge.capture.streams.video_decoder import DecodedPicture, VideoDecoder
from edge.core.config import CameraSettings
from edge.core.datatypes import Fault, Frame, Reason
from edge.core.errors import CameraError
from edge.core.redact import redact

log = logging.getLogger(__name__)

# a packet that came sooner than this after it was asked for had been waiting
WAITED_NS = 2_000_000
# a later picture is decoded, since the next ones need it, but not shown
MOST_LATE_NS = 400_000_000
# so long a stream may take to catch up by decoding alone, before everything up to the next key frame is left out
CATCHING_UP_NS = 1_000_000_000
# what was read while the format was found out is old; who never had to wait for a picture is shown them after so many
JOINING_PICTURES = 200
OPTIONS = {
    # UDP only where the camera offers nothing else: what TCP delivers is complete
    "rtsp_flags": "prefer_tcp",
    # what is lost of the sound is no damage of the picture
    "allowed_media_types": "video",
    # servers leave packets out over TCP, too, when a reader is slow; FFmpeg counts them only where it may reorder them
    "reorder_queue_size": "2",
    # do not keep what was read to find out the format: it is old when it is shown
    "fflags": "nobuffer",
}


class VideoStream:
    """A live stream."""

    live = True
    recorded_fps = None

    def __init__(self, decoder: VideoDecoder, name: str, settings: CameraSettings) -> None:
        self.name = name
        self._decoder = decoder
        self._settings = settings
        self._clock = StreamClock()
        self._empty_ns = time.perf_counter_ns()
        self._joined = False
        self._before_ns: int | None = None
        self._late_since_ns: int | None = None
        self._not_shown = 0
        self._reads = 0

    @property
    def dropped(self) -> int:
        """Pictures that were left out, on joining and to catch up."""
        return self._not_shown + self._decoder.skipped

    def read(self) -> Frame | None:
        """The next picture; blocks for at most camera.lost_after_ms. Raises CameraError.

        When pictures come faster than they are decoded, or none was read for a while, one frame is stale, and
        the next one is a picture of now.
        """
        while True:
            picture = self._next()
            captured_ns = self._captured_ns(picture)
            now_ns = time.perf_counter_ns()
            self._joined = self._joined or self._is_of_now(picture)
            if self._joined and now_ns - captured_ns <= MOST_LATE_NS:
                self._late_since_ns = None
                return picture.frame(self._index(), captured_ns, utc_at(captured_ns), self.name)
            self._not_shown += 1
            if self._joined and (late := self._late(now_ns, now_ns - captured_ns)):
                return Frame(self._index(), captured_ns, utc_at(captured_ns), self.name, None, late)

    def _is_of_now(self, picture: DecodedPicture) -> bool:
        """Whether the reader had to wait for it about as long as the stream's time went on: nothing else waits."""
        before_ns, self._before_ns = self._before_ns, picture.stream_ns
        waited_ns = picture.came_ns - picture.began_ns
        if self._not_shown >= JOINING_PICTURES:
            return True
        if picture.stream_ns is None:
            return waited_ns >= WAITED_NS
        return before_ns is not None and waited_ns >= max(WAITED_NS, (picture.stream_ns - before_ns) // 2)

    def _late(self, now_ns: int, late_ns: int) -> Fault | None:
        """The fault of a late picture, once for each time the stream falls behind."""
        if self._late_since_ns is None:
            self._late_since_ns = now_ns
            return Fault(Reason.STALE, f"the stream is {late_ns / 1e6:.0f} ms late; what waits is left out")
        if now_ns - self._late_since_ns > CATCHING_UP_NS:
            self._late_since_ns = now_ns
            self._decoder.skip_to_key_frame()
        return None

    def interrupt(self) -> None:
        """FFmpeg cannot be interrupted from outside; a read ends with its time-out."""

    def close(self) -> None:
        self._decoder.close()

    def _next(self) -> DecodedPicture:
        try:
            picture = self._decoder.read()
        except av.FFmpegError as error:
            cause = redact(error.strerror or str(error))
            raise CameraError(
                f"{self.name}: nothing came for {self._settings.lost_after_ms} ms, or the connection broke ({cause})",
                fix="check cable and power; a camera that is slow or triggered needs a larger camera.read_timeout_ms",
            ) from error
        if picture is None:
            raise CameraError(f"{self.name}: the camera ended the stream", fix="the next attempt opens it again")
        return picture

    def _captured_ns(self, picture: DecodedPicture) -> int:
        if picture.came_ns - picture.began_ns >= WAITED_NS:
            self._empty_ns = picture.came_ns
        return self._clock.stamp(self._empty_ns, picture.came_ns, picture.stream_ns)

    def _index(self) -> int:
        index, self._reads = self._reads, self._reads + 1
        return index
