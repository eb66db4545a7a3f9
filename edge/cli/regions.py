"""The region of interest of the settings, as a bundle keeps it."""

from __future__ import annotations

from edge.core.config import RoiSettings

Rectangle = tuple[int, int, int, int]
Polygon = tuple[tuple[int, int], ...]


def region_of_interest(roi: RoiSettings) -> tuple[Rectangle | None, Polygon | None]:
    """(rectangle, polygon), immutable."""
    corners = roi.rectangle
    rectangle = None if corners is None else (corners[0], corners[1], corners[2], corners[3])
    return rectangle, None if roi.polygon is None else tuple((x, y) for x, y in roi.polygon)
