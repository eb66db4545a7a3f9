"""Artificial defects on network fields, for those who quantise and compare: NumPy in, NumPy out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from edge.datatypes import F32, U8
from training.defects.generator import DefectGenerator
from training.defects.presets import PRESETS


def defective_fields(fields: U8, weight: F32 | None, seed: int) -> tuple[U8, NDArray[np.bool_]]:
    """Each field, uint8 (n, s, s, 3) BGR, with one defect of the `surface` preset, and masks (n, s, s).

    weight: (s, s), above zero where defects may lie. A mask is empty where no fitting defect was found.
    """
    generator = DefectGenerator(replace(PRESETS["surface"], clean_share=0.0), seed)
    region = None if weight is None else torch.from_numpy(weight)[None, None]
    pictures = torch.from_numpy(np.ascontiguousarray(fields[..., ::-1].transpose(0, 3, 1, 2))).float() / 255
    drawn, masks = generator(pictures, region)
    planes = (drawn.numpy() * 255).round().clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)[..., ::-1]), masks.numpy()[:, 0] > 0
