"""Artificial defects on pictures of good parts, for those who quantise and compare: NumPy in, NumPy out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from edge.core.datatypes import F32, U8
from edge.preprocessing.preprocess import Preprocess
from training.defects.generator import AT_ONCE, DefectGenerator
from training.defects.presets import PRESETS

Mask = NDArray[np.bool_]

# defects are drawn at this side, then carried over to the picture: all detectors see the same, at their own size
_DRAWN_SIDE = 256
_BATCH = 16


def defective_fields(fields: U8, weight: F32 | None, seed: int) -> tuple[U8, Mask]:
    """Each field, uint8 (n, s, s, 3) BGR, with one defect of the `surface` preset, and masks (n, s, s).

    weight: (s, s), above zero where defects may lie. A mask is empty where no fitting defect was found.
    """
    generator = _generator("surface", seed)
    region = None if weight is None else torch.from_numpy(weight)[None, None]
    altered, masks = np.empty_like(fields), np.empty(fields.shape[:3], np.bool_)
    # floats of a few pictures at a time: those of all would be the largest thing in a recalibration
    for some in np.array_split(np.arange(len(fields)), max(1, -(-len(fields) // AT_ONCE))):
        altered[some], masks[some] = _altered(generator, fields[some], region)
    return altered, masks


def defective_pictures(pictures: Sequence[U8], preprocess: Preprocess, count: int, seed: int) -> Iterator[U8]:
    """`count` pictures, uint8 (H, W, 3) BGR, each with one defect inside the region of interest; taken in turn."""
    preprocess = Preprocess(_DRAWN_SIDE, _DRAWN_SIDE, preprocess.rectangle, preprocess.polygon)
    generator = _generator("reconstruction", seed)
    for start in range(0, count, _BATCH):
        sources = [pictures[index % len(pictures)] for index in range(start, min(start + _BATCH, count))]
        fields = np.stack([preprocess.field(picture) for picture in sources])
        for picture, field, mask in zip(sources, *_altered(generator, fields), strict=True):
            yield _carried_over(picture, field, mask, preprocess)


def _generator(preset: str, seed: int) -> DefectGenerator:
    return DefectGenerator(replace(PRESETS[preset], clean_share=0.0), seed)


def _altered(generator: DefectGenerator, fields: U8, region: torch.Tensor | None = None) -> tuple[U8, Mask]:
    """The fields with defects, rounded to whole levels, and where the defects are."""
    planes = np.ascontiguousarray(fields[..., ::-1].transpose(0, 3, 1, 2))
    pictures, masks = generator(torch.from_numpy(planes).float() / 255, region)
    levels = (pictures.numpy() * 255).round().astype(np.uint8)
    return levels.transpose(0, 2, 3, 1)[..., ::-1], masks.numpy()[:, 0] > 0


def _carried_over(picture: U8, field: U8, mask: Mask, preprocess: Preprocess) -> U8:
    """The picture with the field's pixels where the mask is; elsewhere it keeps its own, unscaled."""
    view = preprocess.field_of_view(*picture.shape[:2])
    assert view is not None, "the field was taken from this picture"
    size = (view.width, view.height)
    where = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    result: U8 = picture.copy()
    region = result[view.y : view.y + view.height, view.x : view.x + view.width]
    region[where] = cv2.resize(np.ascontiguousarray(field), size, interpolation=cv2.INTER_LINEAR)[where]
    return result
