"""The features of a sample picture: a few numbers, a picture of 32 x 32 and a hash take the place of megabytes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.capture.triggers.motion_trigger import SMALL_SIDE, shrunk
from edge.core.datatypes import F32, U8
from edge.preprocessing.normal_samples import image_sha256

F64 = NDArray[np.float64]

# pictures are looked at with at most this longest side, in px: finer detail costs time and no network sees it
_LONGEST_SIDE_PX = 1280
# cells at the edge of the small picture that tell the background
_BORDER_CELLS = 2
# levels by which a cell must differ from the background to count as part
PART_LEVELS = 20


@dataclass(frozen=True)
class Feature:
    """A low-order property of a picture.

    finest: the smallest spread that good parts are believed to have, in the feature's unit. logarithmic: kept as
    natural logarithm, so that spreads are shares.
    """

    name: str
    finest: float
    unit: str = ""
    logarithmic: bool = False


FEATURES = (
    Feature("brightness", 4.0, " levels"),
    Feature("contrast", 0.1, logarithmic=True),
    Feature("edges", 0.1, logarithmic=True),
    Feature("focus", 0.07, logarithmic=True),
    Feature("noise", 0.25, logarithmic=True),
    Feature("green to red", 1.5, " levels"),
    Feature("blue to yellow", 1.5, " levels"),
    Feature("place across", 1.0, " % of the width"),
    Feature("place down", 1.0, " % of the height"),
)
FEATURE = {feature.name: index for index, feature in enumerate(FEATURES)}


@dataclass(frozen=True)
class SampleFeatures:
    """One sample: name, size in px, hash of its pixels; values in the order of FEATURES, small (32, 32, 3) BGR."""

    name: str
    height_px: int
    width_px: int
    sha256: str
    values: F64
    small: U8


def measure_sample(name: str, picture: U8, region: U8) -> SampleFeatures:
    """Measure a picture, uint8 (H, W, 3) BGR; region: the part of it that is inspected."""
    height, width = region.shape[:2]
    shrink = min(1.0, _LONGEST_SIDE_PX / max(height, width))
    seen = region
    if shrink < 1:
        side = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        seen = np.asarray(cv2.resize(region, side, interpolation=cv2.INTER_AREA), np.uint8)
    small = shrunk(seen)
    features = np.array([*_light_and_detail(seen), *_colour(small), *_place(small)])
    return SampleFeatures(name, picture.shape[0], picture.shape[1], image_sha256(picture), features, small)


def background(small: U8) -> F32:
    """The colour (3,) of the picture's edge: the median of its outer cells."""
    edge = np.ones(small.shape[:2], np.bool_)
    edge[_BORDER_CELLS:-_BORDER_CELLS, _BORDER_CELLS:-_BORDER_CELLS] = False
    return np.asarray(np.median(small[edge], 0), np.float32)


def apart(small: U8) -> F32:
    """How far each cell (32, 32) is from the colour of the picture's edge, in levels of its most different channel."""
    return np.asarray(np.abs(small.astype(np.float32) - background(small)).max(2), np.float32)


def _light_and_detail(seen: U8) -> tuple[float, float, float, float, float]:
    """Brightness, log contrast, log edges, log focus, log noise."""
    grey = cv2.cvtColor(seen, cv2.COLOR_BGR2GRAY)
    mean, deviation = cv2.meanStdDev(grey)
    # smoothed first: a picture out of focus still has all of its sensor noise; in floating point, or the steps of
    # whole levels would look like fine detail
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.0)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    edges = (cv2.norm(across, cv2.NORM_L1) + cv2.norm(down, cv2.NORM_L1)) / (8 * grey.size)
    # squares: the strongest edges decide how sharp a picture is, not the noise between them
    slope = np.hypot(cv2.norm(across), cv2.norm(down)) / 8
    bend = cv2.norm(cv2.Laplacian(smooth, cv2.CV_32F)) / 4
    rough = np.abs(grey[::2, ::2] - smooth[::2, ::2])
    return (
        float(mean[0, 0]),
        float(np.log(deviation[0, 0] + 0.5)),
        float(np.log(edges + 0.05)),
        float(np.log((bend + 1) / (slope + 1))),
        float(np.log(rough.mean() + 0.25)),
    )


def _colour(small: U8) -> tuple[float, float]:
    """Mean colour as Lab axes, in levels."""
    lab = cv2.cvtColor(small, cv2.COLOR_BGR2LAB).reshape(-1, 3).mean(0)
    return float(lab[1] - 128), float(lab[2] - 128)


def _place(small: U8) -> tuple[float, float]:
    """Centre of what differs from the picture's edge, in percent of width and height; the middle when nothing does."""
    weight = np.maximum(apart(small) - PART_LEVELS / 2, 0)
    total = float(weight.sum())
    if total < PART_LEVELS:
        return 50.0, 50.0
    centres = (np.arange(SMALL_SIDE) + 0.5) * 100 / SMALL_SIDE
    return float(weight.sum(0) @ centres / total), float(weight.sum(1) @ centres / total)
