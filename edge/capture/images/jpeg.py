"""JPEG: where the main picture ends, and its pixels, if it is whole. Nothing is filled in.

Markers: ITU-T T.81, annex B. A decoder that meets a cut or damaged picture goes on with grey, or with what the picture
before showed; here such a picture is refused instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import simplejpeg

from edge.core.datatypes import U8
from edge.core.errors import UndecodableImage
from edge.core.frame_memory import FrameMemory

START = b"\xff\xd8"
END = b"\xff\xd9"

_SOI, _EOI, _SOS, _TEM = 0xD8, 0xD9, 0xDA, 0x01
_RESTARTS = range(0xD0, 0xD8)
# in entropy-coded data every 0xff is followed by a stuffed zero, a restart or another 0xff; anything else ends the scan
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# start of frame: C0 to CF without tables (C4, CC) and the reserved C8
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = 0xC2
_DECODED = frozenset({0xC0, 0xC1, _PROGRESSIVE})
_OTHER_FRAMES = {0xC3: "lossless", 0xC5: "hierarchical", 0xC6: "hierarchical", 0xC7: "lossless, hierarchical"}
_TABLES = 0xC4
# one code after the other, these would be hundreds of coefficients of the same value: memory that was never filled
_NEVER_FILLED = bytes(64)
_FIRST_AC_TABLE, _END_OF_BLOCK = 0x10, 0x00
_EXTRANEOUS = "extraneous bytes before marker 0xd9"


@dataclass(frozen=True)
class JpegLayout:
    """What the markers of a whole picture say. end: offset of the first byte after it; what follows does not matter."""

    end: int
    height_px: int
    width_px: int
    channels: int


def jpeg_layout(encoded: bytes) -> JpegLayout:
    """Walk the markers of the main picture, from its start to its own end.

    Thumbnails lie inside segments and are skipped with them; maker notes, padding or a clip after the end are no cut.
    Raises UndecodableImage when the picture is not whole, or is of a kind that is not decoded.
    """
    if not encoded.startswith(START):
        raise UndecodableImage("it does not begin with a JPEG start marker")
    position, height, width, channels, scans = 2, 0, 0, 0, 0
    one_pass, flat_is_zeros = True, False
    while True:
        code, position = _next_marker(encoded, position)
        if code == _EOI:
            if not scans:
                raise UndecodableImage("the JPEG has no picture data before its end marker")
            return JpegLayout(position, height, width, channels)
        if code == _SOI:
            raise UndecodableImage(f"the JPEG is cut off: another picture begins at byte {position - 2}")
        if code == _TEM or code in _RESTARTS:
            continue
        segment, position = _segment(encoded, position)
        if code in _FRAMES:
            height, width, channels = _frame(code, segment)
            one_pass = code != _PROGRESSIVE
        elif code == _TABLES:
            flat_is_zeros |= _flat_is_zeros(segment)
        elif code == _SOS:
            if not channels:
                raise UndecodableImage("the JPEG has picture data before its header: it is damaged")
            scans += 1
            marker = _END_OF_SCAN.search(encoded, position)
            if marker is None:
                raise _cut_off(encoded)
            # zeros at the end may be padding
            if one_pass and not flat_is_zeros and _NEVER_FILLED in encoded[position : marker.start()].rstrip(b"\0"):
                raise UndecodableImage(f"the JPEG is damaged: {len(_NEVER_FILLED)} bytes of its picture are zero")
            position = marker.start()


def decode_jpeg(encoded: bytes, layout: JpegLayout, memory: FrameMemory | None = None) -> U8:
    """uint8 (H, W, 3) BGR, the same pixels as cv2.imdecode gives without EXIF rotation.

    encoded: what `layout` was found in. memory: where to; None: memory of its own.
    Raises UndecodableImage for the slightest complaint of libjpeg-turbo: a cut with an end marker put behind it, zeroed
    or garbled stretches, missing restarts. What no decoder can know: damage after which the codes happen to come out
    even.
    """
    encoded = encoded[: layout.end]
    buffer = None if memory is None else memory.empty((layout.height_px, layout.width_px, 3))
    try:
        return _strictly(encoded, buffer)
    except ValueError as error:
        # many webcams fill up to the end marker with zeros
        unpadded = _without_padding(encoded) if _EXTRANEOUS in str(error) else encoded
        if unpadded == encoded:
            raise _damaged(error) from error
    try:
        return _strictly(unpadded, buffer)
    except ValueError as error:
        raise _damaged(error) from error


def _next_marker(encoded: bytes, position: int) -> tuple[int, int]:
    """The code of the marker at a position, and the position behind it; it may be filled with more 0xff before."""
    if position < len(encoded) and encoded[position] != 0xFF:
        raise UndecodableImage(f"the JPEG is damaged: no marker at byte {position}")
    while position < len(encoded) and encoded[position] == 0xFF:
        position += 1
    if position >= len(encoded):
        raise _cut_off(encoded)
    return encoded[position], position + 1


def _segment(encoded: bytes, position: int) -> tuple[bytes, int]:
    """The content of a segment, and the position behind it."""
    length = int.from_bytes(encoded[position : position + 2], "big")
    if position + max(2, length) > len(encoded):
        raise _cut_off(encoded)
    if length < 2:
        raise UndecodableImage(f"the JPEG is damaged: a segment of length {length} at byte {position}")
    return encoded[position + 2 : position + length], position + length


def _flat_is_zeros(tables: bytes) -> bool:
    """Whether zeros are the code of an even surface in a segment of Huffman tables; they are not in the usual ones."""
    position = 0
    while position + 17 < len(tables):
        symbols = position + 17
        # the first symbol is the one whose code is all zeros
        if tables[position] == _FIRST_AC_TABLE and tables[symbols] == _END_OF_BLOCK:
            return True
        position = symbols + sum(tables[position + 1 : symbols])
    return False


def _frame(code: int, segment: bytes) -> tuple[int, int, int]:
    """(height, width, channels) of a start of frame."""
    if code not in _DECODED:
        kind = _OTHER_FRAMES.get(code, "arithmetic-coded")
        raise UndecodableImage(f"it is a {kind} JPEG, which is not supported: save it as baseline JPEG or PNG")
    if len(segment) < 6:
        raise UndecodableImage("the JPEG is damaged: its header is too short")
    bits, channels = segment[0], segment[5]
    if bits != 8:
        raise UndecodableImage(f"it is a JPEG of {bits} bits, which is not supported: save it with 8 bits, or as PNG")
    if channels not in (1, 3):
        raise UndecodableImage(
            f"it is a JPEG of {channels} channels (CMYK, made for printing), which is not supported: save it as RGB"
        )
    return int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big"), channels


def _cut_off(encoded: bytes) -> UndecodableImage:
    return UndecodableImage(f"the JPEG is cut off after {len(encoded)} bytes: it has no end marker")


def _strictly(encoded: bytes, buffer: U8 | None) -> U8:
    decoded = simplejpeg.decode_jpeg(
        encoded, colorspace="BGR", fastdct=False, fastupsample=False, strict=True, buffer=buffer
    )
    return np.asarray(decoded, np.uint8)


def _without_padding(encoded: bytes) -> bytes:
    """Without zeros before the end marker, but for one, which may belong to the picture's last code."""
    return encoded[: -len(END)].rstrip(b"\0") + b"\0" + END


def _damaged(error: ValueError) -> UndecodableImage:
    return UndecodableImage(f"the JPEG is damaged: {error}")
