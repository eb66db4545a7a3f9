"""Pictures of a training run: loss curves, and a sheet of what the network makes of parts it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from edge.core.datatypes import F32, U8
from edge.core.files.atomic_file import write_atomic
from edge.kernels.cpu import CpuScorePath, NetworkOutputs

CURVES, SHEET = "curves.png", "sheet.png"
_TITLE_PX = 22
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
    rows = []
    farthest = max((float(output.emb_dist.max()) for output in outputs if output.emb_dist is not None), default=1.0)
    for picture, mask, output, path in zip(pictures, masks, outputs, paths, strict=True):
        anomaly_map = path.score((picture * 2 - 1).numpy(), output)
        cells = [("part", _outlined(_bgr(picture.numpy()), mask[0].numpy()))]
        if output.recon is not None:
            cells.append(("reconstruction", _bgr((output.recon + 1) / 2)))
        if output.seg_logit is not None:
            cells.append(("probability", _heat(1 / (1 + np.exp(-np.clip(output.seg_logit, -60, 60))), picture)))
        if output.emb_dist is not None:
            cells.append(("distance", _heat(output.emb_dist / farthest, picture)))
        cells.append((f"map, score {anomaly_map.score:.3f}", _heat(anomaly_map.values, picture)))
        rows.append(np.concatenate([_titled(name, image) for name, image in cells], 1))
    # not imwrite: OpenCV crashes on the name of a folder that is no text
    write_atomic(file, cv2.imencode(file.suffix, np.concatenate(rows))[1].tobytes())


def _bgr(picture: NDArray[Any]) -> U8:
    scaled = np.clip(picture[::-1].transpose(1, 2, 0) * 255, 0, 255)
    return np.ascontiguousarray(np.round(scaled), np.uint8)


def _outlined(image: U8, mask: F32) -> U8:
    contours, _ = cv2.findContours((mask > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(image, contours, -1, (0, 0, 255), 1), np.uint8)


def _heat(values: NDArray[Any], picture: Tensor) -> U8:
    side = (picture.shape[2], picture.shape[1])
    levels = np.round(np.clip(cv2.resize(values.astype(np.float32), side), 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), np.uint8)


def _titled(title: str, image: U8) -> U8:
    times = -(-_CELL_PX // image.shape[0])
    image = np.repeat(np.repeat(image, times, 0), times, 1)
    bar = np.full((_TITLE_PX, image.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, title, (3, _TITLE_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    framed = cv2.copyMakeBorder(image, 0, 2, 0, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    bar = cv2.copyMakeBorder(bar, 0, 0, 0, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return np.concatenate([bar, np.asarray(framed, np.uint8)])
