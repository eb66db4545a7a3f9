"""sheet.png of a run: what the chosen score path makes of parts that the network has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.choice.measured import Measured
from calibration.choice.scores import fitted_paths
from edge.core.datatypes import U8
from edge.core.files.atomic_file import write_atomic
from edge.core.manifest import ScoreSpec
from edge.kernels.cpu import planes_from_field
from edge.pages.contact_sheet import Cell, contact_sheet
from edge.pages.pictures import bgr, heat, outlined, picture_bytes, scaled

SHEET = "sheet.png"
# good parts, and parts with artificial defects
_GOOD, _DEFECTIVE = 2, 6
# a cell's picture is enlarged to at least this width, and a large one reduced to this side
_CELL_PX, _LARGEST_PX = 192, 640


def draw_sheet(spec: ScoreSpec, measured: Measured, file: Path) -> None:
    """One row a part: its artificial defect outlined, each output, the map and its score.

    Maps are drawn over 0..1, distances over their own range.
    """
    exhibits = measured.exhibits
    defective = np.linspace(exhibits.good, len(exhibits) - 1, min(_DEFECTIVE, len(exhibits) - exhibits.good))
    shown = [*range(min(_GOOD, exhibits.good)), *defective.round().astype(int).tolist()]
    paths = fitted_paths(spec, measured)
    distances = [measured.outputs[index].emb_dist for index in shown]
    low = min((float(found.min()) for found in distances if found is not None), default=0.0)
    high = max((float(found.max()) for found in distances if found is not None), default=1.0)
    cells: list[Cell] = []
    for index in shown:
        field, outputs = exhibits.fields[index], measured.complete(index)
        anomaly_map = paths[index].score(planes_from_field(field, np.empty((3, *field.shape[:2]), np.float32)), outputs)
        images = {"part": outlined(field, exhibits.masks[index])}
        if outputs.recon is not None:
            images["reconstruction"] = bgr((outputs.recon + 1) / 2)
        if outputs.seg_logit is not None:
            images["probability"] = _heat(1 / (1 + np.exp(-np.clip(outputs.seg_logit, -60, 60))), field)
        if outputs.emb_dist is not None:
            images["distance"] = _heat((outputs.emb_dist - low) / max(high - low, 1e-6), field)
        images[f"map, score {anomaly_map.score:.3f}"] = _heat(anomaly_map.values, field)
        times: float = -(-_CELL_PX // field.shape[1])
        times = min(times, _LARGEST_PX / max(field.shape[:2]))
        width, height = round(field.shape[1] * times), round(field.shape[0] * times)
        cells += [Cell(scaled(image, height, width), title) for title, image in images.items()]
    # not imwrite: OpenCV crashes on the name of a folder that is no text
    write_atomic(file, picture_bytes(contact_sheet(cells, len(cells) // len(shown)), file.suffix))


def _heat(values: NDArray[Any], field: U8) -> U8:
    return heat(cv2.resize(values.astype(np.float32), field.shape[1::-1]))
