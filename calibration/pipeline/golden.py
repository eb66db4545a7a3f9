"""Golden pictures for a bundle: how much good parts differ from theirs, and from where on a part is NG."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from calibration.baseline import MINIMUM_NORMAL_SAMPLES
from calibration.threshold import fitted_threshold, pixel_threshold
from edge.backends.golden import (
    GoldenPictures,
    compared_levels,
    golden_pictures,
)
from edge.bundles.bundle import GOLDEN, ModelBundle, load_bundle
from edge.bundles.history import Audit
from edge.bundles.signature import is_signed
from edge.bundles.signed_version import wait_for_signature
from edge.bundles.threshold_report import share_text
from edge.bundles.versions import Parts, commit_version, making_version
from edge.capture.images.image_reader import ImageReader
from edge.core.datatypes import F32
from edge.core.errors import NoReference, PartNotFound, UsageError
from edge.core.manifest import ComparisonSpec, GoldenSpec
from edge.core.progress import say, working
from edge.kernels.statistics import MOST_IN_STATISTICS
from edge.preprocessing.normal_samples import NormalSample, read_normal_samples, require_region

# grey levels over which evidence grows by one: thresholds are fitted to scores in 0..1
_LEVELS = 64.0
# what no camera's noise stays below
_FINEST_LEVEL = 4.0


def add_golden(path: Path, data: Path, reference: Path, budget: float | None, reader: ImageReader) -> ModelBundle:
    """A version of the bundle that compares each picture with a golden one too, from these good parts.

    data: good parts, which the network may have seen: the comparison was not trained on them. reference: one golden
    picture, which becomes part of the bundle, or a folder with one for each part, which runs are then given too.
    budget: share of good parts that the comparison may reject, beside those that the network rejects; None: what so
    many support. Raises UsageError and BundleError.
    """
    live = load_bundle(path)
    align = live.manifest.preprocess.align
    if align is not None and align.mode == "upright":
        raise UsageError(
            f"{path} stands parts upright that lie anyhow, and a golden picture shows one of them in one place",
            fix="leave the golden picture out: the memory compares such parts with all good ones",
        )
    with making_version(live) as still_live:
        pictures = golden_pictures(live, reference, reader)
        with working(f"comparing good parts in {data} with their golden pictures"):
            parts: list[str] = []
            levels: list[float] = []
            maps: list[F32] = []
            without = 0
            for part in read_normal_samples(data, reader):
                still_live.check()
                try:
                    found = _levels(live, part, pictures)
                except NoReference:
                    without += 1
                    continue
                parts.append(part.sha256)
                levels.append(float(found.max()))
                if len(maps) < MOST_IN_STATISTICS:
                    maps.append(found)
        if len(levels) < MINIMUM_NORMAL_SAMPLES:
            raise UsageError(
                f"{len(levels)} good parts of {data} have a golden picture in {reference}, {without} have none; "
                f"{MINIMUM_NORMAL_SAMPLES} are needed",
                fix="give pictures of good parts whose golden pictures lie at the same paths below --reference",
            )
        spec = _spec(live, np.array(levels), np.stack(maps), budget, tuple(parts))
        say(_words(spec, without))
        files: Parts = {} if reference.is_dir() else {GOLDEN: ("golden.png", _png(reference, reader))}
        kept = {key: entry for key, entry in live.manifest.files.items() if key != GOLDEN}
        manifest = live.manifest.model_copy(update={"golden": spec, "files": kept})
        audit = Audit("golden", note=f"compared with {reference}, on {data}")
        if is_signed(live):
            wait_for_signature(live, manifest, files, audit)
            return live
        return commit_version(live, manifest, files, audit)


def _levels(bundle: ModelBundle, part: NormalSample, pictures: GoldenPictures) -> F32:
    preprocess = bundle.preprocess
    require_region(preprocess, part.path, part.picture)
    golden = pictures.of(str(part.path))
    try:
        return compared_levels(part.picture, golden, preprocess, bundle.manifest.map_shape, ComparisonSpec())
    except PartNotFound as error:
        raise UsageError(f"{part.path}: {error.message}", fix="remove the picture") from error


def _spec(bundle: ModelBundle, levels: F32, maps: F32, budget: float | None, parts: tuple[str, ...]) -> GoldenSpec:
    fitted = fitted_threshold(np.float32(-np.expm1(-levels / _LEVELS)), budget)
    pixel = pixel_threshold(-np.expm1(-maps.reshape(len(maps), -1) / _LEVELS), fitted.threshold)
    return GoldenSpec(
        level=max(_FINEST_LEVEL, -_LEVELS * math.log1p(-fitted.threshold)),
        pixel_level=max(_FINEST_LEVEL, -_LEVELS * math.log1p(-pixel.value)),
        levels=tuple(sorted(round(float(level), 3) for level in levels)),
        budget=fitted.false_reject_budget,
        bound=fitted.false_reject_bound,
        calibrated_on=parts,
        preprocess_sha256=bundle.preprocess.sha256,
    )


def _words(spec: GoldenSpec, without: int) -> str:
    skipped = f"; {without} others have no golden picture and were left out" if without else ""
    return (
        f"golden picture: {len(spec.levels)} good parts differ by up to {spec.levels[-1]:.0f} grey levels; NG from "
        f"{spec.level:.0f} on, for a false-reject budget of {share_text(spec.budget)} beside the network's (below "
        f"{share_text(spec.bound)} with 95 % confidence){skipped}"
    )


def _png(reference: Path, reader: ImageReader) -> bytes:
    return cv2.imencode(".png", reader.read(reference))[1].tobytes()
