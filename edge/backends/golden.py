"""Golden pictures beside any backend: what differs from them is evidence of its own, at its own threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from edge.bundles.bundle import GOLDEN, ModelBundle
from edge.capture.images.image_io import UndecodableImage, decode_picture, not_a_picture
from edge.capture.images.image_reader import ImageReader
from edge.core.datatypes import F32, U8, AnomalyMap
from edge.core.errors import BundleError, CalibrationMismatch, NoReference, PartNotFound, UsageError
from edge.core.manifest import ComparisonSpec, GoldenSpec
from edge.kernels.cpu import area_above
from edge.kernels.reference_difference import difference_levels
from edge.preprocessing.preprocess import Preprocess

# the manifest verifies what is read; larger than any camera's picture
_MEGAPIXELS = 1000.0
_CALIBRATE = "run `edge-inspect golden --bundle BUNDLE --data GOOD --reference PICTURE_OR_FOLDER`"


class GoldenPictures(Protocol):
    """Where golden pictures come from."""

    def of(self, source: str) -> U8:
        """The golden picture, uint8 (H, W, 3) BGR, for what a frame came from; raises NoReference."""


class OneGolden:
    """The same for every frame."""

    def __init__(self, picture: U8) -> None:
        self._picture = picture

    def of(self, source: str) -> U8:
        return self._picture


class GoldenFolder:
    """A folder with a golden picture for each picture: at the same path below it, whatever the kind of file.

    `boards/test/17.jpg` is compared with `test/17.png` of the folder, else with its `17.png`. Not for two threads at
    once.
    """

    def __init__(self, folder: Path, reader: ImageReader) -> None:
        """Raises UsageError for a folder without pictures, or with two for one name."""
        self._folder, self._reader = folder, reader
        self._files = _by_name(folder)
        self._last: tuple[Path, U8] | None = None

    def of(self, source: str) -> U8:
        file = self._file(Path(source))
        if file is None:
            raise NoReference(
                f"{self._folder} holds no golden picture for {Path(source).name}",
                fix=f"put one there as {Path(source).stem}.png, made of a defect-free board",
            )
        if self._last is None or self._last[0] != file:
            try:
                self._last = file, self._reader.read(file)
            except UsageError as error:
                raise NoReference(f"its golden picture cannot be used: {error.message}", fix=error.fix) from error
        return self._last[1]

    def _file(self, picture: Path) -> Path | None:
        names = picture.with_suffix("").parts
        # the longest path that both have
        paths = ("/".join(names[start:]) for start in range(len(names)))
        return next((self._files[path] for path in paths if path in self._files), None)


def _by_name(folder: Path) -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        if not_a_picture(file, True) is not None:
            continue
        name = file.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise UsageError(f"{file} and {found[name].name}: two golden pictures of one name", fix="remove one")
        found[name] = file
    if not found:
        raise UsageError(f"{folder} holds no pictures", fix="give --reference a golden picture, or a folder of them")
    return found


def golden_pictures(bundle: ModelBundle, reference: Path | None, reader: ImageReader) -> GoldenPictures:
    """From the file or folder given, else from the bundle; raises UsageError and BundleError."""
    if reference is not None and reference.is_dir():
        return GoldenFolder(reference, reader)
    if reference is not None:
        return OneGolden(reader.read(reference))
    if GOLDEN not in bundle.manifest.files:
        raise UsageError(
            f"{bundle.path} compares each picture with a golden one, and none is given",
            fix="give --reference, a folder with a golden picture for each picture",
        )
    try:
        return OneGolden(decode_picture(bundle.read(GOLDEN), max_megapixels=_MEGAPIXELS))
    except UndecodableImage as error:
        raise BundleError(f"{bundle.path}: the golden picture: {error}", fix=_CALIBRATE) from error


def compared_levels(image: U8, golden: U8, preprocess: Preprocess, shape: tuple[int, int], spec: ComparisonSpec) -> F32:
    """Differences in grey levels as the anomaly map lies, of its shape; 0 where it is not scored.

    Compared in the picture's own pixels, the part of each in its place. Raises NoReference where the two cannot be.
    """
    if golden.shape != image.shape:
        raise NoReference(
            f"the golden picture is {golden.shape[1]}x{golden.shape[0]} px, "
            f"this picture {image.shape[1]}x{image.shape[0]} px",
            fix="take both with the same camera settings",
        )
    try:
        model = preprocess.placed(golden)[0].view
    except PartNotFound as error:
        raise NoReference(f"in the golden picture {error.message}", fix=error.fix) from error
    seen = preprocess.placed(image)[0].view
    levels = difference_levels(seen, model, spec.tolerance_px, spec.sigma_px, spec.reach_px)
    above, beside = preprocess.borders(*levels.shape)
    levels = np.pad(levels, ((above, above), (beside, beside)))
    peaks = peaks_at(levels, shape)
    weight = preprocess.weight(*image.shape[:2])
    return peaks if weight is None else peaks * cv2.resize(weight, shape[::-1], interpolation=cv2.INTER_NEAREST)


class GoldenComparison:
    """Joins a backend's maps with the difference from golden pictures: whichever finds a defect, finds it.

    The difference is put on the scale of the score, so that its own level lies where the bundle's threshold lies:
    evidence -log(1 - score) grows with it. A larger threshold of the network leaves the comparison as it is.
    """

    def __init__(
        self, pictures: GoldenPictures, spec: GoldenSpec, preprocess: Preprocess, threshold: float,
        pixel_threshold: float,
    ) -> None:  # fmt: skip
        """Raises CalibrationMismatch when the level was fitted through another preprocessing."""
        if spec.preprocess_sha256 != preprocess.sha256:
            raise CalibrationMismatch(
                "the comparison with golden pictures was fitted with another region or alignment", fix=_CALIBRATE
            )
        self.pictures = pictures
        self._spec, self._preprocess = spec, preprocess
        self._threshold, self._pixel_threshold = threshold, pixel_threshold

    def joined(self, anomaly_map: AnomalyMap, image: U8, golden: U8) -> AnomalyMap:
        """The larger of both at every place, and of both scores; raises NoReference."""
        spec, shape = self._spec, anomaly_map.values.shape
        levels = compared_levels(image, golden, self._preprocess, (shape[0], shape[1]), spec.comparison)
        values = np.maximum(anomaly_map.values, scores_of(levels, spec.pixel_level, self._pixel_threshold))
        score = float(scores_of(float(levels.max()), spec.level, self._threshold))
        return replace(
            anomaly_map,
            values=values,
            score=max(anomaly_map.score, score),
            area_px=area_above(self._pixel_threshold, values, float(values.max())),
        )

    def scores(self, network: F32) -> F32:
        """What good parts score by both: the network's held-out scores and the levels of good parts, met by chance."""
        spec = self._spec
        levels = scores_of(np.asarray(spec.levels, np.float32), spec.level, self._threshold)
        order = np.random.default_rng(0).permutation(max(len(network), len(levels)))
        return np.maximum(np.resize(network, len(order)), np.resize(levels, len(order))[order]).astype(np.float32)


def scores_of(levels: F32 | float, level: float, threshold: float) -> F32:
    """Scores in 0..1 that grow with these grey levels, `threshold` exactly at `level`.

    Up to there evidence -log(1 - score) is proportional to them. From there it grows by one with each `level` more:
    slower, or large differences would all be a score of 1.
    """
    share = np.asarray(levels, np.float64) / level
    below, above = np.minimum(share, 1), np.maximum(share - 1, 0)
    return np.asarray(-np.expm1(below * math.log1p(-min(threshold, 1 - 1e-6)) - above), np.float32)


def peaks_at(levels: F32, shape: tuple[int, ...]) -> F32:
    """The largest value around each place of a coarser (or finer) map of this shape."""
    if levels.shape == shape:
        return levels
    down, across = (math.ceil(length / wanted) for length, wanted in zip(levels.shape, shape, strict=True))
    widest = cv2.dilate(levels, np.ones((down, across), np.uint8))
    return np.asarray(cv2.resize(widest, shape[::-1], interpolation=cv2.INTER_NEAREST), np.float32)
