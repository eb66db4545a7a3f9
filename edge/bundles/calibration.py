"""Statistics and thresholds of one network on one target, as a file of the bundle."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32
from edge.core.errors import BundleError
from edge.core.files.safe_npz import NpzError, read_npz
from edge.kernels.cpu import NormalStatistics

Names = NDArray[np.str_]
NAME_LETTERS = 16
_NAME = f"<U{NAME_LETTERS}"

RECALIBRATE = "run `edge-inspect calibrate --bundle BUNDLE --data NORMALS`"


@dataclass(frozen=True)
class Calibration:
    """Statistics and thresholds, fitted through one model on normal samples that it was not trained on.

    model_sha256: of that model: the ONNX file for a processor, the engine for a GPU.
    mean, inv_std: float32 (map rows, map columns). threshold: image score above which a part is NG.
    pixel_threshold: for the map.
    false_reject_budget: share of normals the threshold aims to reject; false_reject_bound: its upper bound at 95 %.
    extrapolated: the threshold lies beyond the held-out scores. scores: the held-out normals' own scores.

    emb_mean, emb_inv_std: of distances, of all places; or (rows, columns) of each, in a bundle of tiles.

    The others are absent in older files. tail_low, tail_high: 90 % interval of the rate at an extrapolated threshold.
    review_threshold: from here up to the threshold a part is OK, and marked for review. pixel_share: of all good parts'
    area above pixel_threshold; pixel_share_largest: of one part's. set_by_hand: a person chose the threshold.
    ng_scores: of known defective parts, to show what a threshold finds; nothing is fitted on them. budget_asked: a
    person set the budget; otherwise it falls by itself as more good parts come in. certain_threshold: above
    `threshold`; up to here a rejected part is close: good parts reach up to it. odd_parts: how many of `scores` stand
    apart from the others. part_names: which part each of `scores` is of, the start of the hash of its pixels; none
    where it is not known.
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
    emb_mean: F32 | float = 0.0
    emb_inv_std: F32 | float = 1.0
    seg_mean: float = 0.0
    seg_inv_std: float = 1.0
    tail_low: float | None = None
    tail_high: float | None = None
    review_threshold: float | None = None
    pixel_share: float | None = None
    pixel_share_largest: float | None = None
    set_by_hand: bool = False
    ng_scores: F32 = field(default_factory=lambda: np.zeros(0, np.float32))
    budget_asked: bool = True
    certain_threshold: float | None = None
    odd_parts: float = 0.0
    part_names: Names = field(default_factory=lambda: np.zeros(0, _NAME))

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
    "seg_mean", "seg_inv_std", "budget_asked", "certain_threshold", "odd_parts", "part_names",
)  # fmt: skip
# what bundle format 1 called a field
_EARLIER_NAMES = {"model_sha256": "engine_sha256"}


def calibration_from_bytes(data: bytes, map_shape: tuple[int, int]) -> Calibration:
    """Read an npz file; raises BundleError when fields are missing, misshapen, of another kind or not finite."""
    limits = dict.fromkeys(_CALIBRATION_FIELDS, _MAXIMUM_SCALAR_BYTES)
    limits |= dict.fromkeys((*_PLANES, *_PLANES_OR_NUMBERS), 8 * map_shape[0] * map_shape[1] + _MAXIMUM_SCALAR_BYTES)
    limits |= {"scores": _MAXIMUM_SCORES_BYTES, "ng_scores": _MAXIMUM_SCORES_BYTES}
    # four bytes a letter, where a score has four at least
    limits["part_names"] = NAME_LETTERS * _MAXIMUM_SCORES_BYTES
    try:
        values = read_npz(data, limits, _LATER_FIELDS, _EARLIER_NAMES)
        for name, value in values.items():
            _check_field(name, value, map_shape)
        fields: dict[str, Any] = {
            name: value.item() if not value.ndim else value if value.dtype.kind == "U" else value.astype(np.float32)
            for name, value in values.items()
        }
        if np.shape(fields["emb_mean"]) != np.shape(fields["emb_inv_std"]):
            raise NpzError("emb_mean and emb_inv_std are of other places")
        if len(fields.get("part_names", ())) not in (0, len(fields["scores"])):
            raise NpzError(f"{len(fields['part_names'])} parts are named for {len(fields['scores'])} scores")
        return Calibration(**fields)
    except (NpzError, ValueError) as error:
        raise BundleError(f"the calibration cannot be read: {error}", fix=RECALIBRATE) from error


_MAXIMUM_SCALAR_BYTES, _MAXIMUM_SCORES_BYTES = 4096, 80_000_000
_PLANES, _PLANES_OR_NUMBERS = ("mean", "inv_std"), ("emb_mean", "emb_inv_std")
_TEXTS = ("model_sha256", "preprocess_sha256", "created_utc", "part_names")
_SWITCHES = ("extrapolated", "set_by_hand", "budget_asked")


def _check_field(name: str, value: np.ndarray[Any, Any], map_shape: tuple[int, int]) -> None:
    """Raises NpzError when a field is not of the kind and shape that Calibration says."""
    kind = "U" if name in _TEXTS else "b" if name in _SWITCHES else "f"
    shape: tuple[int, ...] = map_shape if name in _PLANES else ()
    # the network's grid of places is not known here; no statistics are finer than the field they are of
    if name in _PLANES_OR_NUMBERS and value.ndim == 2:
        shape = value.shape
    if name == "scores":
        shape = (value.size,) if value.size else (1,)
    if name in ("ng_scores", "part_names"):
        shape = (value.size,)
    if value.dtype.kind != kind or value.shape != shape:
        raise NpzError(f"{name} should be {shape} of kind {kind!r}, is {value.shape} {value.dtype}")
    # .item() and .tolist() raise ValueError where the bytes are no characters
    if kind == "U" and not all(text.isascii() and text.isprintable() for text in value.ravel().tolist()):
        raise NpzError(f"{name} is not plain text")
    if kind == "f" and not np.isfinite(value.astype(np.float32)).all():
        raise NpzError(f"{name} has numbers that are not finite")
