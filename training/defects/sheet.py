"""A contact sheet of artificial defects, for people to judge: normal, defective, and what changed, outlined."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from edge.core.datatypes import U8
from edge.pages import contact_sheet as sheets
from edge.pages.pictures import bgr, outlined
from training.defects.generator import Drawn

_SHEET_ASPECT = 1.4


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
