"""Statistics and thresholds of one network on one target, as a file of the bundle."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge.core.datatypes import F32
from edge.core.errors import BundleError
from edge.core.files.safe_npz import NpzError, read_npz
from edge.kernels.cpu import NormalStatistics

RECALIBRATE = "run `edge-inspect calibrate --bundle BUNDLE --data NORMALS`"


@dataclass(frozen=True)
class Calibration:
    """Statistics and thresholds, fitted through one model on normal samples that it was not trained on.

    model_sha256: of that model: the ONNX file for a processor, the engine for a GPU.
    mean, inv_std: float32 (map rows, map columns). threshold: image score above which a part is NG.
    pixel_threshold: for the map.
    false_reject_budget: share of normals the threshold aims to reject; false_reject_bound: its upper bound at 95 %.
    extrapolated: the threshold lies beyond the held-out scores. scores: the held-out normals' own scores.

    The others are absent in older files. tail_low, tail_high: 90 % interval of the rate at an extrapolated threshold.
    review_threshold: from here up to the threshold a part is OK, and marked for review. pixel_share: of all good parts'
    area above pixel_threshold; pixel_share_largest: of one part's. set_by_hand: a person chose the threshold.
    ng_scores: of known defective parts, to show what a threshold finds; nothing is fitted on them.
    """

    model_sha256: str
    preprocess_sha256: str
    mean: F32
    inv_std: F32
    threshold: float
    pixel_threshold: float
    false_reject_budget: float
    false_reject_bound: float
    extrapolated: bool
    scores: F32
    created_utc: str
    emb_mean: float = 0.0
    emb_inv_std: float = 1.0
    seg_mean: float = 0.0
    seg_inv_std: float = 1.0
    tail_low: float | None = None
    tail_high: float | None = None
    review_threshold: float | None = None
    pixel_share: float | None = None
    pixel_share_largest: float | None = None
    set_by_hand: bool = False
    ng_scores: F32 = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def statistics(self) -> NormalStatistics:
        return NormalStatistics(
            self.mean, self.inv_std, self.emb_mean, self.emb_inv_std, self.seg_mean, self.seg_inv_std
        )

    def to_bytes(self) -> bytes:
        """The npz file, without pickled objects."""
        buffer = io.BytesIO()
        values = {name: getattr(self, name) for name in _CALIBRATION_FIELDS}
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in values.items() if value is not None}
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()


_CALIBRATION_FIELDS = tuple(Calibration.__dataclass_fields__)
# what calibrations of earlier versions do not have
_LATER_FIELDS = (
    "tail_low", "tail_high", "review_threshold", "pixel_share", "pixel_share_largest", "set_by_hand", "ng_scores",
    "seg_mean", "seg_inv_std",
)  # fmt: skip
# what bundle format 1 called a field
_EARLIER_NAMES = {"model_sha256": "engine_sha256"}


def calibration_from_bytes(data: bytes, map_shape: tuple[int, int]) -> Calibration:
    """Read an npz file; raises BundleError when fields are missing, misshapen, of another kind or not finite."""
    limits = dict.fromkeys(_CALIBRATION_FIELDS, _MAXIMUM_SCALAR_BYTES)
    limits |= dict.fromkeys(("mean", "inv_std"), 8 * map_shape[0] * map_shape[1])
    limits |= {"scores": _MAXIMUM_SCORES_BYTES, "ng_scores": _MAXIMUM_SCORES_BYTES}
    try:
        values = read_npz(data, limits, _LATER_FIELDS, _EARLIER_NAMES)
        for name, value in values.items():
            _check_field(name, value, map_shape)
        fields: dict[str, Any] = {
            name: value.astype(np.float32) if value.ndim else value.item() for name, value in values.items()
        }
        return Calibration(**fields)
    except (NpzError, ValueError) as error:
        raise BundleError(f"the calibration cannot be read: {error}", fix=RECALIBRATE) from error


_MAXIMUM_SCALAR_BYTES, _MAXIMUM_SCORES_BYTES = 4096, 80_000_000
_TEXTS = ("model_sha256", "preprocess_sha256", "created_utc")


def _check_field(name: str, value: np.ndarray[Any, Any], map_shape: tuple[int, int]) -> None:
    """Raises NpzError when a field is not of the kind and shape that Calibration says."""
    kind = "U" if name in _TEXTS else "b" if name in ("extrapolated", "set_by_hand") else "f"
    shape: tuple[int, ...] = map_shape if name in ("mean", "inv_std") else ()
    if name == "scores":
        shape = (value.size,) if value.size else (1,)
    if name == "ng_scores":
        shape = (value.size,)
    if value.dtype.kind != kind or value.shape != shape:
        raise NpzError(f"{name} should be {shape} of kind {kind!r}, is {value.shape} {value.dtype}")
    # .item() raises ValueError where the bytes are no characters
    if kind == "U" and not (value.item().isascii() and value.item().isprintable()):
        raise NpzError(f"{name} is not plain text")
    if kind == "f" and not np.isfinite(value.astype(np.float32)).all():
        raise NpzError(f"{name} has numbers that are not finite")
