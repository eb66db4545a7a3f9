"""A contact sheet of artificial defects, for people to judge: normal, defective, and what changed, outlined."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from torch import Tensor

from edge.core.datatypes import U8
from training.defects.generator import Drawn

_CAPTION_PX, _GAP_PX = 18, 6
_SHEET_ASPECT = 1.4


def contact_sheet(normals: Tensor, drawn: Drawn) -> U8:
    """uint8 (H, W, 3) BGR: for each picture the normal, the defective one and its outline, under the operator's name.

    normals: (n, 3, h, w) in 0..1 RGB.
    """
    tiles = [
        _tile(_bgr(normal), _bgr(picture), mask[0].cpu().numpy() > 0, name)
        for normal, picture, mask, name in zip(normals, drawn.pictures, drawn.masks, drawn.operators, strict=True)
    ]
    height, width = tiles[0].shape[:2]
    columns = max(1, round((len(tiles) * height * _SHEET_ASPECT / width) ** 0.5))
    blank = [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.hstack(row) for row in itertools.zip_longest(*[iter(tiles + blank)] * columns)]
    return np.asarray(np.vstack(rows), np.uint8)


def _tile(normal: U8, defective: U8, mask: np.ndarray, name: str) -> U8:
    outlined = defective.copy()
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(outlined, contours, -1, (0, 0, 255), 1)
    row = np.hstack([normal, defective, outlined])
    tile = np.full((row.shape[0] + _CAPTION_PX + _GAP_PX, row.shape[1] + _GAP_PX, 3), 255, np.uint8)
    tile[_CAPTION_PX : _CAPTION_PX + row.shape[0], : row.shape[1]] = row
    caption = f"{name or 'clean'}  {mask.mean():.2%}"
    cv2.putText(tile, caption, (2, _CAPTION_PX - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return tile


def _bgr(picture: Tensor) -> U8:
    pixels = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).flip(2)
    return np.ascontiguousarray(pixels.cpu().numpy())
