"""Picture files and camera buffers → uint8 BGR; the same for the line, training and calibration."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.capture.images.image_header import PNG_START, image_header, pixels_by_pillow
from edge.capture.images.jpeg import START as JPEG_START
from edge.capture.images.jpeg import decode_jpeg, jpeg_layout
from edge.core.config import MAX_MEGAPIXELS
from edge.core.datatypes import U8
from edge.core.errors import UndecodableImage as UndecodableImage
from edge.core.errors import UsageError
from edge.core.frame_memory import FrameMemory

PICTURE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif", ".avif", ".jp2"}
    | {".tga", ".pgm", ".ppm", ".pnm", ".pbm"}
)
# of the files left out for one reason
_NAMED = 3


def bgr_from_buffer(buffer: NDArray[Any], sensor_bits: int = 16) -> U8:
    """Convert what a camera or a file gave to uint8 (H, W, 3) BGR.

    buffer: uint8 grey (H, W) or (H, W, 1), BGR (H, W, 3), BGRA (H, W, 4; alpha is ignored), or uint16 grey, of which
    sensor_bits are significant, counted from bit 0; the top eight of them are kept. May return the buffer itself.
    Raises UndecodableImage for anything else.
    """
    if buffer.ndim == 3 and buffer.shape[2] == 1:
        buffer = buffer[:, :, 0]
    if buffer.size == 0 or buffer.ndim not in (2, 3):
        raise UndecodableImage(f"expected a picture (H, W) or (H, W, channels), got {_kind(buffer)}")
    if buffer.dtype == np.uint16 and buffer.ndim == 2:
        largest = int(buffer.max())
        if largest >> sensor_bits:
            raise UndecodableImage(
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
    raise UndecodableImage(
        f"{_kind(buffer)} is not supported: need 8-bit grey, BGR or BGRA, or 16-bit grey with one channel"
    )


def _bgr_from_grey(grey: U8) -> U8:
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)


def _kind(buffer: NDArray[Any]) -> str:
    return f"{buffer.dtype} {'x'.join(str(side) for side in buffer.shape) or 'scalar'}"


def decode_picture(
    encoded: bytes,
    sensor_bits: int = 16,
    max_megapixels: float = MAX_MEGAPIXELS,
    memory: FrameMemory | None = None,
) -> U8:
    """Decode a picture file's bytes to uint8 (H, W, 3) BGR, pixels as stored: a noted rotation is not applied.

    Raises UndecodableImage for anything but one whole picture of a kind that `bgr_from_buffer` takes, and for one of
    more than max_megapixels, before it is decoded. memory: where a JPEG is decoded to; None: memory of its own.
    """
    return bgr_from_buffer(decode_buffer(encoded, max_megapixels, memory), sensor_bits)


def decode_buffer(
    encoded: bytes, max_megapixels: float = MAX_MEGAPIXELS, memory: FrameMemory | None = None
) -> NDArray[Any]:
    """The pixels of a picture file's bytes in the depth they are stored in, for `bgr_from_buffer`.

    Raises UndecodableImage. BMP, PNM, TGA, JPEG 2000 and lossy WebP have no check sums: damage that leaves their
    structure whole cannot be told from a picture.
    """
    if not encoded:
        raise UndecodableImage("the file is empty (0 bytes)")
    if encoded.startswith(JPEG_START):
        layout = jpeg_layout(encoded)
        _refuse_large(layout.height_px, layout.width_px, layout.height_px * layout.width_px, max_megapixels)
        return decode_jpeg(encoded, layout, memory)
    header = image_header(encoded)
    _refuse_large(header.height_px, header.width_px, header.largest_px, max_megapixels)
    if header.pictures > 1:
        raise UndecodableImage(
            f"the {header.kind} holds {header.pictures} pictures, and which one shows the part is not clear: "
            "save each as a file of its own"
        )
    if header.for_pillow:
        return pixels_by_pillow(encoded)
    return _decoded_by_opencv(encoded)


def _decoded_by_opencv(encoded: bytes) -> NDArray[Any]:
    if encoded.startswith(PNG_START) and b"IEND" not in encoded[len(PNG_START) :]:
        raise UndecodableImage(f"the PNG is cut off after {len(encoded)} bytes: it has no end chunk")
    try:
        buffer = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise UndecodableImage(f"OpenCV cannot decode it: {error.err or error}") from error
    if buffer is None:
        raise UndecodableImage(f"{len(encoded)} bytes that OpenCV cannot decode: damaged, cut off or not a picture")
    return np.asarray(buffer)


def _refuse_large(height: int, width: int, largest_px: int, max_megapixels: float) -> None:
    if largest_px > max_megapixels * 1e6:
        raise UndecodableImage(
            f"{width}x{height} px need room for {largest_px / 1e6:.1f} megapixels; camera.max_megapixels "
            f"({max_megapixels:g}) allows no more"
        )


def original_suffix(encoded: bytes) -> str | None:
    """.jpg or .png for the files that decode to the same pixels everywhere, whatever the settings; None for others."""
    if encoded.startswith(JPEG_START):
        return ".jpg"
    # byte 24: bits of a channel; sixteen are cut to eight by a setting
    return ".png" if encoded.startswith(PNG_START) and encoded[24] <= 8 else None


def list_pictures(
    folder_or_glob: str | Path, notice: Callable[[str], None] = lambda text: None, *, links_out: bool = True
) -> list[Path]:
    """The picture files directly in a folder, or those a glob matches, in natural order (2 before 10).

    A picture is known by its suffix (PICTURE_SUFFIXES); empty files are kept, and are undecodable.
    notice: called with what was left out, and why. links_out: whether a link may lead out of its folder.
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
        reasons = {path: not_a_picture(path, links_out) for path in found}
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror or error}", fix="check the folder's permissions") from error
    pictures = [path for path, reason in reasons.items() if reason is None]
    left_out = _left_out({path: reason for path, reason in reasons.items() if reason is not None})
    if not pictures:
        raise UsageError(
            f"{where}: no pictures among {len(found)} files{': ' if left_out else ''}{left_out}",
            fix=f"give a place with {', '.join(sorted(PICTURE_SUFFIXES))} files; subfolders are not searched",
        )
    if left_out:
        notice(f"{where}: {len(pictures)} pictures; left out: {left_out}")
    return sorted(pictures, key=natural_key)


