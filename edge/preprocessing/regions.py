"""AnomalyMap and thresholds → Verdict. Pure: no I/O, no clock, no state."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edge.core.datatypes import F32, AnomalyMap, Pose, Region

# where the scale of image scores ends
HIGHEST_SCORE = 1.0


@dataclass(frozen=True)
class FieldOfView:
    """The part of a frame that the anomaly map covers: a rectangle in frame pixels."""

    x: int
    y: int
    width: int
    height: int


def defect_regions(anomaly_map: AnomalyMap, pixel_threshold: float, view: FieldOfView) -> tuple[Region, ...]:
    """Connected places above the pixel threshold, largest peak first, in frame pixels (8-connected).

    Of an aligned part they lie where the part lies in the frame.
    """
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
        corners = left * scale_x, top * scale_y, (left + width) * scale_x, (top + height) * scale_y
        x, y, right, bottom = _in_frame(corners, view, anomaly_map.pose)
        area_px = max(1, round(area * scale_x * scale_y))
        regions.append(Region(x, y, max(1, right - x), max(1, bottom - y), area_px, peak))
    return tuple(sorted(regions, key=lambda region: -region.peak))


def _in_frame(
    box: tuple[float, float, float, float], view: FieldOfView, pose: Pose | None
) -> tuple[int, int, int, int]:
    """A box (left, top, right, bottom) of the view in whole frame pixels; turned, the box around it."""
    left, top, right, bottom = box
    if pose is None:
        return view.x + round(left), view.y + round(top), view.x + round(right), view.y + round(bottom)
    corners = np.array([(left, top, 1), (right, top, 1), (left, bottom, 1), (right, bottom, 1)], np.float64)
    # edges of pixels lie half a pixel from their centres, which the pose is about
    corners[:, :2] -= 0.5
    lying = corners @ np.array(pose.matrix).reshape(2, 3).T + 0.5
    (x, y), (far_x, far_y) = np.maximum(np.rint(lying.min(0)), 0), np.maximum(np.rint(lying.max(0)), 1)
    return int(x), int(y), int(far_x), int(far_y)


def values_in_view(anomaly_map: AnomalyMap, view: FieldOfView) -> F32:
    """The map's values as they lie over the view of the frame itself; 0 where an aligned part's map does not reach."""
    if anomaly_map.pose is None:
        return anomaly_map.values
    rows, columns = anomaly_map.values.shape
    to_view = np.array([[view.width / columns, 0, 0], [0, view.height / rows, 0], [0, 0, 1]], np.float64)
    to_view[:2, 2] = 0.5 * to_view.diagonal()[:2] - 0.5
    to_frame = np.vstack([np.array(anomaly_map.pose.matrix).reshape(2, 3), (0, 0, 1)])
    from_frame = np.array([[1, 0, -view.x], [0, 1, -view.y], [0, 0, 1]], np.float64)
    matrix = np.linalg.inv(to_view) @ from_frame @ to_frame @ to_view
    moved = cv2.warpAffine(anomaly_map.values, matrix[:2], (columns, rows), flags=cv2.INTER_LINEAR)
    return np.asarray(moved, np.float32)
