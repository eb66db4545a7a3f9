"""Good parts made bad: whole pictures with artificial defects, for detectors that are looked at from outside."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from edge.capture.images.image_reader import ImageReader
from edge.core.datatypes import U8
from edge.core.errors import UsageError
from edge.preprocessing.normal_samples import read_normal_samples
from edge.preprocessing.preprocess import Preprocess
from training.data.dataset import sample_field
from training.defects import PRESETS, DefectGenerator
from training.defects.sheet import contact_sheet
from training.run.preparation import pictures_from_fields

# defects are drawn at this side, then carried over to the picture: all detectors see the same, at their own size
_DRAWN_SIDE = 256
_BATCH = 16


def artificial_parts(pictures: Sequence[U8], preprocess: Preprocess, count: int, seed: int) -> Iterator[U8]:
    """`count` pictures, uint8 (H, W, 3) BGR, each with one defect inside the region of interest; taken in turn."""
    drawn = Preprocess(_DRAWN_SIDE, preprocess.rectangle, preprocess.polygon)
    generator = DefectGenerator(replace(PRESETS["reconstruction"], clean_share=0.0), seed)
    for start in range(0, count, _BATCH):
        sources = [pictures[index % len(pictures)] for index in range(start, min(start + _BATCH, count))]
        fields = np.stack([drawn.field(picture)[..., ::-1] for picture in sources])
        defective, masks = generator(torch.from_numpy(np.ascontiguousarray(fields.transpose(0, 3, 1, 2))).float() / 255)
        altered = (defective.permute(0, 2, 3, 1).flip(3).numpy() * 255).round().astype(np.uint8)
        for picture, field, mask in zip(sources, altered, masks[:, 0].numpy() > 0, strict=True):
            yield _carried_over(picture, field, mask, drawn)


def defect_sheet(
    data: Path, preset: str, preprocess: Preprocess, count: int, seed: int, reader: ImageReader
) -> tuple[U8, collections.Counter[str]]:
    """A contact sheet of `count` good parts with artificial defects, uint8 (H, W, 3) BGR, and a count of operators.

    preset: one of training.defects.PRESETS. Raises UsageError for another one, and for a picture that cannot be used.
    """
    if preset not in PRESETS:
        raise UsageError(f"unknown preset {preset!r}", fix=f"choose one of: {', '.join(PRESETS)}")
    fields, weight = [], None
    for part in read_normal_samples(data, reader):
        fields.append(sample_field(part.path, part.picture, preprocess))
        inside = preprocess.weight(*part.picture.shape[:2])
        # the sheet has one region: what lies inside it on every picture
        weight = inside if weight is None or inside is None else weight * inside
    chosen = np.resize(np.random.default_rng(seed).permutation(len(fields)), count)
    pictures = pictures_from_fields(np.stack([fields[index] for index in chosen]))
    roi = None if weight is None else pictures.new_tensor(weight)[None, None]
    # a sheet is for looking at defects
    drawn = DefectGenerator(replace(PRESETS[preset], clean_share=0.0), seed).draw(pictures, roi)
    return contact_sheet(pictures, drawn), collections.Counter(name or "none fitted" for name in drawn.operators)


def _carried_over(picture: U8, field: U8, mask: NDArray[np.bool_], drawn: Preprocess) -> U8:
    """The picture with the field's pixels where the mask is; elsewhere it keeps its own, unscaled."""
    view = drawn.field_of_view(*picture.shape[:2])
    assert view is not None, "the field was taken from this picture"
    size = (view.width, view.height)
    where = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    result: U8 = picture.copy()
    region = result[view.y : view.y + view.height, view.x : view.x + view.width]
    region[where] = cv2.resize(field, size, interpolation=cv2.INTER_LINEAR)[where]
    return result
