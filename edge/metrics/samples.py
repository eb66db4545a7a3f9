"""What every figure checks about its labels, scores, masks and maps before it is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.core.errors import UsageError

Maps = Sequence[NDArray[Any]]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

# counts times a rate may miss a whole number by a rounding error: 0.07 * 100 > 7
ROUNDING = 1e-9


def split_classes(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores of the anomalous and of the normal images."""
    anomalous, values = np.asarray(labels) != 0, floats(scores, "the scores")
    if anomalous.shape != values.shape or anomalous.ndim != 1:
        raise UsageError(f"labels {anomalous.shape}, scores {values.shape}", fix="give one label for every score")
    check_classes(int(anomalous.sum()), int((~anomalous).sum()))
    return values[anomalous], values[~anomalous]


def checked_images(masks: Maps, maps: Maps) -> Iterator[tuple[NDArray[np.bool_], NDArray[Any]]]:
    """(anomalous, scores) of each image, checked."""
    if len(masks) != len(maps) or len(masks) == 0:
        raise UsageError(f"{len(masks)} masks for {len(maps)} maps", fix="give one mask per map, and at least one")
    for index, (mask, values) in enumerate(zip(masks, maps, strict=True)):
        mask, values = np.asarray(mask), floats(values, f"map {index}")
        if mask.shape != values.shape or mask.ndim != 2:
            raise UsageError(
                f"image {index}: mask {mask.shape}, map {values.shape}", fix="resize both to one (height, width)"
            )
        yield mask != 0, values


def floats(values: ArrayLike, what: str) -> NDArray[Any]:
    array = np.asarray(values)
    # float32 stays float32: half the memory, and no comparison changes
    array = array if array.dtype == np.float32 else array.astype(np.float64)
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise UsageError(
            f"{what}: {bad} of {array.size} values are NaN or infinite", fix="find out which step produced them"
        )
    return array


def check_classes(anomalous: int, normal: int) -> None:
    if anomalous == 0 or normal == 0:
        raise UsageError(
            f"{anomalous} anomalous and {normal} normal samples: both kinds are needed",
            fix="add samples of the missing kind",
        )


def check_rate(name: str, value: float, *, zero_allowed: bool = True) -> None:
    if not (0 < value <= 1 or (zero_allowed and value == 0)):
        raise UsageError(f"{name} {value} is not a rate", fix="give a number between 0 and 1, for example 0.05")
