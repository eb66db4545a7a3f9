"""Pictures for pages and sheets, uint8 (h, w, 3) BGR: scaled, coloured, outlined, encoded."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import U8

_GROUND = 225


def picture_bytes(picture: U8, suffix: str = ".png") -> bytes:
    """The bytes of a picture file; suffix: of the format."""
    return bytes(cv2.imencode(suffix, picture)[1])


def picture_uri(picture: U8, suffix: str = ".png") -> str:
    """A PNG, or with .jpg a JPEG, as the address of a picture inside a page."""
    kind = "jpeg" if suffix == ".jpg" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(picture_bytes(picture, suffix)).decode()}"


def bgr(planes: NDArray[Any]) -> U8:
    """The picture of (3, h, w) RGB from 0 to 1, as networks have it."""
    return np.ascontiguousarray(np.round(np.clip(planes[::-1].transpose(1, 2, 0) * 255, 0, 255)), np.uint8)


def heat(values: NDArray[Any]) -> U8:
    """Values from 0 to 1, (h, w), dark to bright; what lies outside is clipped."""
    levels = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), np.uint8)


def outlined(picture: U8, mask: NDArray[np.bool_]) -> U8:
    """A copy with a red line around every place of the mask, (h, w)."""
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(picture.copy(), lines, -1, (0, 0, 255), 1), np.uint8)


def scaled(picture: U8, height: int, width: int) -> U8:
    """As large as fits into (height, width), with the picture's own aspect."""
    scale = min(height / picture.shape[0], width / picture.shape[1])
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    # enlarged pixels stay squares, so that a small picture is not taken for a blurred one
    return np.asarray(
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST), np.uint8
    )


def boxed(picture: U8 | None, height: int, width: int) -> U8:
    """The same in the middle of a grey box of (height, width); an empty box where there is no picture."""
    box = np.full((height, width, 3), _GROUND, np.uint8)
    if picture is not None:
        shown = scaled(picture, height, width)
        top, left = (height - shown.shape[0]) // 2, (width - shown.shape[1]) // 2
        box[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    return box
