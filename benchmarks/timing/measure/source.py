"""Pictures shown as a camera on the line would: at a trigger's moments, each its own array, never twice the same."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import cv2
import numpy as np

from benchmarks.timing.measure.cadence import Trigger
from edge.capture.images.image_reader import read_image
from edge.capture.sources import FrameSource, names_files, open_source
from edge.core.config import CameraSettings
from edge.core.datatypes import U8, Frame
from edge.core.errors import CameraError
from edge.samples import sample_line

# a folder may hold a month of parts; so many different ones are enough to time with
MOST_PICTURES = 64


@dataclass(frozen=True)
class Moment:
    """When a frame was asked for, and how long until the next one; both None with a camera that runs by itself."""

    captured_ns: int
    due_ns: int | None
    gap_ns: int | None


class Moments:
    """What the frames on their way were triggered by; one thread notes, another looks up, in order."""

    def __init__(self) -> None:
        self._noted: deque[Moment] = deque(maxlen=4096)

    def note(self, moment: Moment) -> None:
        self._noted.append(moment)

    def of(self, captured_ns: int) -> Moment:
        """The moment of a frame; those before it, of frames that were dropped, are forgotten."""
        while self._noted and self._noted[0].captured_ns <= captured_ns:
            moment = self._noted.popleft()
            if moment.captured_ns == captured_ns:
                return moment
        return Moment(captured_ns, None, None)


class TriggeredPictures:
    """A live FrameSource over pictures in memory; what a camera's driver does is one copy here."""

    live = True
    dropped = 0
    recorded_fps = None

    def __init__(self, pictures: Sequence[U8], trigger: Trigger, moments: Moments, name: str) -> None:
        self.name = name
        self._pictures = tuple(pictures)
        self._trigger = trigger
        self._moments = moments
        self._reads = 0

    def read(self) -> Frame:
        due_ns, gap_ns = self._trigger.wait()
        index, self._reads = self._reads, self._reads + 1
        image = self._pictures[index % len(self._pictures)].copy()
        # no camera delivers the very same picture twice, and the capture would call it frozen
        image[0, 0, 0] = index % 256
        captured_ns = time.perf_counter_ns()
        self._moments.note(Moment(captured_ns, due_ns, gap_ns))
        return Frame(index, captured_ns, datetime.now(timezone.utc), self.name, image)

    def interrupt(self) -> None:
        self._trigger.end()

    def close(self) -> None:
        self._trigger.end()


def pictures_of(spec: str, frame_size: tuple[int, int] | None, settings: CameraSettings) -> list[U8] | None:
    """The pictures that a source names, at most MOST_PICTURES, as frames of (height, width); None for a camera.

    `demo` is the shipped sample line in its order; a quarter of its parts are defective. Raises CameraError.
    """
    if spec.strip() == "demo":
        shown = sample_line()
        decoded = {path: read_image(path) for path in dict.fromkeys(shown)}
        pictures = [decoded[path] for path in shown]
    elif names_files(spec):
        pictures = _from_files(spec.strip().removeprefix("file://"), frame_size, settings)
    else:
        return None
    return pictures if frame_size is None else [_resized(picture, *frame_size) for picture in pictures]


def _from_files(spec: str, frame_size: tuple[int, int] | None, settings: CameraSettings) -> list[U8]:
    source: FrameSource = open_source(spec, settings.model_copy(update={"fps": None, "watch": False}))
    pictures: list[U8] = []
    try:
        while len(pictures) < MOST_PICTURES and (frame := source.read()) is not None:
            if frame.image is not None:
                pictures.append(frame.image)
    finally:
        source.close()
    if not pictures:
        raise CameraError(f"{spec}: no picture in it can be decoded", fix="give a picture, a folder of them or a video")
    sizes = sorted({picture.shape[:2] for picture in pictures})
    if len(sizes) > 1 and frame_size is None:
        (low_height, low_width), (height, width) = sizes[0], sizes[-1]
        raise CameraError(
            f"{spec}: pictures from {low_width}x{low_height} to {width}x{height} px, a camera has one size",
            fix=f"give the size of the line's frames, such as --frame-size {width}x{height}",
        )
    return pictures


def _resized(picture: U8, height: int, width: int) -> U8:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
