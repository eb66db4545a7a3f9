"""What samples have in common, robustly: medians and median deviations, so that a few defects do not move them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from calibration.samples.features import F64, FEATURES, PART_LEVELS, SampleFeatures, apart
from edge.capture.triggers.motion_trigger import SMALL_SIDE
from edge.core.datatypes import F32, U8
from edge.core.errors import UsageError
from edge.core.files.safe_npz import NpzError, read_npz

# fewer samples than this say nothing about each other
ENOUGH = 8
# median absolute deviation → standard deviation of a normal distribution
_TO_SIGMA = 1.4826
# by this share of 1 / count a spread may be larger than it seems
_UNSURE = 8.0
# what no good part is held against: levels a cell may differ in anyway
_FINEST_CELL = 3.0
# cells that decide how unlike the most unlike spot is
_SPOT_CELLS = 10
# a part covers at least and at most these shares of the picture where it can be told from the background at all
_PART_SHARE = (0.03, 0.85)
# shift of the part, in cells, that does not make it another product
_LARGEST_SHIFT = 4

DISTANCES = ("difference", "spot")
_FINEST_DISTANCE = 0.15
_NUMBERS = ("count", "height_px", "width_px", "presence", "presence_spread", "likeness", "likeness_spread")
_LIMITS_BYTES = {
    "centre": 8 * len(FEATURES),
    "spread": 8 * len(FEATURES),
    "distance_centre": 8 * len(DISTANCES),
    "distance_spread": 8 * len(DISTANCES),
    "typical": 4 * SMALL_SIDE * SMALL_SIDE * 3,
    "cell_spread": 4 * SMALL_SIDE * SMALL_SIDE * 3,
    "numbers": 8 * len(_NUMBERS),
}


@dataclass(frozen=True)
class SampleStatistics:
    """Of `count` samples of one product.

    centre, spread: median and robust standard deviation of FEATURES. typical: the median picture (32, 32, 3) BGR;
    cell_spread: how much each of its cells varies. distance_centre, _spread: of the logarithms of DISTANCES from it.
    presence: how far the part stands out from the background, in levels, with the spread of its logarithm; 0 where it
    cannot be told from it. likeness, likeness_spread: correlation with the typical picture. height_px, width_px: 0
    where sizes vary.
    """

    count: int
    height_px: int
    width_px: int
    centre: F64
    spread: F64
    distance_centre: F64
    distance_spread: F64
    typical: U8
    cell_spread: F32
    presence: float
    presence_spread: float
    likeness: float
    likeness_spread: float

    def distances(self, sample: SampleFeatures) -> F64:
        """Logarithms of DISTANCES: of the whole small picture from the typical one, and of its most unlike spot."""
        unlike = sample.small.astype(np.float32) - self.typical
        # light is a feature of its own
        unlike -= np.median(unlike, (0, 1))
        cells = np.sort((np.abs(unlike) / (self.cell_spread + _FINEST_CELL)).mean(2), None)
        return np.log([float(np.sqrt((unlike**2).mean())) + 1, float(cells[-_SPOT_CELLS:].mean()) + 0.5])

    def presence_of(self, sample: SampleFeatures) -> float:
        """How far the sample stands out from its background where the typical picture shows the part, in levels."""
        return _presence(sample.small, _part(self.typical))

    def likeness_of(self, sample: SampleFeatures) -> float:
        """Largest correlation with the typical picture over small shifts; light and colour do not count."""
        return _likeness(self.typical, sample.small)

    def to_bytes(self) -> bytes:
        """As an npz file, to keep beside a model."""
        file = io.BytesIO()
        numbers = np.array([getattr(self, name) for name in _NUMBERS], np.float64)
        arrays = {name: getattr(self, name) for name in _LIMITS_BYTES if name != "numbers"}
        # the reader of files of unknown origin knows no whole numbers
        arrays["typical"] = self.typical.astype(np.float32)
        np.savez_compressed(file, numbers=numbers, **arrays)
        return file.getvalue()


def statistics_from_bytes(data: bytes) -> SampleStatistics:
    """Inverse of `SampleStatistics.to_bytes`; raises UsageError for anything else."""
    try:
        arrays = read_npz(data, _LIMITS_BYTES)
        values: dict[str, Any] = dict(zip(_NUMBERS, arrays.pop("numbers").astype(np.float64).tolist(), strict=True))
        values |= {name: int(values[name]) for name in ("count", "height_px", "width_px")}
        small = (SMALL_SIDE, SMALL_SIDE, 3)
        values["typical"] = arrays.pop("typical").astype(np.uint8).reshape(small)
        values["cell_spread"] = arrays.pop("cell_spread").astype(np.float32).reshape(small)
        values |= {name: array.astype(np.float64) for name, array in arrays.items()}
        return SampleStatistics(**values)
    except (NpzError, ValueError, TypeError) as error:
        raise UsageError(
            f"not the statistics of samples: {error}", fix="make them anew from pictures of known good parts"
        ) from error


def statistics_of(samples: Sequence[SampleFeatures]) -> SampleStatistics:
    """Raises UsageError for fewer than ENOUGH samples."""
    if len(samples) < ENOUGH:
        raise UsageError(
            f"{len(samples)} samples say nothing about each other; at least {ENOUGH} are needed",
            fix="take more pictures of good parts",
        )
    smalls = np.stack([sample.small for sample in samples])
    typical = np.median(smalls, 0).round().astype(np.uint8)
    # cell by cell of the rows: the whole stack in floating point would take four times its memory
    cell_spread = np.stack(
        [np.median(np.abs(smalls[:, row].astype(np.float32) - typical[row]), 0) for row in range(SMALL_SIDE)]
    )
    features = np.stack([sample.values for sample in samples])
    centre, spread = _centre_and_spread(features, np.array([feature.finest for feature in FEATURES]))
    part = _part(typical)
    likeness, likeness_spread = _centre_and_spread(np.array([[_likeness(typical, small)] for small in smalls]), 0.01)
    presence, presence_spread = _centre_and_spread(np.log([[_presence(small, part) + 1] for small in smalls]), 0.1)
    height, width = common_size(samples) or (0, 0)
    known = SampleStatistics(
        count=len(samples),
        height_px=height,
        width_px=width,
        centre=centre,
        spread=spread,
        distance_centre=np.zeros(len(DISTANCES)),
        distance_spread=np.ones(len(DISTANCES)),
        typical=typical,
        cell_spread=(_TO_SIGMA * cell_spread).astype(np.float32),
        presence=float(np.exp(presence[0]) - 1),
        presence_spread=float(presence_spread[0]),
        likeness=float(likeness[0]),
        likeness_spread=float(likeness_spread[0]),
    )
    distance = _centre_and_spread(np.stack([known.distances(sample) for sample in samples]), _FINEST_DISTANCE)
    return SampleStatistics(**{**vars(known), "distance_centre": distance[0], "distance_spread": distance[1]})


def common_size(samples: Sequence[SampleFeatures]) -> tuple[int, int] | None:
    """(height, width) in px of at least half the samples; None where sizes vary by nature."""
    sizes: dict[tuple[int, int], int] = {}
    for sample in samples:
        size = (sample.height_px, sample.width_px)
        sizes[size] = sizes.get(size, 0) + 1
    most = max(sizes, key=lambda size: sizes[size], default=None)
    return most if most is not None and 2 * sizes[most] >= len(samples) else None


def _centre_and_spread(values: F64, finest: F64 | float) -> tuple[F64, F64]:
    """Median and robust standard deviation over the rows; that of few samples is taken for larger than it seems."""
    centre = np.median(values, 0)
    spread = _TO_SIGMA * np.median(np.abs(values - centre), 0) * (1 + _UNSURE / len(values))
    return centre, np.maximum(spread, finest)


def _part(typical: U8) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Cells (32, 32) where the typical picture shows the part; none where it cannot be told from the background."""
    part: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = apart(typical) > PART_LEVELS
    return part if _PART_SHARE[0] <= part.mean() <= _PART_SHARE[1] else np.zeros_like(part)


def _presence(small: U8, part: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    return float(apart(small)[part].mean()) if part.any() else 0.0


def _likeness(typical: U8, small: U8) -> float:
    margin = _LARGEST_SHIFT
    inner = cv2.cvtColor(typical, cv2.COLOR_BGR2GRAY)[margin:-margin, margin:-margin]
    matched = cv2.matchTemplate(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), inner, cv2.TM_CCOEFF_NORMED)
    # an even picture correlates with nothing
    return float(np.nan_to_num(matched, nan=0.0, posinf=0.0, neginf=0.0).max())
