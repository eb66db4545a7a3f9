"""Frame → network field: region of interest, resize, and what must match between calibration and the line."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32, U8, Pose
from edge.core.manifest import AlignSpec, Fit
from edge.preprocessing.alignment import aligner_of, placed_view
from edge.preprocessing.regions import FieldOfView
from edge.preprocessing.upright import upright_aligner_of


@dataclass(frozen=True)
class PlacedView:
    """The inspected rectangle of a frame with the part in its place, uint8 (height, width, 3); pose: where it lay."""

    view: U8
    pose: Pose | None


@dataclass(frozen=True)
class Preprocess:
    """How a frame becomes the network's input.

    height, width: of the field in pixels. rectangle: (x, y, width, height) in frame pixels, None for the whole frame.
    polygon: corners in frame pixels; map pixels outside it are not scored. align: what parts are aligned to first;
    rectangle and polygon then say where they lie in the reference. fit: edge/core/manifest.py, PreprocessSpec. tile:
    height and width of the tiles that the field is cut in, and their halo; None: the network sees it whole.
    """

    height: int
    width: int
    rectangle: tuple[int, int, int, int] | None = None
    polygon: tuple[tuple[int, int], ...] | None = None
    align: AlignSpec | None = None
    fit: Fit = "stretch"
    tile: tuple[int, int, int] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the field."""
        return self.height, self.width

    @property
    def sha256(self) -> str:
        """Hash of everything that changes the network's input; statistics carry it."""
        # only what departs from square, stretched and unaligned: bundles from before these keep their hash
        size = self.height if self.height == self.width else [self.height, self.width]
        parts: list[object] = [1, "box-then-linear", size, self.rectangle, self.polygon]
        parts += [] if self.align is None else [self.align.model_dump(exclude_none=True)]
        parts += [] if self.fit == "stretch" else [self.fit]
        parts += [] if self.tile is None else [{"tile": self.tile}]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def places(self) -> bool:
        """Whether the map lies elsewhere than on the inspected rectangle itself."""
        return self.align is not None or self.fit != "stretch"

    @property
    def of_placed_views(self) -> Preprocess:
        """The same for pictures that are `placed` views already."""
        if not self.places:
            return self
        x, y = (0, 0) if self.rectangle is None else self.rectangle[:2]
        polygon = None if self.polygon is None else tuple((column - x, row - y) for column, row in self.polygon)
        return replace(self, rectangle=None, polygon=polygon, align=None)

    @property
    def masked(self) -> bool:
        """Whether `weight` leaves places of the map out."""
        return self.polygon is not None or self.fit == "letterbox"

    def field_of_view(self, height: int, width: int) -> FieldOfView | None:
        """The inspected rectangle of a frame of this size; None when it does not lie inside."""
        if self.rectangle is None:
            return FieldOfView(0, 0, width, height)
        x, y, roi_width, roi_height = self.rectangle
        if x + roi_width > width or y + roi_height > height:
            return None
        return FieldOfView(x, y, roi_width, roi_height)

    def placed(self, image: U8) -> tuple[PlacedView, ...]:
        """The inspected rectangle of a frame, with the part where the reference has it; raises PartNotFound.

        One view, but of parts that are stood upright: their canvases, as many as parts were found.
        """
        view = self.field_of_view(*image.shape[:2])
        assert view is not None, "the inspector refuses frames that the region does not fit"
        if self.align is None:
            return (PlacedView(image[view.y : view.y + view.height, view.x : view.x + view.width], None),)
        if self.align.mode == "upright":
            return tuple(PlacedView(*part) for part in upright_aligner_of(self.align).placed(image, view))
        pose = aligner_of(self.align).pose(image, view)
        return (PlacedView(placed_view(image, view, pose), pose),)

    def pose_of_map(self, image: U8, placed: PlacedView) -> Pose | None:
        """Where the map lies: the part's pose, with the borders of a letterbox around it; None: on the view itself."""
        if self.fit == "stretch":
            return placed.pose
        view = self.field_of_view(*image.shape[:2])
        assert view is not None, "the inspector refuses frames that the region does not fit"
        above, beside = self.borders(view.height, view.width)
        across, down = 1 + 2 * beside / view.width, 1 + 2 * above / view.height
        # pixels are centres: half a pixel off the corner they are counted from
        grown = np.array([[across, 0, across / 2 - 0.5 - beside], [0, down, down / 2 - 0.5 - above], [0, 0, 1]])
        pose = placed.pose or Pose((1, 0, view.x, 0, 1, view.y), 1.0, 0.0, 1.0)
        matrix = np.array(pose.matrix).reshape(2, 3) @ grown
        return replace(pose, matrix=tuple(float(value) for value in matrix.ravel()))

    def field_to_frame(self, image: U8) -> NDArray[np.float64]:
        """(2, 3), from pixel centres of a frame's first field to those of the frame; raises PartNotFound."""
        view = self.field_of_view(*image.shape[:2])
        assert view is not None, "the inspector refuses frames that the region does not fit"
        pose = self.pose_of_map(image, self.placed(image)[0])
        scale = np.array([view.width / self.width, view.height / self.height])
        to_view = np.array([[scale[0], 0, scale[0] / 2 - 0.5], [0, scale[1], scale[1] / 2 - 0.5], [0, 0, 1]])
        to_frame = np.array((1, 0, view.x, 0, 1, view.y) if pose is None else pose.matrix, np.float64)
        matrix: NDArray[np.float64] = to_frame.reshape(2, 3) @ to_view
        return matrix

    def field(self, image: U8) -> U8:
        """The first of a frame's `fields`; for frames that show one part."""
        return self.fields(image)[0]

    def fields(self, image: U8) -> list[U8]:
        """Crop, align and resize to uint8 (height, width, 3), one for each part; raises PartNotFound.

        A box mean as wide as the scale, then bilinear at pixel centres: an area filter in effect, at a quarter of
        cv2.INTER_AREA's time (benchmarks/results, resize). Enlarging is bilinear alone.
        """
        return [self._resized(placed.view) for placed in self.placed(image)]

    def _resized(self, cropped: U8) -> U8:
        above, beside = self.borders(*cropped.shape[:2])
        if above or beside:
            cropped = np.asarray(
                cv2.copyMakeBorder(cropped, above, above, beside, beside, cv2.BORDER_REPLICATE), np.uint8
            )
        if cropped.shape[:2] == self.shape:
            return np.ascontiguousarray(cropped)
        kernel = odd_kernel(cropped.shape[1] / self.width), odd_kernel(cropped.shape[0] / self.height)
        if kernel != (1, 1):
            cropped = np.asarray(cv2.blur(cropped, kernel, borderType=cv2.BORDER_REFLECT), np.uint8)
        resized = cv2.resize(cropped, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(resized, np.uint8)

    def weight(self, height: int, width: int) -> F32 | None:
        """1 where the field is scored, 0 elsewhere, (height, width), for frames of this size; None for everywhere."""
        view = self.field_of_view(height, width)
        if view is None or not self.masked:
            return None
        above, beside = self.borders(view.height, view.width)
        scale = np.array([self.width / (view.width + 2 * beside), self.height / (view.height + 2 * above)])
        mask = np.ones(self.shape, np.uint8)
        if self.polygon is not None:
            mask[:] = 0
            corners = (np.array(self.polygon, np.float64) - (view.x - beside, view.y - above)) * scale
            cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
        # a field pixel counts when its centre shows the view
        left, top = (math.ceil(value) for value in np.array([beside, above]) * scale - 0.5)
        mask[:top] = mask[self.height - top :] = 0
        mask[:, :left] = mask[:, self.width - left :] = 0
        return mask.astype(np.float32)

    def borders(self, height: int, width: int) -> tuple[int, int]:
        """Pixels that the fit adds above and below, and on either side, to a view of this size."""
        if self.fit != "letterbox":
            return 0, 0
        aspect = self.width / self.height
        return max(0, round((width / aspect - height) / 2)), max(0, round((height * aspect - width) / 2))


def odd_kernel(scale: float) -> int:
    """The odd number nearest to the scale, at least 1; odd, so that the mean stays centred on its pixel."""
    return max(1, 2 * round((scale - 1) / 2) + 1)
