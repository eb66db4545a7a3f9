"""A group of folders: pictures of the same name in each show the same part."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edge.capture.file_sources import Pace
from edge.capture.freshness import FreshnessCheck
from edge.capture.group.joined import Joiner
from edge.capture.images.image_io import few, list_pictures, natural_key
from edge.capture.images.image_reader import ImageReader
from edge.capture.sources import names_files
from edge.core.config import GroupCamera, Settings
from edge.core.datatypes import Fault, Frame, Reason
from edge.core.errors import CameraError, UsageError
from edge.core.redact import redact

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Folder:
    """A camera's pictures: name without its end → file."""

    path: Path
    pictures: dict[str, Path]
    reader: ImageReader
    check: FreshnessCheck


class PairedPictures:
    """A source that gives one frame for each name, in the order of the names; it waits, as files do.

    A name that one of the folders does not have is a part that this camera does not show: no other picture takes its
    place. A bad file is its camera's fault.
    """

    live = False
    dropped = 0
    recorded_fps = None

    def __init__(self, settings: Settings) -> None:
        cameras = settings.group.cameras
        self._folders = [_folder_of(camera, settings) for camera in cameras]
        self._cameras = settings.group.names
        self.name = ", ".join(f"{camera.name}: {camera.source}" for camera in cameras)
        self._parts = self._common_order()
        self._joiner = Joiner(self._cameras)
        self._pace = Pace(settings.camera.fps)
        self._reads = 0

    def read(self) -> Frame | None:
        """The next part, None after the last."""
        if self._reads == len(self._parts):
            return None
        self._pace.wait()
        index, self._reads = self._reads, self._reads + 1
        now_ns, utc = time.perf_counter_ns(), datetime.now(timezone.utc)
        frames = [_look(folder, self._parts[index], index, now_ns, utc) for folder in self._folders]
        return self._joiner.joined(index, frames)

    def interrupt(self) -> None:
        """Let a read that waits for its pace end at once; from another thread."""
        self._pace.end()

    def close(self) -> None:
        self._pace.end()

    def _common_order(self) -> Sequence[str]:
        folders = [folder.pictures for folder in self._folders]
        every = sorted(set().union(*folders), key=lambda name: natural_key(Path(name)))
        common = set(folders[0]).intersection(*folders[1:])
        if not common:
            firsts = " and ".join(str(next(iter(folder.pictures.values()))) for folder in self._folders)
            raise CameraError(
                f"no picture has the same name in all folders of the group ({self.name}); the first ones are {firsts}",
                fix="give the pictures of one part the same name in each folder: left/0001.png and right/0001.png",
            )
        for name, pictures in zip(self._cameras, folders, strict=True):
            missing = [each for each in every if each not in pictures]
            if missing:
                log.warning(
                    "camera %s has no picture of %d of %d parts, which are INVALID: %s",
                    name, len(missing), len(every), few(missing),
                )  # fmt: skip
        return every


def group_of_files(settings: Settings) -> bool:
    """Whether the group's sources are files; raises CameraError where some are and some are not."""
    files = {camera.name: names_files(camera.source) for camera in settings.group.cameras}
    if any(files.values()) and not all(files.values()):
        named = ", ".join(name for name, is_file in files.items() if is_file)
        raise CameraError(
            f"of the group's cameras {named} {'is' if list(files.values()).count(True) == 1 else 'are'} files, and the "
            "others are live: nothing says which of their pictures show the same part",
            fix="give the group cameras alone, or folders alone",
        )
    return all(files.values())


def _folder_of(camera: GroupCamera, settings: Settings) -> _Folder:
    own = camera.camera_settings(settings.camera)
    path = Path(camera.source.removeprefix("file://"))
    if not path.is_dir():
        raise CameraError(
            f"camera {camera.name}: {redact(camera.source)!r} is no folder of pictures: of files a group takes folders "
            "alone, in which pictures of one part have the same name",
            fix="give the folder of this camera's pictures; for a camera its number or address",
        )
    pictures: dict[str, Path] = {}
    try:
        found = list_pictures(path, log.warning, links_out=False)
    except UsageError as error:
        raise CameraError(f"camera {camera.name}: {error.message}", fix=error.fix) from error
    for picture in found:
        name = picture.stem
        if name in pictures:
            raise CameraError(
                f"camera {camera.name}: {pictures[name]} and {picture} have the same name: which of them shows the "
                "part is not clear",
                fix="keep one of the two",
            )
        pictures[name] = picture
    return _Folder(path, pictures, ImageReader(own, notice=log.warning), FreshnessCheck(settings.freshness, live=False))


def _look(folder: _Folder, name: str, index: int, now_ns: int, utc: datetime) -> Frame:
    picture = folder.pictures.get(name)
    if picture is None:
        return Frame(index, now_ns, utc, str(folder.path / name), None, Fault(Reason.NO_FRAME, f"no picture {name}"))
    looked = folder.reader.look(picture)
    fault = looked.fault or (None if looked.image is None else folder.check.fault(looked.image))
    return Frame(index, now_ns, utc, str(picture), looked.image, fault)
