"""AnomalyMap and thresholds → Verdict. Pure: no I/O, no clock, no state."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edge.datatypes import AnomalyMap, Region


@dataclass(frozen=True)
class FieldOfView:
    """The part of a frame that the anomaly map covers: a rectangle in frame pixels."""

    x: int
    y: int
    width: int
    height: int


def defect_regions(anomaly_map: AnomalyMap, pixel_threshold: float, view: FieldOfView) -> tuple[Region, ...]:
    """Connected places above the pixel threshold, largest peak first, in frame pixels (8-connected)."""
    values = anomaly_map.values
    above = (values > pixel_threshold).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    rows, columns = values.shape
    scale_x, scale_y = view.width / columns, view.height / rows
    regions = []
    for label in range(1, count):
        left, top, width, height, area = (int(value) for value in stats[label])
        inside = labels[top : top + height, left : left + width] == label
        peak = float(values[top : top + height, left : left + width][inside].max())
        x, y = view.x + round(left * scale_x), view.y + round(top * scale_y)
        regions.append(
            Region(
                x=x,
                y=y,
                width=max(1, view.x + round((left + width) * scale_x) - x),
                height=max(1, view.y + round((top + height) * scale_y) - y),
                area_px=max(1, round(area * scale_x * scale_y)),
                peak=peak,
            )
        )
    return tuple(sorted(regions, key=lambda region: -region.peak))
