"""Artificial defects on good parts, to look at: the contact sheet of `edge-inspect defects`."""

from __future__ import annotations

import collections
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.capture.images.image_reader import ImageReader
from edge.core.datatypes import U8
from edge.core.errors import UsageError
from edge.preprocessing.normal_samples import read_normal_samples
from edge.preprocessing.preprocess import Preprocess
from training.data.dataset import sample_field
from training.defects import PRESETS, DefectGenerator
from training.defects.sheet import contact_sheet
from training.run.preparation import pictures_from_fields


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