def not_a_picture(path: Path, links_out: bool) -> str | None:
    """Why a folder's entry is not taken for a picture, or None."""
    if path.name.startswith("."):
        return "hidden"
    if path.is_dir():
        return "sub-folder"
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        return "without a picture's suffix"
    if path.is_symlink():
        if not path.exists():
            return "link to nothing"
        if not links_out and not path.resolve().is_relative_to(path.parent.resolve()):
            return "link out of the folder, which is not followed"
    return None if path.is_file() else "not a file"


def _left_out(reasons: dict[Path, str]) -> str:
    """2 sub-folder (cam1 with 4 pictures, old), 1 hidden (.DS_Store)."""
    names: dict[str, list[str]] = {}
    for path, reason in sorted(reasons.items(), key=lambda item: natural_key(item[0])):
        names.setdefault(reason, []).append(_named(path))
    return ", ".join(f"{len(each)} {reason} ({few(each)})" for reason, each in names.items())


def _named(path: Path) -> str:
    """A folder's name says how many pictures are in it."""
    try:
        inside = sum(not_a_picture(entry, True) is None for entry in path.iterdir()) if path.is_dir() else 0
    except OSError:
        inside = 0
    return f"{path.name} with {inside} pictures" if inside else path.name


def few(names: list[str]) -> str:
    """The first names of many."""
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def class_folders(root: Path) -> list[Path]:
    """The folders in a folder, by name; hidden ones, and what archives leave behind, hold no data."""
    found = sorted(root.iterdir()) if root.is_dir() else []
    return [place for place in found if place.is_dir() and not place.name.startswith((".", "__MACOSX"))]


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that compares digits as numbers: part2 before part10."""
    pieces = re.split(r"(\d+)", str(path).casefold())
    return [(1, int(piece), "") if piece.isdecimal() else (0, 0, piece) for piece in pieces] + [(0, 0, str(path))]
