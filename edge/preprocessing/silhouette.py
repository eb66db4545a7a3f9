"""Outlines of parts that stand out against their ground: where each lies, how it is turned, how large it is.

Everything happens on a reduced picture. The ground is a smooth surface fitted to what the frame's border shows, then to
all that looks like it, so that uneven light drops out. What differs from it by more than Otsu's threshold is a part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32, U8
from edge.preprocessing.regions import FieldOfView

# how a part differs from its ground: it is darker, brighter, of another colour, or any of these
Contrast = Literal["dark", "bright", "colour", "any"]
CONTRASTS: tuple[Contrast, ...] = ("dark", "bright", "colour", "any")

# longest side of the reduced picture
REDUCED_PX = 320
_BORDER_SHARE, _SAMPLED_EVERY = 0.03, 4
# beyond so many deviations of the ground a sample has no say in it (Tukey's biweight)
_TUKEY = 4.7
_SMOOTH_PX = 1.3
# a part differs from its ground by so many deviations of the ground, and by so many grey levels
_LEAST_DEVIATIONS, _LEAST_LEVELS = 5.0, 8.0
# of the reduced picture; smaller things are dirt
_LEAST_SHARE = 0.001
_NORMAL_MAD = 1.4826

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Silhouette:
    """The outline of one part, in frame pixels.

    x, y: its middle, halfway between its ends. angle_deg: of its axis, clockwise, -180..180, so that the heavier end
    comes first: 0 lies with it at the left. length, breadth: along and across the axis. lean: how far the centre of its
    area lies from the middle, towards the heavier end, of the length. on_border: share of the outline that lies on the
    border of the view. step: how far it stands out, in grey levels. mask: uint8 (h, w), 255 inside, on the reduced
    picture.
    """

    x: float
    y: float
    angle_deg: float
    length: float
    breadth: float
    area: float
    lean: float
    on_border: float
    step: float
    mask: U8

    @property
    def elongation(self) -> float:
        return self.length / max(self.breadth, 1e-6)


class Seen:
    """A view of a frame, reduced, without its ground. frame: (height, width) of the frame in pixels.

    scale: reduced pixels a frame pixel, by width and height. ground,
    differences: float32 (h, w, 3), grey levels above the ground. deviation: of the ground, in grey levels.
    """

    def __init__(self, image: U8, view: FieldOfView) -> None:
        seen = image[view.y : view.y + view.height, view.x : view.x + view.width]
        most = min(1.0, REDUCED_PX / max(view.width, view.height))
        size = max(8, round(view.width * most)), max(8, round(view.height * most))
        small = cv2.resize(seen, size, interpolation=cv2.INTER_AREA)
        self.view = view
        self.frame = (image.shape[0], image.shape[1])
        self.scale = (size[0] / view.width, size[1] / view.height)
        smooth = np.asarray(cv2.GaussianBlur(small, (0, 0), _SMOOTH_PX), np.float32)
        self._coefficients, self.deviation = _ground_of(smooth)
        self.ground = _surface(self._coefficients, smooth.shape[0], smooth.shape[1])
        self.differences: F32 = np.asarray(smooth - self.ground, np.float32)
        self.grey: F32 = np.asarray(cv2.transform(self.differences, np.full((1, 3), 1 / 3, np.float32)), np.float32)

    def standing_out(self, contrast: Contrast) -> F32:
        """How far each place differs from the ground in this way, in grey levels, 0 or more."""
        if contrast == "dark":
            return np.maximum(-self.grey, 0)
        if contrast == "bright":
            return np.maximum(self.grey, 0)
        values = self.differences - self.grey[..., None] if contrast == "colour" else self.differences
        return np.asarray(cv2.sqrt(cv2.transform(values * values, np.full((1, 3), 1 / 3, np.float32))), np.float32)

    def silhouettes(self, contrast: Contrast, otsu_share: float = 1.0) -> list[Silhouette]:
        """Everything that stands out, largest first.

        otsu_share: of Otsu's threshold; less takes in what differs less from the ground, shadows too.
        """
        values = self.standing_out(contrast)
        step = _otsu(values, None)
        if step is None:
            return []
        least = max(_LEAST_LEVELS, _LEAST_DEVIATIONS * self.deviation)
        inside = _cleaned(values > max(otsu_share * step, least))
        # once more where both sides are of like size: Otsu's threshold is drawn towards the larger
        reach = max(3, round(0.02 * max(values.shape)))
        near = cv2.dilate(inside, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
        step = _otsu(values, near)
        if step is not None:
            inside = _cleaned(values > max(otsu_share * step, least))
        # the algorithm of one thread: waking others takes longer
        count, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(inside, 8, cv2.CV_32S, cv2.CCL_SAUF)
        found = []
        for place in range(1, count):
            if stats[place, cv2.CC_STAT_AREA] < _LEAST_SHARE * values.size:
                continue
            mask = np.asarray(cv2.compare(labels, place, cv2.CMP_EQ), np.uint8)
            found.append(self._measured(mask, float(values[mask > 0].mean())))
        return sorted(found, key=lambda silhouette: -silhouette.area)

    def to_frame(self) -> F64:
        """(2, 3), from places of the reduced picture to frame pixels; places are centres."""
        across, down = 1 / self.scale[0], 1 / self.scale[1]
        return np.array(
            [[across, 0, 0.5 * across - 0.5 + self.view.x], [0, down, 0.5 * down - 0.5 + self.view.y]], np.float64
        )

    def _measured(self, mask: U8, step: float) -> Silhouette:
        rows, columns = np.nonzero(mask)
        to_frame = self.to_frame()
        points = np.stack([columns, rows], axis=1) @ to_frame[:, :2].T + to_frame[:, 2]
        centre = points.mean(axis=0)
        spread = np.cov((points - centre).T) if len(points) > 2 else np.eye(2)
        axis = np.linalg.eigh(spread)[1][:, 1]
        along, across = (points - centre) @ axis, (points - centre) @ (-axis[1], axis[0])
        # a place has a width of its own
        place = 0.5 * (to_frame[0, 0] + to_frame[1, 1])
        first, last = float(along.min()), float(along.max())
        middle = 0.5 * (first + last)
        length = float(last - first + place)
        # the centre of the area lies on the heavier side of the middle
        if middle < 0:
            axis, middle = -axis, -middle
            across = -across
        offset = 0.5 * (float(across.min()) + float(across.max()))
        x, y = centre + middle * axis + offset * np.array((-axis[1], axis[0]))
        edge = int((mask[0] > 0).sum() + (mask[-1] > 0).sum() + (mask[:, 0] > 0).sum() + (mask[:, -1] > 0).sum())
        outline = int((mask > 0).sum() - (cv2.erode(mask, np.ones((3, 3), np.uint8), borderValue=0) > 0).sum())
        return Silhouette(
            x=float(x),
            y=float(y),
            angle_deg=math.degrees(math.atan2(axis[1], axis[0])),
            length=length,
            breadth=float(across.max() - across.min()) + place,
            area=len(points) * float(to_frame[0, 0] * to_frame[1, 1]),
            lean=middle / length,
            on_border=edge / max(outline, 1),
            step=step,
            mask=mask,
        )


def _otsu(values: F32, inside: U8 | None) -> float | None:
    """Otsu's threshold of values from 0 on, among the places given; None where all are the same."""
    chosen = values if inside is None else values[inside > 0]
    if not chosen.size:
        return None
    most = float(chosen.max())
    if most <= 0:
        return None
    levels = cv2.convertScaleAbs(chosen.reshape(1, -1), alpha=255 / most)
    level, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return (float(level) + 0.5) * most / 255


