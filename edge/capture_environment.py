"""What OpenCV reads from the environment, once, while it is being loaded. This module must not import cv2."""

from __future__ import annotations

import math
import os
import sys

from edge.config import CameraSettings
from edge.errors import CameraError


def prepare_capture_environment(camera: CameraSettings) -> None:
    """Set the V4L2 time-out and quieten OpenCV and FFmpeg; a variable the user has set is left alone.

    Call before the first import of cv2. Raises CameraError when cv2 is already loaded, since the time-out would
    silently stay at OpenCV's ten seconds.
    """
    if "cv2" in sys.modules:
        raise CameraError(
            "OpenCV was loaded before its camera time-out was set",
            fix="call prepare_capture_environment before anything that imports cv2",
        )
    # whole seconds is all that OpenCV understands
    seconds = max(1, math.ceil(camera.read_timeout_ms / 1000))
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(seconds))
    # both print addresses with their passwords, and every problem they print comes back as a fault or a CameraError
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
