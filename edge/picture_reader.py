"""Picture files, read and checked: the same way for the line, for samples, labelled pictures and challenges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.config import CameraSettings, FreshnessSettings
from edge.datatypes import U8, Fault, Reason
from edge.errors import UndecodablePicture, UsageError
from edge.freshness import FreshnessCheck
from edge.picture import bgr_from_buffer, decode_buffer, list_pictures

# 16-bit pictures after which a camera of fewer bits is believed
_ENOUGH = 5
_SENSOR_BITS = (10, 12, 14)


@dataclass(frozen=True)
class PictureLook:
    """What came of one file. encoded: its bytes, empty when it was not read. image: uint8 (H, W, 3) BGR.

    fault: why it must not be inspected, None for a picture that may; black, saturated and missized ones have an image.
    """

    encoded: bytes
    image: U8 | None
    fault: Fault | None


class PictureReader:
    """Reads files within the limits of `camera`; with `freshness`, also looks at what they show.

    notice: told once each, in words: what was left out, and what pictures have in common that they should not have.
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
        self._told: set[str] = set()
        self._deep = 0
        self._largest = 0

    def pictures_in(self, folder_or_glob: str | Path) -> list[Path]:
        """See `list_pictures`; what was left out is told."""
        return list_pictures(folder_or_glob, self.tell)

    def tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._notice(text)

    def look(self, path: Path) -> PictureLook:
        """Read, decode and check one file. Whatever goes wrong is its fault, and never the end of the others."""
        encoded = b""
        try:
            encoded = self._bytes_of(path)
            image = self._decoded(encoded)
            return PictureLook(encoded, image, self.fault(image))
        # whatever a decoder raises: the next file must be looked at
        except Exception as error:  # noqa: BLE001
            return PictureLook(encoded, None, Fault(Reason.UNDECODABLE, f"{path.name}: {_reason(error)}"))

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
        """The bits that would hold every 16-bit picture so far, when camera.sensor_bits counts far more of them."""
        fitting = next((bits for bits in _SENSOR_BITS if not self._largest >> bits), None)
        return fitting if self._deep and fitting is not None and fitting < self._camera.sensor_bits else None

    def _bytes_of(self, path: Path) -> bytes:
        limit = self._camera.max_file_mb * 1e6
        size = path.stat().st_size
        if size > limit:
            raise UndecodablePicture(
                f"{size / 1e6:,.1f} MB; camera.max_file_mb ({self._camera.max_file_mb:g}) allows no more"
            )
        with path.open("rb") as file:
            # a file may grow, and some have no size
            encoded = file.read(int(limit) + 1)
        if len(encoded) > limit:
            raise UndecodablePicture(f"it is growing beyond camera.max_file_mb ({self._camera.max_file_mb:g})")
        return encoded

    def _decoded(self, encoded: bytes) -> U8:
        buffer = decode_buffer(encoded, self._camera.max_megapixels)
        if buffer.dtype == np.uint16:
            self._note_depth(buffer)
        return bgr_from_buffer(buffer, self._camera.sensor_bits)

    def _note_depth(self, buffer: NDArray[Any]) -> None:
        self._deep += 1
        self._largest = max(self._largest, int(buffer.max()))
        bits = self.fitting_sensor_bits()
        if self._deep == _ENOUGH and bits is not None:
            self.tell(
                f"the first {_ENOUGH} pictures of 16 bits reach grey value {self._largest} at most and are seen dark: "
                f"camera.sensor_bits: {bits} fits them"
            )


def required(path: Path, looked: PictureLook) -> U8:
    """The picture of a file that must be one, whatever it shows; raises UsageError."""
    if looked.image is not None:
        return looked.image
    assert looked.fault is not None
    raise _unusable(path, looked.fault.detail.removeprefix(f"{path.name}: "))


def _unusable(path: Path, reason: str) -> UsageError:
    return UsageError(f"{path}: {reason}", fix="replace or remove this file, or change the setting that is named")


def _reason(error: Exception) -> str:
    if isinstance(error, UndecodablePicture):
        return str(error)
    if isinstance(error, OSError):
        return str(error.strerror or error)
    if isinstance(error, MemoryError):
        return "not enough memory to read it"
    return f"{type(error).__name__}: {error}"


def read_picture(path: Path) -> U8:
    """One picture file as uint8 (H, W, 3) BGR within the default limits, whatever it shows; raises UsageError."""
    return PictureReader().read(path)


# for pictures that no line shows: within the default limits, and unchecked
PLAIN = PictureReader()
