"""Pixel formats of GenICam cameras (PFNC names) → uint8 BGR."""

from __future__ import annotations

import cv2
import numpy as np

from edge.capture.genicam.driver import PixelLayout
from edge.capture.genicam.pixel_formats import HANDLED, SIXTEEN_BITS, handled_name
from edge.core.datatypes import U8
from edge.core.errors import UndecodableImage
from edge.core.frame_memory import FRAME_MEMORY

# bytes of a pixel, and what turns it into BGR. PFNC names the upper left pixel and its right neighbour: RG is RGGB
_EIGHT_BITS = {
    "Mono8": (1, cv2.COLOR_GRAY2BGR),
    "BayerRG8": (1, cv2.COLOR_BayerRGGB2BGR),
    "BayerGR8": (1, cv2.COLOR_BayerGRBG2BGR),
    "BayerGB8": (1, cv2.COLOR_BayerGBRG2BGR),
    "BayerBG8": (1, cv2.COLOR_BayerBGGR2BGR),
    "RGB8": (3, cv2.COLOR_RGB2BGR),
    "BGR8": (3, None),
    "RGBa8": (4, cv2.COLOR_RGBA2BGR),
}


def bgr_of(data: U8, layout: PixelLayout, sensor_bits: int) -> U8:
    """Copy a picture out of a driver's bytes, as uint8 (H, W, 3) BGR.

    data: at least height_px rows of row_bytes. Raises UndecodableImage for fewer bytes, for a format that is not
    handled, and for a grey value above its bits.
    """
    name = handled_name(layout.name)
    if name is None:
        raise UndecodableImage(f"pixel format {layout.name} is not supported: need one of {', '.join(HANDLED)}")
    width_px, height_px = layout.width_px, layout.height_px
    pixel_bytes = 2 if name in SIXTEEN_BITS else _EIGHT_BITS[name][0]
    if min(width_px, height_px) < 1 or layout.row_bytes < width_px * pixel_bytes:
        raise UndecodableImage(f"{width_px}x{height_px} px of {name} do not fit rows of {layout.row_bytes} bytes")
    if data.size < height_px * layout.row_bytes:
        raise UndecodableImage(f"{data.size} bytes are too few for {height_px} rows of {layout.row_bytes}")
    rows = data[: height_px * layout.row_bytes].reshape(height_px, layout.row_bytes)[:, : width_px * pixel_bytes]
    shown = FRAME_MEMORY.empty((height_px, width_px, 3))
    if name in SIXTEEN_BITS:
        return _bgr_of_grey16(rows, SIXTEEN_BITS[name] or sensor_bits, shown)
    code = _EIGHT_BITS[name][1]
    pixels = rows if pixel_bytes == 1 else rows.reshape(height_px, width_px, pixel_bytes)
    if code is None:
        np.copyto(shown, pixels)
        return shown
    return np.asarray(cv2.cvtColor(pixels, code, dst=shown), np.uint8)


def _bgr_of_grey16(rows: U8, bits: int, shown: U8) -> U8:
    grey = np.ascontiguousarray(rows).view("<u2")
    largest = int(grey.max())
    if largest >> bits:
        raise UndecodableImage(
            f"grey value {largest} does not fit {bits} bits: for Mono16 camera.sensor_bits says how many there are"
        )
    eight = (grey >> (bits - 8)).astype(np.uint8)
    return np.asarray(cv2.cvtColor(eight, cv2.COLOR_GRAY2BGR, dst=shown), np.uint8)
