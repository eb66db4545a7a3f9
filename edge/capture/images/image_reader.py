"""Picture files, read and checked: the same way for the line, for samples, labelled pictures and challenges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edge.capture.freshness import FreshnessCheck
from edge.capture.images.bit_depth import BitDepth
from edge.capture.images.image_io import bgr_from_buffer, decode_buffer, few, list_pictures, not_a_picture
from edge.core.config import CameraSettings, FreshnessSettings, Settings
from edge.core.datatypes import U8, Fault, Reason
from edge.core.errors import UndecodableImage, UsageError
from edge.core.progress import say


@dataclass(frozen=True)
class ImageFinding:
    """What came of one file. encoded: its bytes, empty when it was not read. image: uint8 (H, W, 3) BGR.

    fault: why it must not be inspected, None for a picture that may; black, saturated and missized ones have an image.
    """

    encoded: bytes
    image: U8 | None
    fault: Fault | None


class ImageReader:
    """Reads files within the limits of `camera`; with `freshness`, also looks at what they show.

    notice: called with each message once: what was left out, and what pictures have in common that they should not.
    """

    def __init__(
        self,
        camera: CameraSettings | None = None,
        freshness: FreshnessSettings | None = None,
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._camera = camera or CameraSettings()
        self._check = None if freshness is None else FreshnessCheck(freshness, live=False)
        self.freshness = freshness or FreshnessSettings()
        self._notice = notice
        self._emitted: set[str] = set()
        self._depth = BitDepth(self._camera.sensor_bits)

    def pictures_in(self, folder_or_glob: str | Path) -> list[Path]:
        """See `list_pictures`; what was left out goes to `notice`."""
        return list_pictures(folder_or_glob, self.emit)

    def emit_loose(self, folder: Path) -> None:
        """Pictures that lie in a folder whose folders are read, and not it."""
        entries = folder.iterdir() if folder.is_dir() else ()
        loose = sorted(path.name for path in entries if not_a_picture(path, True) is None)
        if loose:
            self.emit(f"{folder}: left out: {len(loose)} beside the folders that are read ({few(loose)})")

    def emit(self, text: str) -> None:
        if text not in self._emitted:
            self._emitted.add(text)
            self._notice(text)

    def look(self, path: Path) -> ImageFinding:
        """Read, decode and check one file. Whatever goes wrong is its fault, and never the end of the others."""
        encoded = b""
        try:
            encoded = self._bytes_of(path)
            image = self._decoded(encoded)
            return ImageFinding(encoded, image, self.fault(image))
        # whatever a decoder raises: the next file must be looked at
        except Exception as error:  # noqa: BLE001
            return ImageFinding(encoded, None, Fault(Reason.UNDECODABLE, f"{path.name}: {_reason(error)}"))

    def read(self, path: Path) -> U8:
        """The picture of a file that must be there, whatever it shows; raises UsageError."""
        return required(path, self.look(path))

    def stored(self, path: Path) -> NDArray[Any]:
        """The pixels of a mask or the like, as they are stored; raises UsageError."""
        try:
            return decode_buffer(self._bytes_of(path), self._camera.max_megapixels)
        except Exception as error:
            raise _unusable(path, _reason(error)) from error

    def fault(self, image: U8) -> Fault | None:
        """What the line would say of this picture alone, before it is judged; None without `freshness`."""
        return None if self._check is None else self._check.fault(image)

    def fitting_sensor_bits(self) -> int | None:
        """The bits that hold every 16-bit picture so far, where camera.sensor_bits counts more of them."""
        return self._depth.fitting_bits()

    def _bytes_of(self, path: Path) -> bytes:
        size = path.stat().st_size
        if size > self._camera.max_file_mb * 1e6:
            raise UndecodableImage(
                f"{size / 1e6:,.1f} MB; camera.max_file_mb ({self._camera.max_file_mb:g}) allows no more"
            )
        with path.open("rb") as file:
            # no more than that, if it grows meanwhile
            return file.read(size)

    def _decoded(self, encoded: bytes) -> U8:
        buffer = decode_buffer(encoded, self._camera.max_megapixels)
        notice = self._depth.see(buffer)
        if notice is not None:
            self.emit(notice)
        return bgr_from_buffer(buffer, self._camera.sensor_bits)


def required(path: Path, looked: ImageFinding) -> U8:
    """The picture of a file that must be one, whatever it shows; raises UsageError."""
    if looked.image is not None:
        return looked.image
    assert looked.fault is not None
    raise _unusable(path, looked.fault.detail.removeprefix(f"{path.name}: "))


def _unusable(path: Path, reason: str) -> UsageError:
    return UsageError(f"{path}: {reason}", fix="replace or remove this file, or change the setting that is named")


def _reason(error: Exception) -> str:
    if isinstance(error, UndecodableImage):
        return str(error)
    if isinstance(error, OSError):
        return str(error.strerror or error)
    if isinstance(error, MemoryError):
        return "not enough memory to read it"
    return f"{type(error).__name__}: {error}"


def read_image(path: Path) -> U8:
    """One picture file as uint8 (H, W, 3) BGR within the default limits, whatever it shows; raises UsageError."""
    return ImageReader().read(path)


# for pictures that no line shows: within the default limits, and unchecked
PLAIN = ImageReader()


def line_reader(settings: Settings) -> ImageReader:
    """Reads picture files as the line does. A command makes one, so that each message is printed once."""
    return ImageReader(settings.camera, settings.freshness, say)
