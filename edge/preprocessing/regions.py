"""AnomalyMap and thresholds → Verdict. Pure: no I/O, no clock, no state."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32, AnomalyMap, PartScore, Pose, Region

# where the scale of image scores ends
HIGHEST_SCORE = 1.0
# of a map laid over its view: a part on its canvas may be finer than the view has room for
_MOST_LAID_PX = 1024


@dataclass(frozen=True)
class FieldOfView:
    """The part of a frame that the anomaly map covers: a rectangle in frame pixels."""

    x: int
    y: int
    width: int
    height: int


def defect_regions(anomaly_map: AnomalyMap, pixel_threshold: float, view: FieldOfView) -> tuple[Region, ...]:
    """Connected places above the pixel threshold, largest peak first, in frame pixels (8-connected).

    Of an aligned part they lie where the part lies in the frame. Of several parts, those of all.
    """
    regions = [
        region for each in (anomaly_map, *anomaly_map.others) for region in _regions(each, pixel_threshold, view)
    ]
    return tuple(sorted(regions, key=lambda region: -region.peak))


def part_scores(anomaly_map: AnomalyMap, view: FieldOfView) -> tuple[PartScore, ...]:
    """Each part of a frame that shows several, highest score first; none where it shows one."""
    if not anomaly_map.others:
        return ()
    found = []
    for part in (anomaly_map, *anomaly_map.others):
        x, y, right, bottom = _in_frame((0, 0, view.width, view.height), view, part.pose)
        found.append(PartScore(part.score, x, y, max(1, right - x), max(1, bottom - y)))
    return tuple(sorted(found, key=lambda part: -part.score))


def _regions(anomaly_map: AnomalyMap, pixel_threshold: float, view: FieldOfView) -> list[Region]:
    if not anomaly_map.values.size:
        return []
    values = anomaly_map.values
    above = cv2.compare(values, pixel_threshold, cv2.CMP_GT)
    # the smallest window with all of them: labelling takes its time for every place
    first_column, first_row, width, height = cv2.boundingRect(above)
    if width == 0:
        return []
    window = slice(first_row, first_row + height), slice(first_column, first_column + width)
    # the algorithm of one thread: the window is too small to wake others for
    count, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(above[window], 8, cv2.CV_32S, cv2.CCL_SAUF)
    peaks = np.zeros(count, np.float32)
    np.maximum.at(peaks, labels.ravel(), values[window].ravel())
    rows, columns = values.shape
    scale_x, scale_y = view.width / columns, view.height / rows
    pose = anomaly_map.pose
    # a part on its canvas is of another size there than in the frame
    per_cell = scale_x * scale_y * (1.0 if pose is None else abs(float(np.linalg.det(_linear(pose)[:, :2]))))
    regions = []
    for (left, top, width, height, area), peak in zip(stats[1:].tolist(), peaks[1:].tolist(), strict=True):
        left, top = left + first_column, top + first_row
        corners = left * scale_x, top * scale_y, (left + width) * scale_x, (top + height) * scale_y
        x, y, right, bottom = _in_frame(corners, view, pose)
        area_px = max(1, round(area * per_cell))
        regions.append(Region(x, y, max(1, right - x), max(1, bottom - y), area_px, peak))
    return regions


def _linear(pose: Pose) -> NDArray[np.float64]:
    """(2, 3)"""
    return np.array(pose.matrix, np.float64).reshape(2, 3)


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
    lying = corners @ _linear(pose).T + 0.5
    (x, y), (far_x, far_y) = np.maximum(np.rint(lying.min(0)), 0), np.maximum(np.rint(lying.max(0)), 1)
    return int(x), int(y), int(far_x), int(far_y)


def values_in_view(anomaly_map: AnomalyMap, view: FieldOfView) -> F32:
    """The map's values as they lie over the view of the frame itself; 0 where an aligned part's map does not reach.

    Of several parts the highest. Finer than the map where that is needed to keep its places apart.
    """
    if anomaly_map.pose is None:
        return anomaly_map.values
    shape = _laid_shape(anomaly_map.values.shape, anomaly_map.pose, view)
    laid = np.zeros(shape, np.float32)
    for part in (anomaly_map, *anomaly_map.others):
        if part.values.size and part.pose is not None:
            laid = np.maximum(laid, _laid(part.values, part.pose, view, shape))
    return laid


def _laid_shape(shape: tuple[int, ...], pose: Pose, view: FieldOfView) -> tuple[int, int]:
    rows, columns = shape
    cell = np.sqrt(abs(np.linalg.det(_linear(pose)[:, :2])) * view.width * view.height / (rows * columns))
    # of a moved or turned part cells are as they were; a canvas may be turned across the view
    needed = max(view.height / rows, view.width / columns) / max(float(cell), 1e-6)
    if needed < 1.5:
        return rows, columns
    factor = min(1 / max(float(cell), 1e-6), _MOST_LAID_PX / max(view.height, view.width))
    return max(1, round(view.height * factor)), max(1, round(view.width * factor))


def _laid(values: F32, pose: Pose, view: FieldOfView, shape: tuple[int, int]) -> F32:
    rows, columns = values.shape
    # from cells of the map to pixels of the view it would cover, from there to the frame, to the view and its cells
    matrix = _per_cell(columns, rows, view)
    for step in (np.vstack([_linear(pose), (0, 0, 1)]), np.array([[1, 0, -view.x], [0, 1, -view.y], [0, 0, 1]])):
        matrix = step @ matrix
    matrix = np.linalg.inv(_per_cell(shape[1], shape[0], view)) @ matrix
    moved = cv2.warpAffine(values, matrix[:2], (shape[1], shape[0]), flags=cv2.INTER_LINEAR)
    return np.asarray(moved, np.float32)


def _per_cell(columns: int, rows: int, view: FieldOfView) -> NDArray[np.float64]:
    """(3, 3), from cells of a grid over the view to its pixels."""
    across, down = view.width / columns, view.height / rows
    return np.array([[across, 0, 0.5 * across - 0.5], [0, down, 0.5 * down - 0.5], [0, 0, 1]], np.float64)
