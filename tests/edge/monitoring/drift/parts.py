"""Parts before a camera that changes: a plate with a disc, on a ground with some texture."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import cv2
import numpy as np

from edge.monitoring.drift.reference import ReferenceBuilder

START = datetime(2026, 3, 14, 8, 0, tzinfo=timezone.utc)
HEIGHT, WIDTH = 96, 128


def plate(seed: int) -> np.ndarray:
    """A good part, uint8 BGR: brightness, place and texture vary a little."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    centre = np.array([HEIGHT / 2, WIDTH / 2]) + random.normal(0, 0.7, 2)
    disc = np.hypot(y - centre[0], x - centre[1]) < 24
    grey = (70 + 80 * disc + 10 * (x // 8 % 2)) * random.normal(1, 0.01)
    picture = grey[..., None] * np.array((0.9, 1.0, 0.95)) + random.normal(0, 1.5, (HEIGHT, WIDTH, 3))
    return clipped(picture)


def clipped(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def noisy(picture: np.ndarray) -> np.ndarray:
    return clipped(picture + np.random.default_rng(int(picture.sum())).normal(0, 5, picture.shape))


def shifted(picture: np.ndarray) -> np.ndarray:
    return np.roll(picture, 6, axis=1)


# kind of drift that must be named → what happens to the picture
CHANGES = {
    "light down": lambda picture: clipped(picture * 0.88),
    "light up": lambda picture: clipped(picture * 1.12),
    "focus": lambda picture: cv2.GaussianBlur(picture, (0, 0), 1.5),
    "colour": lambda picture: clipped(picture * np.array((1, 1, 0.93))),
    "noise": noisy,
    "position": shifted,
    "contrast": lambda picture: clipped(0.7 * picture + 30),
}


def moment(index: int) -> datetime:
    return START + timedelta(seconds=index)


def reference_of(pictures, preprocess):
    """The reference of these good parts; None when they are too few."""
    builder = ReferenceBuilder(preprocess)
    for picture in pictures:
        builder.add(picture)
    return builder.finished()
