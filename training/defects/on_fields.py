"""Artificial defects on network fields, for those who quantise and compare: NumPy in, NumPy out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from edge.core.datatypes import F32, U8
from training.defects.generator import AT_ONCE, DefectGenerator
from training.defects.presets import PRESETS


def defective_fields(fields: U8, weight: F32 | None, seed: int) -> tuple[U8, NDArray[np.bool_]]:
    """Each field, uint8 (n, s, s, 3) BGR, with one defect of the `surface` preset, and masks (n, s, s).

    weight: (s, s), above zero where defects may lie. A mask is empty where no fitting defect was found.
    """
    generator = DefectGenerator(replace(PRESETS["surface"], clean_share=0.0), seed)
    region = None if weight is None else torch.from_numpy(weight)[None, None]
    drawn, masks = np.empty_like(fields), np.empty(fields.shape[:3], np.bool_)
    # floats of a few pictures at a time: those of all would be the largest thing in a recalibration
    for some in np.array_split(np.arange(len(fields)), max(1, -(-len(fields) // AT_ONCE))):
        planes = np.ascontiguousarray(fields[some][..., ::-1].transpose(0, 3, 1, 2))
        pictures, altered = generator(torch.from_numpy(planes).float() / 255, region)
        levels = (pictures.numpy() * 255).round().clip(0, 255).astype(np.uint8)
        drawn[some] = levels.transpose(0, 2, 3, 1)[..., ::-1]
        masks[some] = altered.numpy()[:, 0] > 0
    return drawn, masks
