"""Pictures as a line would take them: each a little different, in the usual scene or a changed one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.capture.images.image_reader import read_image
from edge.core.datatypes import U8

# between two pictures of one scene: position in px, light as a share, sensor noise in levels
_JITTER_PX, _FLICKER, _NOISE = 1.5, 0.015, 2.0

SceneChange = Callable[[U8], U8]


def _unchanged(picture: U8) -> U8:
    return picture


def _dimmer(picture: U8) -> U8:
    return np.asarray(np.clip(picture * np.array([0.80, 0.85, 0.88]), 0, 255).astype(np.uint8), np.uint8)


def _unfocused(picture: U8) -> U8:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.5), np.uint8)


def _shifted(picture: U8) -> U8:
    return _moved(picture, 6.0, 4.0)


SCENES: dict[str, SceneChange] = {
    "as trained": _unchanged,
    "light down 15 %, and redder": _dimmer,
    "focus lost, 1.5 px": _unfocused,
    "shifted by 6 and 4 px": _shifted,
}


def line_pictures(
    parts: Sequence[Path], count: int, change: SceneChange, seed: int, size: tuple[int, int] = (640, 480)
) -> Iterator[U8]:
    """`count` pictures uint8 (H, W, 3) BGR, each part in turn; size: (width, height) in px. Repeatable."""
    random = np.random.default_rng(seed)
    for number in range(count):
        picture = cv2.resize(read_image(parts[number % len(parts)]), size, interpolation=cv2.INTER_AREA)
        changed = change(_moved(np.asarray(picture, np.uint8), *random.normal(0, _JITTER_PX, 2)))
        noisy = changed * random.normal(1, _FLICKER) + random.normal(0, _NOISE, changed.shape)
        yield np.clip(noisy, 0, 255).astype(np.uint8)


def _moved(picture: U8, across_px: float, down_px: float) -> U8:
    height, width = picture.shape[:2]
    matrix = np.array([[1, 0, across_px], [0, 1, down_px]], np.float32)
    return np.asarray(cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)
