"""Picture files and camera buffers → uint8 BGR; the same for the line, training and calibration."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.datatypes import U8
from edge.errors import UndecodablePicture as UndecodablePicture
from edge.errors import UsageError
from edge.jpeg import START as JPEG_START
from edge.jpeg import decode_jpeg, jpeg_layout

PICTURE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pnm", ".pbm"}
)


def bgr_from_buffer(buffer: NDArray[Any], sensor_bits: int = 16) -> U8:
    """Convert what a camera or a file gave to uint8 (H, W, 3) BGR.

    buffer: uint8 grey (H, W) or (H, W, 1), BGR (H, W, 3), BGRA (H, W, 4; alpha is ignored), or uint16 grey, of which
    sensor_bits are significant, counted from bit 0; the top eight of them are kept. May return the buffer itself.
    Raises UndecodablePicture for anything else.
    """
    if buffer.ndim == 3 and buffer.shape[2] == 1:
        buffer = buffer[:, :, 0]
    if buffer.size == 0 or buffer.ndim not in (2, 3):
        raise UndecodablePicture(f"expected a picture (H, W) or (H, W, channels), got {_kind(buffer)}")
    if buffer.dtype == np.uint16 and buffer.ndim == 2:
        largest = int(buffer.max())
        if largest >> sensor_bits:
            raise UndecodablePicture(
                f"16-bit grey value {largest} does not fit camera.sensor_bits {sensor_bits}: the camera has more bits, "
                "or puts them at the top"
            )
        return _bgr_from_grey((buffer >> (sensor_bits - 8)).astype(np.uint8))
    if buffer.dtype == np.uint8:
        if buffer.ndim == 2:
            return _bgr_from_grey(np.asarray(buffer, np.uint8))
        if buffer.shape[2] == 3:
            return np.asarray(buffer, np.uint8)
        if buffer.shape[2] == 4:
            return np.asarray(cv2.cvtColor(buffer, cv2.COLOR_BGRA2BGR), np.uint8)
    raise UndecodablePicture(
        f"{_kind(buffer)} is not supported: need 8-bit grey, BGR or BGRA, or 16-bit grey with one channel"
    )


def _bgr_from_grey(grey: U8) -> U8:
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)


def _kind(buffer: NDArray[Any]) -> str:
    return f"{buffer.dtype} {'x'.join(str(side) for side in buffer.shape) or 'scalar'}"


def decode_picture(encoded: bytes, sensor_bits: int = 16, max_megapixels: float = 50.0) -> U8:
    """Decode a picture file's bytes to uint8 (H, W, 3) BGR, pixels as stored: an EXIF rotation is not applied.

    Raises UndecodablePicture for anything but one whole picture of a kind that `bgr_from_buffer` takes, and for one of
    more than max_megapixels, before it is decoded.
    """
    if not encoded:
        raise UndecodablePicture("the file is empty (0 bytes)")
    if encoded.startswith(JPEG_START):
        layout = jpeg_layout(encoded)
        _refuse_large(layout.height_px, layout.width_px, max_megapixels)
        return decode_jpeg(encoded, layout)
    cut = _cut_off(encoded)
    if cut is not None:
        raise UndecodablePicture(cut)
    try:
        buffer = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise UndecodablePicture(f"OpenCV cannot decode it: {error.err or error}") from error
    if buffer is None:
        raise UndecodablePicture(f"{len(encoded)} bytes that OpenCV cannot decode: damaged, cut off or not a picture")
    return bgr_from_buffer(buffer, sensor_bits)


def _refuse_large(height: int, width: int, max_megapixels: float) -> None:
    if height * width > max_megapixels * 1e6:
        raise UndecodablePicture(
            f"{width}x{height} px are {height * width / 1e6:.1f} megapixels, camera.max_megapixels allows "
            f"{max_megapixels:g}"
        )


_PNG = b"\x89PNG\r\n\x1a\n"


def original_suffix(encoded: bytes) -> str | None:
    """.jpg or .png for the files that decode to the same pixels everywhere, whatever the settings; None for others."""
    if encoded.startswith(JPEG_START):
        return ".jpg"
    # byte 24: bits of a channel; sixteen are cut to eight by a setting
    return ".png" if encoded.startswith(_PNG) and encoded[24] <= 8 else None


def _cut_off(encoded: bytes) -> str | None:
    """What shows that the file stops early, or None."""
    if encoded.startswith(_PNG) and b"IEND" not in encoded[8:]:
        return f"the PNG is cut off after {len(encoded)} bytes: it has no end chunk"
    return None


def read_picture(path: Path, sensor_bits: int = 16) -> U8:
    """Read one picture file as uint8 (H, W, 3) BGR, exactly as the line would see it; raises UsageError."""
    try:
        return decode_picture(path.read_bytes(), sensor_bits)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}", fix="check the path and its permissions") from error
    except UndecodablePicture as error:
        raise UsageError(
            f"{path}: {error}", fix="replace or remove this file; check camera.sensor_bits if it is 16-bit grey"
        ) from error


def list_pictures(folder_or_glob: str | Path) -> list[Path]:
    """The picture files directly in a folder, or those a glob matches, in natural order (2 before 10).

    A picture is known by its suffix (PICTURE_SUFFIXES); hidden files and folders are left out, empty files are not.
    Raises UsageError when there is no such folder or not one picture.
    """
    where = Path(folder_or_glob)
    try:
        if where.is_dir():
            found = list(where.iterdir())
        elif glob.has_magic(str(folder_or_glob)):
            found = [Path(match) for match in glob.glob(str(folder_or_glob))]  # noqa: PTH207 - absolute patterns
        else:
            raise UsageError(f"{where}: no such folder", fix="give a folder or a pattern such as 'parts/*.png'")
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror or error}", fix="check the folder's permissions") from error
    pictures = [
        path
        for path in found
        if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not pictures:
        raise UsageError(
            f"{where}: no pictures among {len(found)} files",
            fix=f"give a place with {', '.join(sorted(PICTURE_SUFFIXES))} files; subfolders are not searched",
        )
    return sorted(pictures, key=natural_key)


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that compares digits as numbers: part2 before part10."""
    pieces = re.split(r"(\d+)", str(path).casefold())
    return [(1, int(piece), "") if piece.isdecimal() else (0, 0, piece) for piece in pieces] + [(0, 0, str(path))]
