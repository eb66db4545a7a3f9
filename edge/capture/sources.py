"""Where frames come from: what a source is, and which one a --camera means."""

from __future__ import annotations

import glob
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from edge.capture.camera_address import address_to_open
from edge.capture.file_sources import PacedPictures, PictureFiles
from edge.capture.genicam.producers import names_genicam
from edge.capture.images.image_header import is_picture_file
from edge.capture.images.image_io import PICTURE_SUFFIXES, list_pictures
from edge.capture.images.image_reader import ImageReader
from edge.capture.opencv_camera import open_device, open_pipeline
from edge.capture.watched_folder import WatchedFolder
from edge.core.config import CameraSettings
from edge.core.datatypes import Frame
from edge.core.errors import CameraError, UsageError
from edge.core.redact import redact
from edge.samples import sample_line

log = logging.getLogger(__name__)

DEMO_FPS = 15.0
# frames of Motion JPEG begin as a picture does
VIDEO_SUFFIXES = frozenset({".mjpeg", ".mjpg"})
SOURCES = (
    "a camera number (0), a device (/dev/video0), an rtsp:// or http:// address, a GStreamer pipeline, "
    "a GenICam camera (genicam:SERIAL), a video file, a picture, a folder or pattern of pictures, or demo"
)


class FrameSource(Protocol):
    """A camera, a stream or a pile of files.

    name: safe to show and store (credentials removed). live: time does not wait for the reader; frames may be dropped.
    dropped: pictures so far that the source left out for newer ones. recorded_fps: pictures a second of a recording,
    None for everything else.
    """

    name: str
    live: bool

    @property
    def dropped(self) -> int: ...

    @property
    def recorded_fps(self) -> float | None: ...

    def read(self) -> Frame | None:
        """The next frame, or None at the end of a file source.

        `index` counts this source's reads from 0. A picture that exists but cannot be used comes as a Frame with a
        fault. `captured_ns` is when it was taken, as far as the source knows. Raises CameraError when a live source is
        lost.
        """

    def interrupt(self) -> None:
        """Let a read that waits end soon, if that can be done; the only method that another thread may call."""

    def close(self) -> None: ...


def names_files(spec: str) -> bool:
    """Whether --camera means files, which wait for the inspection, and not a live source. Opens nothing."""
    spec = spec.strip()
    live = spec == "demo" or spec.isdecimal() or names_genicam(spec) or " ! " in spec or spec.startswith("/dev/")
    return not live and ("://" not in spec or spec.startswith("file://"))


def open_source(spec: str, settings: CameraSettings, *, triggered: bool = False) -> FrameSource:
    """Open what --camera names: SOURCES, tried in that order. Raises CameraError.

    triggered: the camera waits for its own trigger (trigger.mode hardware), which only GenICam cameras can tell of.

    Device, address and pipeline are live, and so is `demo`, which shows the shipped sample line as a camera would.
    Files are not: nothing is skipped, and camera.fps paces them; with camera.watch a folder is waited at for more.
    """
    spec = address_to_open(spec.strip(), settings)
    if triggered and not names_genicam(spec):
        raise CameraError(
            f"{redact(spec)!r}: trigger.mode hardware needs a GenICam camera (genicam:SERIAL): of others it is not "
            "known whether the trigger or the camera is silent, and whether a picture was lost",
            fix="use trigger.mode plc, part or free with this camera",
        )
    if settings.watch and not names_files(spec):
        raise CameraError("--watch is for a folder of pictures", fix="give --camera a folder, or leave --watch out")
    if names_files(spec):
        return _open_files(spec.removeprefix("file://"), settings)
    if spec == "demo":
        return open_demo(settings)
    if names_genicam(spec):
        if not sys.platform.startswith("linux"):
            raise CameraError("GenICam cameras need Linux", fix="run the line on a Linux machine")
        from edge.capture.genicam.source import open_genicam

        return open_genicam(spec, settings, triggered=triggered)
    if spec.isdecimal():
        return open_device(int(spec), settings)
    if " ! " in spec:
        return open_pipeline(spec, settings)
    if spec.startswith("/dev/"):
        return open_device(spec, settings)
    from edge.capture.streams.network_camera import open_stream

    return open_stream(spec, settings)


def open_demo(settings: CameraSettings, pictures: Sequence[Path] | None = None) -> FrameSource:
    """These pictures, or the sample line, as a live camera; raises CameraError when they are not installed."""
    try:
        shown = list(pictures if pictures is not None else sample_line())
    except OSError as error:
        raise CameraError(
            f"the demo's sample line is missing: {error}", fix="reinstall edge-inspect; its pictures ship in it"
        ) from error
    if not shown:
        raise CameraError("the demo has no pictures", fix="reinstall edge-inspect; its pictures ship in it")
    return PacedPictures(shown, settings.fps or DEMO_FPS, ImageReader(settings), name="demo")


def _open_files(spec: str, settings: CameraSettings) -> FrameSource:
    path = Path(os.path.expanduser(spec))  # noqa: PTH111 - pathlib raises RuntimeError for an unknown ~user
    if not spec:
        raise CameraError("the source is empty", fix=f"give {SOURCES}")
    try:
        if settings.watch:
            if not path.is_dir():
                raise CameraError(
                    f"{path}: no such folder to watch", fix="give --camera a folder, or leave --watch out"
                )
            return WatchedFolder(path, _reader(settings), settings.fps)
        if path.is_file():
            return _open_file(path, settings)
        if path.is_dir() or glob.has_magic(spec):
            # who may put a link here may not be one who may read what it leads to
            pictures = list_pictures(path, log.warning, links_out=False)
            return PictureFiles(pictures, settings.fps, _reader(settings), name=str(path))
    except UsageError as error:
        raise CameraError(error.message, fix=error.fix) from error
    except OSError as error:
        raise CameraError(f"{path}: {error.strerror or error}", fix="check the path and its permissions") from error
    raise CameraError(f"{redact(spec)!r}: no such file, folder or camera", fix=f"give {SOURCES}")


def _open_file(path: Path, settings: CameraSettings) -> FrameSource:
    suffix = path.suffix.lower()
    if suffix in PICTURE_SUFFIXES or (suffix not in VIDEO_SUFFIXES and is_picture_file(path)):
        return PictureFiles([path], settings.fps, _reader(settings), name=str(path))
    # with FFmpeg, which folders, devices and the demo do without
    from edge.capture.streams.video_file import VideoFile

    return VideoFile(path, settings)


def _reader(settings: CameraSettings) -> ImageReader:
    """What the pictures show is looked at where frames are grabbed, as for every other source."""
    return ImageReader(settings, notice=log.warning)
