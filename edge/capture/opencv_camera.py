"""Cameras on this machine and GStreamer pipelines through OpenCV. Imported with cv2; see capture_environment."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.capture.images.bit_depth import BitDepth
from edge.capture.images.image_io import UndecodableImage, bgr_from_buffer, decode_picture
from edge.capture.streams.stream_clock import StreamClock, utc_at
from edge.core.config import CameraSettings
from edge.core.datatypes import Fault, Frame, Reason
from edge.core.errors import CameraError
from edge.core.frame_memory import FRAME_MEMORY
from edge.core.redact import redact

log = logging.getLogger(__name__)

# a driver's time stamp older than this is of another clock
OLDEST_STAMP_NS = 60_000_000_000
JPEG_FORMATS = tuple(cv2.VideoWriter.fourcc(*code) for code in ("MJPG", "JPEG"))


class OpenCvCamera:
    """A live source read with cv2.VideoCapture. Not thread-safe: read and close belong to one thread.

    The time that V4L2 or a pipeline gives a picture counts: one that lay in a buffer is as old as it is. What comes as
    JPEG (V4L2 MJPG) is taken as bytes and looked at like a file, since OpenCV makes a picture of broken ones, too.
    """

    live = True
    # pictures that a driver throws away are not known here
    dropped = 0
    recorded_fps = None

    def __init__(
        self, capture: cv2.VideoCapture, name: str, settings: CameraSettings, *, pipeline: bool = False
    ) -> None:
        self.name = name
        self._clock = StreamClock() if pipeline else None
        self._capture = capture
        self._settings = settings
        self._compressed = _takes_bytes(capture)
        self._depth = BitDepth(settings.sensor_bits)
        self._reads = 0
        self._shape: tuple[int, ...] | None = None

    def read(self) -> Frame | None:
        """The next picture; blocks until the driver has one, about camera.lost_after_ms at most. Raises CameraError."""
        try:
            grabbed = self._grabbed()
            captured_ns = self._stamp()
            if not grabbed:
                raise CameraError(
                    f"{self.name}: the driver or stream gave no picture",
                    fix="check cable and power; a slow or triggered camera needs a larger camera.read_timeout_ms",
                )
            # into memory that is used again; a picture of another size than the last one gets some of its own
            decoded, buffer = self._capture.retrieve(FRAME_MEMORY.empty(self._shape) if self._shape else None)
        except cv2.error as error:
            raise CameraError(
                f"{self.name}: OpenCV failed while reading: {redact(error.err or str(error))}",
                fix="check the camera; the next attempt opens it again",
            ) from error
        index, self._reads = self._reads, self._reads + 1
        settings = self._settings
        stamp = index, captured_ns, utc_at(captured_ns), self.name
        try:
            if not decoded or buffer is None:
                raise UndecodableImage("the camera sent a picture that OpenCV cannot decode")
            if not self._compressed:
                plain = buffer.dtype == np.uint8 and buffer.ndim == 3 and buffer.shape[2] == 3
                self._shape = buffer.shape if plain else None
                notice = self._depth.see(buffer)
                if notice is not None:
                    log.warning("%s: %s", self.name, notice)
                return Frame(*stamp, bgr_from_buffer(buffer, settings.sensor_bits))
            encoded = buffer.tobytes()
            image = decode_picture(encoded, settings.sensor_bits, settings.max_megapixels, FRAME_MEMORY)
            return Frame(*stamp, image, None, encoded)
        except UndecodableImage as error:
            return Frame(*stamp, None, Fault(Reason.UNDECODABLE, str(error)))

    def interrupt(self) -> None:
        """A driver cannot be interrupted; a read ends with its time-out."""

    def close(self) -> None:
        self._capture.release()

    def _grabbed(self) -> bool:
        """Whether a picture is there; a camera that is slow or waits for its trigger is asked again, not lost."""
        began_ns = time.perf_counter_ns()
        while not self._capture.grab():
            asked_ms = (time.perf_counter_ns() - began_ns) / 1e6
            # a driver that says no at once has lost its device
            if asked_ms < 0.9 * self._settings.read_timeout_ms or asked_ms > self._settings.lost_after_ms:
                return False
        return True

    def _stamp(self) -> int:
        """When the picture was taken; now, where neither driver nor pipeline says so."""
        now_ns = time.perf_counter_ns()
        stream_ns = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        if self._clock is not None:
            return self._clock.stamp(now_ns, now_ns, stream_ns if stream_ns > 0 else None)
        # V4L2 counts by the same clock, from the start of the machine
        return stream_ns if 0 <= now_ns - stream_ns < OLDEST_STAMP_NS else now_ns


def _takes_bytes(capture: cv2.VideoCapture) -> bool:
    """Whether the device sends JPEGs and now hands them out as they are."""
    if int(capture.get(cv2.CAP_PROP_FOURCC)) not in JPEG_FORMATS:
        return False
    return bool(capture.set(cv2.CAP_PROP_CONVERT_RGB, 0))


def open_device(device: int | str, settings: CameraSettings) -> OpenCvCamera:
    """Open a camera by number or device path; CameraError says whether it is missing, forbidden or busy."""
    path = Path(device if isinstance(device, str) else f"/dev/video{device}")
    on_linux = sys.platform.startswith("linux")
    if on_linux:
        _check_device_file(path)
    capture = _open(device, cv2.CAP_V4L2 if on_linux else cv2.CAP_ANY, [])
    if capture is None:
        raise CameraError(
            f"{path}: the device is there, but no picture can be had from it",
            fix=f"another program may hold it (`fuser {path}`), or it is not a camera (`v4l2-ctl --list-devices`)",
        )
    _request(capture, settings, str(path))
    return OpenCvCamera(capture, str(path), settings)


def _check_device_file(path: Path) -> None:
    if not path.exists():
        present = ", ".join(sorted(str(found) for found in Path("/dev").glob("video*"))) or "none"
        raise CameraError(f"{path}: no such camera (present: {present})", fix="plug it in, or give another --camera")
    if not os.access(path, os.R_OK | os.W_OK):
        raise CameraError(
            f"{path}: no permission",
            fix="add the user to the group `video`: sudo usermod -aG video $USER; log in again",
        )


def _request(capture: cv2.VideoCapture, settings: CameraSettings, name: str) -> None:
    """Ask the driver for what config.yaml wants; a driver may refuse, and then the log says what it gives instead."""
    # one buffered picture: a deeper queue hands out parts that have already left
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    wishes = {
        "width_px": (cv2.CAP_PROP_FRAME_WIDTH, settings.width_px),
        "height_px": (cv2.CAP_PROP_FRAME_HEIGHT, settings.height_px),
        "fps": (cv2.CAP_PROP_FPS, settings.fps),
    }
    for _, (wish, value) in wishes.items():
        if value is not None:
            capture.set(wish, value)
    for key, (wish, value) in wishes.items():
        if value is not None and abs(capture.get(wish) - value) > 0.5:
            log.warning("%s: asked for camera.%s %g, the driver gives %g", name, key, value, capture.get(wish))


def open_pipeline(pipeline: str, settings: CameraSettings) -> OpenCvCamera:
    """Open a GStreamer pipeline that ends in appsink; raises CameraError when this OpenCV has no GStreamer."""
    name = redact(pipeline)
    if not gstreamer_available():
        raise CameraError(
            f"this OpenCV ({cv2.__version__}) was built without GStreamer, which {name!r} needs",
            fix="install the system's OpenCV (python3-opencv on Debian, Ubuntu and JetPack) and a virtual environment "
            "with --system-site-packages, without opencv-python-headless; or give an rtsp:// or /dev/video address",
        )
    capture = _open(pipeline, cv2.CAP_GSTREAMER, _timeouts(settings))
    if capture is None:
        raise CameraError(
            f"{name!r}: the pipeline does not start within {settings.open_timeout_ms} ms",
            fix="try it with gst-launch-1.0; it must end in `appsink drop=true max-buffers=1`",
        )
    return OpenCvCamera(capture, name, settings, pipeline=True)


def gstreamer_available() -> bool:
    return re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()) is not None


def _timeouts(settings: CameraSettings) -> list[int]:
    return [
        int(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC),
        settings.open_timeout_ms,
        int(cv2.CAP_PROP_READ_TIMEOUT_MSEC),
        settings.read_timeout_ms,
    ]


def _open(what: int | str, backend: int, parameters: Sequence[int]) -> cv2.VideoCapture | None:
    """An opened capture, or None; OpenCV either says nothing or throws, depending on the build."""
    try:
        capture = cv2.VideoCapture(what, backend, list(parameters))
    except cv2.error:
        return None
    if capture.isOpened():
        return capture
    capture.release()
    return None
