"""Pictures of a training run: loss curves, and a sheet of what the network makes of parts it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from edge.core.datatypes import U8
from edge.core.files.atomic_file import write_atomic
from edge.kernels.cpu import CpuScorePath, NetworkOutputs
from edge.pages.contact_sheet import Cell, contact_sheet
from edge.pages.pictures import bgr, heat, outlined, picture_bytes, scaled

CURVES, SHEET = "curves.png", "sheet.png"
# a cell's picture is enlarged to at least this side
_CELL_PX = 192


def draw_curves(curves: dict[str, dict[str, list[list[float]]]], file: Path) -> None:
    """One plot a stage, every loss of it, on a logarithmic axis where all are positive."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, max(1, len(curves)), figsize=(5 * max(1, len(curves)), 4), squeeze=False)
    for axis, (stage, losses) in zip(axes[0], curves.items(), strict=False):
        for name, points in losses.items():
            steps, values = zip(*points, strict=True)
            axis.plot(steps, values, label=name, linewidth=2 if name in ("total", "validation") else 0.8)
        if all(value > 0 for points in losses.values() for _, value in points):
            axis.set_yscale("log")
        axis.set_title(stage)
        axis.set_xlabel("step")
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=100)
    pyplot.close(figure)


def draw_sheet(
    pictures: Tensor, masks: Tensor, outputs: Sequence[NetworkOutputs], paths: Sequence[CpuScorePath], file: Path
) -> None:
    """One row a picture: the part with its artificial defect outlined, each output, the map and its score.

    pictures (n, 3, s, s) in 0..1, masks (n, 1, s, s). Maps are drawn over 0..1, distances over their own range.
    """
    cells: list[Cell] = []
    farthest = max((float(output.emb_dist.max()) for output in outputs if output.emb_dist is not None), default=1.0)
    for picture, mask, output, path in zip(pictures, masks, outputs, paths, strict=True):
        anomaly_map = path.score((picture * 2 - 1).numpy(), output)
        images = {"part": outlined(bgr(picture.numpy()), mask[0].numpy() > 0.5)}
        if output.recon is not None:
            images["reconstruction"] = bgr((output.recon + 1) / 2)
        if output.seg_logit is not None:
            images["probability"] = _heat(1 / (1 + np.exp(-np.clip(output.seg_logit, -60, 60))), picture)
        if output.emb_dist is not None:
            images["distance"] = _heat(output.emb_dist / farthest, picture)
        images[f"map, score {anomaly_map.score:.3f}"] = _heat(anomaly_map.values, picture)
        side = picture.shape[1] * -(-_CELL_PX // picture.shape[1])
        cells += [Cell(scaled(image, side, side), title) for title, image in images.items()]
    # not imwrite: OpenCV crashes on the name of a folder that is no text
    write_atomic(file, picture_bytes(contact_sheet(cells, len(cells) // len(pictures)), file.suffix))


def _heat(values: NDArray[Any], picture: Tensor) -> U8:
    return heat(cv2.resize(values.astype(np.float32), (picture.shape[2], picture.shape[1])))
