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
    above = cv2.compare(values, pixel_threshold, cv2.CMP_GT)
    # the smallest window with all of them: labelling takes its time for every place
    first_column, first_row, width, height = cv2.boundingRect(above)
    if width == 0:
        return ()
    window = slice(first_row, first_row + height), slice(first_column, first_column + width)
    # the algorithm of one thread: the window is too small to wake others for
    count, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(above[window], 8, cv2.CV_32S, cv2.CCL_SAUF)
    peaks = np.zeros(count, np.float32)
    np.maximum.at(peaks, labels.ravel(), values[window].ravel())
    rows, columns = values.shape
    scale_x, scale_y = view.width / columns, view.height / rows
    regions = []
    for (left, top, width, height, area), peak in zip(stats[1:].tolist(), peaks[1:].tolist(), strict=True):
        left, top = left + first_column, top + first_row
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
