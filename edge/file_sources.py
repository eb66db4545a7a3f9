"""Videos and pictures from disk: as they are, or shown at a camera's pace."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import cv2

from edge.config import CameraSettings
from edge.datatypes import U8, Fault, Frame, Reason
from edge.errors import CameraError
from edge.picture import UndecodablePicture, bgr_from_buffer, original_suffix
from edge.picture_reader import PictureReader

# a container may only estimate how many frames it holds; fewer missing than this share are not held against it
FRAME_COUNT_TOLERANCE = 0.05


class Pace:
    """Moments `1/fps` apart; a late caller is let through at once and the rhythm starts again from there."""

    def __init__(self, fps: float | None, now_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        self._period_ns = round(1e9 / fps) if fps else 0
        self._now_ns = now_ns
        self._next_ns = 0
        self._ended = threading.Event()

    def wait(self) -> None:
        """Sleep until the next moment, or until `end`."""
        if self._period_ns == 0:
            return
        remaining_ns = self._next_ns - self._now_ns()
        if remaining_ns > 0:
            self._ended.wait(remaining_ns / 1e9)
        now_ns = self._now_ns()
        late = now_ns - self._next_ns > self._period_ns
        self._next_ns = (now_ns if late else self._next_ns) + self._period_ns

    def end(self) -> None:
        self._ended.set()


class PictureFiles:
    """Picture files in the order given, each once. Nothing is skipped: a bad file is a Frame with a fault."""

    live = False

    def __init__(self, paths: Sequence[Path], fps: float | None, reader: PictureReader, name: str) -> None:
        self.name = name
        self._paths = tuple(paths)
        self._reader = reader
        self._pace = Pace(fps)
        self._reads = 0

    def read(self) -> Frame | None:
        """The next file, None after the last; `Frame.source` is the file's path."""
        if self._reads == len(self._paths):
            return None
        self._pace.wait()
        index, self._reads = self._reads, self._reads + 1
        path = self._paths[index]
        looked = self._reader.look(path)
        original = looked.encoded if looked.image is not None and original_suffix(looked.encoded) else None
        now_ns, utc = time.perf_counter_ns(), datetime.now(timezone.utc)
        return Frame(index, now_ns, utc, str(path), looked.image, looked.fault, original)

    def close(self) -> None:
        self._pace.end()


class PacedPictures:
    """Picture files shown in their order, for ever, as a live camera would: at a rate, whether or not anyone looks.

    A path may be listed many times; two equal neighbours are shown once, since a camera never sees the same picture
    twice. Every file is decoded when the source is made, so that showing one costs a copy; in memory each takes
    height x width x 3 bytes.
    """

    live = True

    def __init__(self, paths: Sequence[Path], fps: float, reader: PictureReader, name: str) -> None:
        self.name = name
        self._order = [path for before, path in zip([paths[-1], *paths], paths, strict=False) if path != before]
        # nothing is left of one path, or of one path repeated
        self._order = self._order or [paths[0]]
        looks = {path: reader.look(path) for path in self._order}
        self._decoded = {path: (look.image, look.fault) for path, look in looks.items()}
        self._pace = Pace(fps)
        self._reads = 0

    def read(self) -> Frame | None:
        """The next picture, never None; the array is the receiver's own. `Frame.source` is name/file."""
        self._pace.wait()
        index, self._reads = self._reads, self._reads + 1
        path = self._order[index % len(self._order)]
        image, fault = self._decoded[path]
        own = None if image is None else image.copy()
        shown = f"{self.name}/{path.parent.name}/{path.name}"
        return Frame(index, time.perf_counter_ns(), datetime.now(timezone.utc), shown, own, fault)

    def close(self) -> None:
        self._pace.end()


class VideoFile:
    """A video file, every frame in order. One that ends early ends with a faulty Frame that says so."""

    live = False

    def __init__(self, path: Path, settings: CameraSettings) -> None:
        self.name = str(path)
        self._sensor_bits = settings.sensor_bits
        self._pace = Pace(settings.fps)
        self._reads = 0
        self._ended = False
        self._capture = _open_video(path, settings)
        self._announced = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        # of the recording; a file that does not say is taken for one of 25 frames/s
        self.recorded_fps = float(self._capture.get(cv2.CAP_PROP_FPS)) or 25.0

    def read(self) -> Frame | None:
        """The next frame, None after the last."""
        if self._ended:
            return None
        self._pace.wait()
        decoded, buffer = self._capture.read()
        if decoded and buffer is not None:
            try:
                return self._frame(bgr_from_buffer(buffer, self._sensor_bits), None)
            except UndecodablePicture as error:
                return self._frame(None, Fault(Reason.UNDECODABLE, str(error)))
        self._ended = True
        if self._announced * (1 - FRAME_COUNT_TOLERANCE) <= self._reads:
            return None
        detail = f"the video breaks off after {self._reads} of {self._announced} frames"
        return self._frame(None, Fault(Reason.UNDECODABLE, detail))

    def _frame(self, image: U8 | None, fault: Fault | None) -> Frame:
        index, self._reads = self._reads, self._reads + 1
        return Frame(index, time.perf_counter_ns(), datetime.now(timezone.utc), self.name, image, fault)

    def close(self) -> None:
        self._pace.end()
        self._capture.release()


def _open_video(path: Path, settings: CameraSettings) -> cv2.VideoCapture:
    # the time-outs guard against a file on a network drive that stopped answering
    timeouts = [
        int(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC),
        settings.open_timeout_ms,
        int(cv2.CAP_PROP_READ_TIMEOUT_MSEC),
        settings.read_timeout_ms,
    ]
    try:
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, timeouts)
    except cv2.error:
        capture = None
    if capture is None or not capture.isOpened():
        raise CameraError(
            f"{path}: {path.stat().st_size} bytes that cannot be opened as a video",
            fix="check that it plays; for pictures use a known suffix, for example .png or .jpg",
        )
    return capture