def _cleaned(above: NDArray[np.bool_]) -> U8:
    """Without specks, with gaps closed and holes filled: glints and print lie inside a part."""
    mask = np.asarray(above, np.uint8) * 255
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(mask)
    cv2.drawContours(filled, outlines, -1, (255,), cv2.FILLED)
    return np.asarray(filled, np.uint8)


def _basis(rows: F64, columns: F64) -> F64:
    """(n, 6): a surface of second order over places from -1 to 1."""
    return np.stack([np.ones_like(rows), columns, rows, columns * rows, columns**2, rows**2], axis=1)


def _surface(coefficients: F64, height: int, width: int) -> F32:
    """(height, width, 3)"""
    rows, columns = np.linspace(-1, 1, height), np.linspace(-1, 1, width)[:, None]
    constant, across, down, both, across2, down2 = coefficients
    # a polynomial in the row, whose coefficients are polynomials in the column: one product of small matrices
    of_column = np.stack([constant + across * columns + across2 * columns**2, down + both * columns,
                          down2 + 0 * columns])  # fmt: skip
    powers = np.stack([np.ones_like(rows), rows, rows**2], axis=1)
    product = powers.astype(np.float32) @ of_column.reshape(3, -1).astype(np.float32)
    return np.asarray(product.reshape(height, width, 3), np.float32)


def _ground_of(smooth: F32) -> tuple[F64, float]:
    """(6, 3) coefficients of the ground, and its deviation in grey levels; from the border, then from all like it."""
    height, width = smooth.shape[:2]
    ring = max(2, round(_BORDER_SHARE * max(height, width)))
    near = (slice(None, ring), slice(-ring, None))
    rows, columns = np.mgrid[:height, :width]
    on_ring = [(side, slice(None, None, _SAMPLED_EVERY)) for side in near]
    on_ring += [(slice(None, None, _SAMPLED_EVERY), side) for side in near]
    everywhere = [(slice(None, None, 2 * _SAMPLED_EVERY), slice(None, None, 2 * _SAMPLED_EVERY))]
    coefficients = np.zeros((6, 3))
    deviation = 0.0
    # a constant first, then a plane: a part on the border must not bend the surface towards itself
    for samples, orders in ((on_ring, (0, 1, 3, 3, 3, 6, 6, 6)), (everywhere, (6, 6))):
        values = np.concatenate([smooth[place].reshape(-1, 3) for place in samples]).astype(np.float64)
        row = np.concatenate([rows[place].ravel() for place in samples]) * (2 / max(1, height - 1)) - 1
        column = np.concatenate([columns[place].ravel() for place in samples]) * (2 / max(1, width - 1)) - 1
        basis = _basis(row, column)
        for order in orders:
            if order == 0:
                coefficients[0] = np.median(values, axis=0)
                continue
            difference = values - basis @ coefficients
            squared = np.einsum("nc,nc->n", difference, difference) / 3
            deviation = max(_NORMAL_MAD * float(np.sqrt(np.median(squared))), 0.5)
            weight = np.maximum(1 - squared / (_TUKEY * deviation) ** 2, 0) ** 2
            used = basis[:, :order]
            weighted = (used * weight[:, None]).T
            normal = weighted @ used + 1e-6 * len(weight) * np.eye(order)
            coefficients = np.zeros((6, 3))
            coefficients[:order] = np.linalg.solve(normal, weighted @ values)
    return coefficients, deviation
