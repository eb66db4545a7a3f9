"""Masks as people and tools write them: which file is whose, and which of its pixels are a defect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.capture.images.image_io import PICTURE_SUFFIXES
from edge.capture.images.image_reader import ImageReader

Mask = NDArray[np.bool_]

# levels up to here number the classes of a label file; above, they are black and white
_MOST_LABELS = 127
# a mask of more than this share is likely to mark what is good
MOST_DEFECTIVE = 0.5


def mask_path(folder: Path, stem: str) -> Path | None:
    """The mask of a picture: <stem>_mask or <stem> with any picture's suffix, or a folder <stem> of defect channels."""
    for name in (f"{stem}_mask", stem):
        for suffix in (".png", *sorted(PICTURE_SUFFIXES)):
            for written in (suffix, suffix.upper()):
                if (found := folder / f"{name}{written}").is_file():
                    return found
    channels = folder / stem
    return channels if channels.is_dir() else None


def mask_levels(path: Path, reader: ImageReader) -> NDArray[np.uint16]:
    """(H, W) levels, 0 where nothing is marked: alpha where the mask is drawn on a transparent layer, else the
    brightest channel. Raises UsageError."""
    stored = reader.stored(path)
    if stored.dtype not in (np.uint8, np.uint16):
        # floating point masks are 0 to 1
        stored = np.round(np.clip(stored, 0, 1) * 255)
    if stored.ndim == 3 and stored.shape[2] == 4:
        alpha, colour = stored[:, :, 3], stored[:, :, :3]
        drawn = bool((alpha != alpha.flat[0]).any()) and bool((colour == colour[:1, :1]).all())
        stored = alpha if drawn else colour
    levels = stored.max(axis=2) if stored.ndim == 3 else stored
    return np.asarray(levels, np.uint16)


def marked(levels: NDArray[np.uint16]) -> Mask:
    """Where the mask marks a defect: above half of its brightest level, or every label of a file of labels."""
    highest = int(levels.max(initial=0))
    return np.asarray(levels > (0 if highest <= _MOST_LABELS else highest / 2), np.bool_)
