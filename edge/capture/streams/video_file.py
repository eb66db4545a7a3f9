"""Video files: every frame in order, damaged ones as faults."""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from pathlib import Path

import av
from av.container import InputContainer

from edge.capture.file_sources import Pace
from edge.capture.streams.video_decoder import VideoDecoder
from edge.core.config import CameraSettings
from edge.core.datatypes import Fault, Frame, Reason
from edge.core.errors import CameraError

# FFmpeg shows text and raw bytes as videos of letters and noise, and playlists would open other files
NO_VIDEOS = frozenset({"tty", "bin", "xbin", "adf", "idf", "concat", "hls", "dash", "image2", "rawvideo", "lavfi"})
# a transport stream comes in packets of one of these sizes; a rest means that it was cut
TRANSPORT_PACKET_BYTES = (188, 192, 204)


class VideoFile:
    """A video file, every frame in order. One that is cut off ends with a faulty Frame that says so.

    Counts and lengths in headers are hints that trimmed clips and odd rates do not keep to: only what the container
    itself misses at its end counts.
    """

    live = False

    def __init__(self, path: Path, settings: CameraSettings) -> None:
        self.name = str(path)
        self._pace = Pace(settings.fps)
        self._reads = 0
        self._ended = False
        container = _opened(path, settings)
        self._decoder = VideoDecoder(container, settings)
        self._cut_off = _cut_off(path, container.format.name)
        # of the recording; a file that does not say is taken for one of 25 frames/s
        self.recorded_fps = self._decoder.frames_per_s or 25.0

    def read(self) -> Frame | None:
        """The next frame, None after the last."""
        if self._ended:
            return None
        self._pace.wait()
        try:
            picture = self._decoder.read()
            complaint = self._cut_off or self._decoder.broken_off
        except av.FFmpegError as error:
            picture, complaint = None, error.strerror or str(error)
        if picture is not None:
            return picture.frame(*self._stamp())
        self._ended = True
        if complaint is None:
            return None
        fault = Fault(Reason.UNDECODABLE, f"the video breaks off after {self._reads} frames ({complaint})")
        return Frame(*self._stamp(), None, fault)

    @property
    def dropped(self) -> int:
        """Pictures of which the decoder made nothing."""
        return self._decoder.skipped

    def interrupt(self) -> None:
        """Let a read that waits for its pace end at once; from another thread."""
        self._pace.end()

    def close(self) -> None:
        self._pace.end()
        self._decoder.close()

    def _stamp(self) -> tuple[int, int, datetime, str]:
        index, self._reads = self._reads, self._reads + 1
        return index, time.perf_counter_ns(), datetime.now(timezone.utc), self.name


def _opened(path: Path, settings: CameraSettings) -> InputContainer:
    # the time-outs guard against a file on a network drive that stopped answering
    timeouts = settings.open_timeout_ms / 1000, settings.read_timeout_ms / 1000
    container = None
    try:
        # a name that is no text cannot be handed to FFmpeg; an open file can
        named = str(path) if os.fsencode(path).isascii() else path.open("rb")
        container = av.open(named, "r", timeout=timeouts, options={"protocol_whitelist": "file"})
        assert isinstance(container, InputContainer)
        if container.streams.video and container.format.name not in NO_VIDEOS:
            return container
        why = "it holds no video"
        container.close()
    except av.FFmpegError as error:
        why = error.strerror or str(error)
    raise CameraError(
        f"{path}: {path.stat().st_size} bytes that cannot be opened as a video ({why})",
        fix="check that it plays; for pictures use a known suffix, for example .png or .jpg",
    )


def _cut_off(path: Path, container: str) -> str | None:
    """What a container does not notice itself: that its file is shorter than it was written."""
    size = path.stat().st_size
    if container == "mpegts" and all(size % packet for packet in TRANSPORT_PACKET_BYTES):
        return f"{size} bytes are no whole number of packets"
    if container == "avi":
        with path.open("rb") as file:
            announced = int.from_bytes(file.read(8)[4:], "little") + 8
        # recordings of over 4 GB, and of a recorder that lost power, have no true size here
        if size < announced < 1 << 32:
            return f"{size} of {announced} bytes"
    return None
