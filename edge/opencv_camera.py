"""Cameras, network streams and GStreamer pipelines through OpenCV. Imported with cv2; see capture_environment."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

import cv2

from edge.config import CameraSettings
from edge.datatypes import Fault, Frame, Reason
from edge.errors import CameraError
from edge.picture import UndecodablePicture, bgr_from_buffer
from edge.proxy import proxy_advice
from edge.redact import redact

log = logging.getLogger(__name__)

PROBE_TIMEOUT_S = 1.0
_CHECK_ADDRESS = "check address, user and password, and try the same address in a player such as VLC"
DEFAULT_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}


class OpenCvCamera:
    """A live source read with cv2.VideoCapture. Not thread-safe: read and close belong to one thread."""

    live = True

    def __init__(self, capture: cv2.VideoCapture, name: str, sensor_bits: int) -> None:
        self.name = name
        self._capture = capture
        self._sensor_bits = sensor_bits
        self._reads = 0

    def read(self) -> Frame | None:
        """The next picture; blocks until the driver has one, at most its read time-out. Raises CameraError."""
        try:
            grabbed = self._capture.grab()
            captured_ns, utc = time.perf_counter_ns(), datetime.now(timezone.utc)
            if not grabbed:
                raise CameraError(f"{self.name}: the driver or stream gave no picture", fix="check cable and power")
            decoded, buffer = self._capture.retrieve()
        except cv2.error as error:
            raise CameraError(
                f"{self.name}: OpenCV failed while reading: {redact(error.err or str(error))}",
                fix="check the camera; the next attempt opens it again",
            ) from error
        index, self._reads = self._reads, self._reads + 1
        try:
            if not decoded or buffer is None:
                raise UndecodablePicture("the camera sent a picture that OpenCV cannot decode")
            return Frame(index, captured_ns, utc, self.name, bgr_from_buffer(buffer, self._sensor_bits))
        except UndecodablePicture as error:
            return Frame(index, captured_ns, utc, self.name, None, Fault(Reason.UNDECODABLE, str(error)))

    def close(self) -> None:
        self._capture.release()


def open_device(device: int | str, settings: CameraSettings) -> OpenCvCamera:
    """Open a camera by number or device path; raises CameraError that tells missing, forbidden and busy apart."""
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
    return OpenCvCamera(capture, str(path), settings.sensor_bits)


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


def open_stream(url: str, settings: CameraSettings) -> OpenCvCamera:
    """Open an RTSP or HTTP stream through FFmpeg; raises CameraError without the address's credentials."""
    name = redact(url)
    capture = _open(url, cv2.CAP_FFMPEG, _timeouts(settings))
    if capture is None:
        raise CameraError(
            f"{name}: no video within {settings.open_timeout_ms} ms: {_answer(url)}",
            fix="; ".join(filter(None, [_CHECK_ADDRESS, proxy_advice(url)])),
        )
    return OpenCvCamera(capture, name, settings.sensor_bits)


def _answer(url: str) -> str:
    """What the host behind an address does, in words; FFmpeg tells OpenCV nothing about why it failed."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return "the address is malformed"
    if not host or not port:
        return "the address names no host and port that could be asked"
    try:
        with socket.create_connection((host, port), timeout=PROBE_TIMEOUT_S):
            return f"{host}:{port} answers, but not with a video this user may see"
    except OSError as error:
        return f"{host}:{port} does not answer ({error.strerror or error})"


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
    return OpenCvCamera(capture, name, settings.sensor_bits)


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
