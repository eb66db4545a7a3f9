"""What a picture file says of itself before it is decoded: its kind, its size, how many pictures it holds.

One kind, one decoder: JPEG is libjpeg-turbo's (jpeg.py), PNG, BMP, PNM and WebP are OpenCV's, which is the
quickest there, and the rest is Pillow's. Of TIFF, OpenCV accepts damage that Pillow refuses.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.capture.images.jpeg import START as JPEG_START
from edge.core.errors import UndecodableImage

if TYPE_CHECKING:
    from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"
# the last one has no mark of its own, and is recognised by elimination
_KINDS = ("BMP", "PPM", "TIFF", "WEBP", "GIF", "JPEG2000", "AVIF", "TGA")
_BY_PILLOW = frozenset({"TIFF", "GIF", "JPEG2000", "AVIF", "TGA"})
_KNOWN = "JPEG, PNG, BMP, PNM, TIFF, WebP, GIF, JPEG 2000, AVIF or TGA"
# pixels → what is kept; alpha is left out
_CONVERTED = {"1": "L", "L": "L", "LA": "L", "P": "RGB", "PA": "RGB", "RGB": "RGB", "RGBA": "RGB", "RGBX": "RGB"}
_DEEP = frozenset({"I;16", "I;16L", "I;16B"})
_TIFF_BITS, _TIFF_ORIENTATION, _TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 258, 274, 322, 323
# a PNG's first chunk: length, IHDR, width, height
_PNG_HEADER_BYTES = 24


@dataclass(frozen=True)
class ImageHeader:
    """kind: PNG or a name of Pillow's. pictures: how many the file holds, pages and frames of an animation alike.

    largest_px: pixels that the decoder needs room for at once, at least the picture's.
    """

    kind: str
    height_px: int
    width_px: int
    pictures: int
    largest_px: int

    @property
    def for_pillow(self) -> bool:
        return self.kind in _BY_PILLOW


def image_header(encoded: bytes) -> ImageHeader:
    """Of anything but a JPEG, whose markers jpeg.py walks. Raises UndecodableImage; decodes no pixels."""
    if encoded.startswith(PNG_START):
        return _png_header(encoded)
    with _opened(encoded) as image:
        width, height = image.size
        largest = width * height
        if image.format == "TIFF":
            tags = image.tag_v2  # type: ignore[attr-defined]
            largest = max(largest, int(tags.get(_TIFF_TILE_WIDTH, 0)) * int(tags.get(_TIFF_TILE_HEIGHT, 0)))
        pictures = int(getattr(image, "n_frames", 1))
        return ImageHeader(str(image.format), height, width, pictures, largest)


def is_picture_file(path: Path) -> bool:
    """Whether a file begins as a picture does, whatever its name says. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(len(PNG_START))
        if start.startswith((JPEG_START, PNG_START)):
            return True
        file.seek(0)
        try:
            with _opened(file):
                return True
        except UndecodableImage:
            return False


def pixels_by_pillow(encoded: bytes) -> NDArray[Any]:
    """As OpenCV would give them: uint8 grey or BGR, or uint16 grey; as stored, whatever orientation a TIFF notes."""
    with _opened(encoded) as image:
        tags = getattr(image, "tag_v2", {})
        orientation = int(tags.get(_TIFF_ORIENTATION, 1))
        deepest = max(np.atleast_1d(tags.get(_TIFF_BITS, 8)))
        image.load()
        if image.mode not in _DEEP and (image.mode not in _CONVERTED or deepest > 8):
            raise UndecodableImage(
                f"its pixels are {image.mode}, {deepest} bits a channel: need 8-bit grey or colour, or 16-bit grey"
            )
        stored = _as_stored(image, orientation)
        if image.mode in _DEEP:
            return np.asarray(stored).astype(np.uint16)
        pixels = np.asarray(stored.convert(_CONVERTED[image.mode]))
        return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])


def _png_header(encoded: bytes) -> ImageHeader:
    if len(encoded) < _PNG_HEADER_BYTES or encoded[12:16] != b"IHDR":
        raise UndecodableImage(f"the PNG is damaged or cut off after {len(encoded)} bytes: it has no header")
    width, height = (int.from_bytes(encoded[at : at + 4], "big") for at in (16, 20))
    # an animation says so before the pixels begin
    animation = encoded.find(b"acTL", _PNG_HEADER_BYTES, max(0, encoded.find(b"IDAT")))
    pictures = 1 if animation < 0 else int.from_bytes(encoded[animation + 4 : animation + 8], "big")
    return ImageHeader("PNG", height, width, pictures, height * width)


@cache
def _pillow() -> Any:
    """Pillow, which says on standard error what it also raises, and which has a limit of its own."""
    from PIL import Image

    warnings.filterwarnings("ignore", module=r"PIL\.")
    # the caller compares with its own limit before any pixel is decoded
    Image.MAX_IMAGE_PIXELS = None
    return Image


@contextmanager
def _opened(encoded: bytes | Any) -> Iterator[Image.Image]:
    """The file's header, read by Pillow; whatever its plugins raise on damage is an UndecodableImage."""
    pillow = _pillow()
    try:
        with pillow.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded, formats=_KINDS) as image:
            yield image
    except pillow.UnidentifiedImageError:
        raise UndecodableImage(f"it is not a {_KNOWN} picture, or its header is damaged") from None
    except (UndecodableImage, MemoryError):
        raise
    # plugins raise what they meet: OSError, SyntaxError, ValueError, struct.error and more
    except Exception as error:
        raise UndecodableImage(f"it is damaged or cut off: {error}") from error


def _as_stored(image: Image.Image, orientation: int) -> Image.Image:
    """Undo the turn by which Pillow sets a TIFF upright."""
    turns = _pillow().Transpose
    back = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_90,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_270,
    }
    return image.transpose(back[orientation]) if orientation in back else image
