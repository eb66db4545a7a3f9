"""Pictures that say what they are: a part, and below it a band of black and white cells with number, part and time.

Whoever has number, part and time can draw the picture again, so a judged picture can be held against the one that was
sent.
NumPy alone: the RTSP camera runs under the system's Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Picture = np.ndarray[Any, np.dtype[np.uint8]]

# multiples of 16, halved of 8: no block of a codec reaches from the band into the part, where it would leave waves
PART_HEIGHT, WIDTH = 384, 544
BAND_HEIGHT = 36
CELLS = 32
_NUMBER, _PART, _TIME, _CHECK = 20, 4, 32, 8


@dataclass(frozen=True)
class Label:
    """number counts the pictures of one camera; at_ms: milliseconds of the machine's monotonic clock, modulo 2^32."""

    number: int
    part: int
    at_ms: int


def load_parts(path: Path) -> Picture:
    """uint8 (parts, PART_HEIGHT, WIDTH, 3) BGR."""
    parts: Picture = np.load(path)
    return parts


def draw(parts: Picture, label: Label, shrunk: bool = False) -> Picture:
    """uint8 (PART_HEIGHT + BAND_HEIGHT, WIDTH, 3) BGR; half as large when shrunk."""
    band = np.repeat(np.repeat(_cells(label), BAND_HEIGHT // 2, axis=0), WIDTH // CELLS, axis=1)
    picture = np.concatenate([parts[label.part], np.repeat(band[:, :, None], 3, axis=2)])
    return np.ascontiguousarray(picture[::2, ::2]) if shrunk else picture


def read_label(picture: Picture) -> Label | None:
    """What the band says; None when it says nothing consistent."""
    height, width = picture.shape[:2]
    top = height * PART_HEIGHT / (PART_HEIGHT + BAND_HEIGHT)
    rows = (top + (height - top) * np.array([0.25, 0.75])).astype(int)
    columns = ((np.arange(CELLS) + 0.5) * width / CELLS).astype(int)
    bits = (picture[np.ix_(rows, columns)].mean(axis=2) > 127).ravel()
    value = int("".join("1" if bit else "0" for bit in bits), 2)
    content, check = value >> _CHECK, value & ((1 << _CHECK) - 1)
    if check != _checked(content):
        return None
    return Label(content >> (_PART + _TIME), content >> _TIME & ((1 << _PART) - 1), content & ((1 << _TIME) - 1))


def _cells(label: Label) -> Picture:
    content = label.number << (_PART + _TIME) | label.part << _TIME | label.at_ms
    value = content << _CHECK | _checked(content)
    bits = [value >> place & 1 for place in range(_NUMBER + _PART + _TIME + _CHECK - 1, -1, -1)]
    return (np.array(bits, np.uint8) * 255).reshape(2, CELLS)


def _checked(content: int) -> int:
    """CRC-8, polynomial 0x07, of the content's seven bytes."""
    check = 0
    for byte in content.to_bytes(7, "big"):
        check ^= byte
        for _ in range(8):
            check = (check << 1 ^ 0x07 if check & 0x80 else check << 1) & 0xFF
    return check ^ 0x55
