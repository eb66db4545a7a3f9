"""What pictures of good parts measure when all is well; kept in the bundle, or learned from a run's first parts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.core.datatypes import F32, U8
from edge.core.errors import BundleError
from edge.core.files.safe_npz import NpzError, read_npz
from edge.monitoring.drift.causes import DRAWN, effects_on
from edge.monitoring.drift.measures import MEASURES, REDUCED_PX, PictureMeasures, Placement, Profiles, measure
from edge.preprocessing.preprocess import Preprocess

MINIMUM_PARTS = 5
# parts that changes are drawn on
DRAWN_ON = 8
# measures of another format are not comparable
_FORMAT = 1
_MOST_PARTS = 100_000


@dataclass(frozen=True)
class DriftReference:
    """values: float32 (parts, measures). across, down: mean profiles (REDUCED_PX,). effects: of drawn changes."""

    values: F32
    across: F32
    down: F32
    effects: F32

    def __post_init__(self) -> None:
        if len(self.values) < MINIMUM_PARTS:
            raise ValueError(f"{len(self.values)} parts are too few to compare with; {MINIMUM_PARTS} are needed")

    @property
    def placement(self) -> Placement:
        return Placement(Profiles(self.across, self.down))

    @property
    def grey(self) -> bool:
        """Whether the parts were shown without colour."""
        colours = [MEASURES.index("red"), MEASURES.index("blue")]
        return not self.values[:, colours].any()

    def to_bytes(self) -> bytes:
        """The npz file, without pickled objects."""
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _FIELDS}
        np.savez_compressed(buffer, format=np.asarray(float(_FORMAT)), **arrays)
        return buffer.getvalue()


_FIELDS = tuple(DriftReference.__dataclass_fields__)


class ReferenceBuilder:
    """Collects measures of good parts, and the pictures of a few to draw changes on."""

    def __init__(self, preprocess: Preprocess) -> None:
        self._preprocess = preprocess
        self._measures: list[PictureMeasures] = []
        self._pictures: list[U8] = []

    @property
    def parts(self) -> int:
        return len(self._measures)

    def add(self, picture: U8) -> None:
        """Take a picture, uint8 (H, W, 3) BGR; one that does not hold the region of interest is left out."""
        view = self._preprocess.field_of_view(*picture.shape[:2])
        if view is None:
            return
        self._measures.append(measure(picture, view))
        if len(self._pictures) < DRAWN_ON:
            self._pictures.append(picture)

    def finished(self) -> DriftReference | None:
        """None when there were too few parts."""
        return reference_from_measures(self._measures, self._pictures, self._preprocess)


def reference_from_measures(
    measures: Sequence[PictureMeasures], pictures: Sequence[U8], preprocess: Preprocess
) -> DriftReference | None:
    """The reference of parts that were measured, and of some pictures to draw changes on; None for too few parts."""
    if len(measures) < MINIMUM_PARTS:
        return None
    across = np.mean([found.profiles.across for found in measures], axis=0).astype(np.float32)
    down = np.mean([found.profiles.down for found in measures], axis=0).astype(np.float32)
    placement = Placement(Profiles(across, down))
    values = np.array([found.values(placement) for found in measures], np.float32)
    effects = np.zeros((len(DRAWN), len(MEASURES)), np.float32)
    for picture in pictures:
        view = preprocess.field_of_view(*picture.shape[:2])
        assert view is not None, "checked when it was measured"
        effects += effects_on([picture], view, placement) / len(pictures)
    return DriftReference(values, across, down, effects)


def reference_from_bytes(data: bytes) -> DriftReference | None:
    """Read a bundle's file; None when its measures are of another format. Raises BundleError for a damaged one."""
    measures = len(MEASURES)
    limits = {"format": 64, "values": 8 * measures * _MOST_PARTS, "effects": 8 * measures * len(DRAWN)}
    limits |= {"across": 8 * REDUCED_PX, "down": 8 * REDUCED_PX}
    try:
        if read_npz(data, {"format": 64})["format"].item() != _FORMAT:
            return None
        arrays = read_npz(data, limits)
        values = arrays["values"]
        shapes: dict[str, tuple[int, ...]] = {
            "values": (values.shape[0] if values.ndim else 0, measures),
            "effects": (len(DRAWN), measures),
        }
        shapes |= {"across": (REDUCED_PX,), "down": (REDUCED_PX,)}
        for name, shape in shapes.items():
            if arrays[name].dtype.kind != "f" or arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
                raise NpzError(f"{name} should be {shape} finite numbers")
        return DriftReference(**{name: arrays[name].astype(np.float32) for name in _FIELDS})
    except (NpzError, ValueError) as error:
        raise BundleError(
            f"the drift reference cannot be read: {error}",
            fix="run `edge-inspect calibrate --bundle BUNDLE --data NORMALS`",
        ) from error
