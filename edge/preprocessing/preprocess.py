"""Frame → network field: region of interest, resize, and what must match between calibration and the line."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import cv2
import numpy as np

from edge.core.datatypes import F32, U8, Pose
from edge.core.manifest import AlignSpec
from edge.preprocessing.alignment import aligner_of, placed_view
from edge.preprocessing.regions import FieldOfView


@dataclass(frozen=True)
class PlacedView:
    """The inspected rectangle of a frame with the part in its place, uint8 (height, width, 3); pose: where it lay."""

    view: U8
    pose: Pose | None


@dataclass(frozen=True)
class Preprocess:
    """How a frame becomes the network's input.

    size: side of the square field in pixels. rectangle: (x, y, width, height) in frame pixels, None for the whole
    frame. polygon: corners in frame pixels; map pixels outside it are not scored. align: what parts are aligned to
    first; rectangle and polygon then say where they lie in the reference.
    """

    size: int
    rectangle: tuple[int, int, int, int] | None = None
    polygon: tuple[tuple[int, int], ...] | None = None
    align: AlignSpec | None = None

    @property
    def sha256(self) -> str:
        """Hash of everything that changes the network's input; statistics carry it."""
        parts: list[object] = [1, "box-then-linear", self.size, self.rectangle, self.polygon]
        # only where there is one: bundles from before alignment keep their hash
        parts += [] if self.align is None else [self.align.model_dump()]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def of_placed_views(self) -> Preprocess:
        """The same for pictures that are `placed` views already."""
        if self.align is None:
            return self
        x, y = (0, 0) if self.rectangle is None else self.rectangle[:2]
        polygon = None if self.polygon is None else tuple((column - x, row - y) for column, row in self.polygon)
        return Preprocess(self.size, None, polygon)

    def field_of_view(self, height: int, width: int) -> FieldOfView | None:
        """The inspected rectangle of a frame of this size; None when it does not lie inside."""
        if self.rectangle is None:
            return FieldOfView(0, 0, width, height)
        x, y, roi_width, roi_height = self.rectangle
        if x + roi_width > width or y + roi_height > height:
            return None
        return FieldOfView(x, y, roi_width, roi_height)

    def placed(self, image: U8) -> PlacedView:
        """The inspected rectangle of a frame, with the part where the reference has it; raises PartNotFound."""
        view = self.field_of_view(*image.shape[:2])
        assert view is not None, "the inspector refuses frames that the region does not fit"
        if self.align is None:
            return PlacedView(image[view.y : view.y + view.height, view.x : view.x + view.width], None)
        pose = aligner_of(self.align).pose(image, view)
        return PlacedView(placed_view(image, view, pose), pose)

    def field(self, image: U8) -> U8:
        """Crop, align and resize to uint8 (size, size, 3); raises PartNotFound.

        A box mean as wide as the scale, then bilinear at pixel centres: an area filter in effect, at a quarter of
        cv2.INTER_AREA's time (benchmarks/results, resize). Enlarging is bilinear alone.
        """
        cropped = self.placed(image).view
        if cropped.shape[:2] == (self.size, self.size):
            return np.ascontiguousarray(cropped)
        kernel = odd_kernel(cropped.shape[1] / self.size), odd_kernel(cropped.shape[0] / self.size)
        if kernel != (1, 1):
            cropped = np.asarray(cv2.blur(cropped, kernel, borderType=cv2.BORDER_REFLECT), np.uint8)
        resized = cv2.resize(cropped, (self.size, self.size), interpolation=cv2.INTER_LINEAR)
        return np.asarray(resized, np.uint8)

    def weight(self, height: int, width: int) -> F32 | None:
        """1 inside the polygon, 0 outside, (size, size), for frames of this size; None without a polygon."""
        view = self.field_of_view(height, width)
        if self.polygon is None or view is None:
            return None
        scale = np.array([self.size / view.width, self.size / view.height])
        corners = (np.array(self.polygon, np.float64) - (view.x, view.y)) * scale
        mask = np.zeros((self.size, self.size), np.uint8)
        cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
        return mask.astype(np.float32)


def odd_kernel(scale: float) -> int:
    """The odd number nearest to the scale, at least 1; odd, so that the mean stays centred on its pixel."""
    return max(1, 2 * round((scale - 1) / 2) + 1)
