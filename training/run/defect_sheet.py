"""Artificial defects on good parts, to look at: the contact sheet of `edge-inspect defects`."""

from __future__ import annotations

import collections
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from edge.capture.images.image_reader import ImageReader
from edge.core.datatypes import U8
from edge.core.errors import UsageError
from edge.pages import contact_sheet as sheets
from edge.pages.pictures import bgr, outlined
from edge.preprocessing.normal_samples import read_normal_samples
from edge.preprocessing.preprocess import Preprocess
from training.data.dataset import sample_field
from training.defects import PRESETS, DefectGenerator
from training.defects.generator import Drawn
from training.run.preparation import pictures_from_fields

_SHEET_ASPECT = 1.4


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


def contact_sheet(normals: Tensor, drawn: Drawn) -> U8:
    """uint8 (H, W, 3) BGR: for each picture the normal, the defective one and its outline, under the operator's name.

    normals: (n, 3, h, w) in 0..1 RGB.
    """
    cells = []
    for normal, picture, mask, name in zip(normals, drawn.pictures, drawn.masks, drawn.operators, strict=True):
        place, defective = mask[0].cpu().numpy() > 0, bgr(picture.cpu().numpy())
        row = np.hstack([bgr(normal.cpu().numpy()), defective, outlined(defective, place)])
        cells.append(sheets.Cell(row, f"{name or 'clean'}  {place.mean():.2%}"))
    height, width = cells[0].size
    return sheets.contact_sheet(cells, max(1, round((len(cells) * height * _SHEET_ASPECT / width) ** 0.5)))
