"""What OpenCV reads from the environment, once, while it is being loaded. This module must not import cv2."""

from __future__ import annotations

import logging
import math
import os
import sys

from edge.core.config import CameraSettings

log = logging.getLogger(__name__)


def prepare_capture_environment(camera: CameraSettings) -> None:
    """Set the V4L2 time-out and quieten OpenCV and FFmpeg; a variable the user has set is left alone.

    Call before the first import of cv2. When cv2 is already loaded this comes too late and says so in the log: a lost
    USB camera is then reopened only after OpenCV's own ten seconds; no_frame verdicts come in time all the same.
    """
    if "cv2" in sys.modules:
        log.warning("OpenCV was loaded before its camera time-out was set: it keeps its own, 10 s")
    # whole seconds is all that OpenCV understands
    seconds = max(1, math.ceil(camera.read_timeout_ms / 1000))
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(seconds))
    # both print addresses with their passwords, and every problem they print comes back as a fault or a CameraError
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
