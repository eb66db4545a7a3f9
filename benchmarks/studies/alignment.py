"""What an alignment is worth where parts do not lie still: recall and false rejects on moved parts, with and without.

The network stays as it is; statistics and threshold are fitted through each alignment on the parts it was not trained
on, as `calibrate --align` does. Test pictures are then shown as they are, shifted, turned and both. Each picture gets a
margin in the colour of its ground, so that no part leaves the frame; the region inspected is the picture of before.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.program import BUNDLE, DATA, SEED, Values, option, program
from benchmarks.quality.labelled import list_test_pictures
from calibration.baseline import calibrate
from edge.backends import calibrated_backends, choose_backend
from edge.backends.base import Backend
from edge.backends.cpu import open_network
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.capture.images.image_reader import read_image
from edge.core.config import AlignSettings
from edge.core.datatypes import U8
from edge.core.errors import PartNotFound
from edge.core.latency import StageClock
from edge.preprocessing.alignment import REFERENCE_PARTS, align_spec, aligner_of
from edge.preprocessing.normal_samples import read_normal_samples
from edge.preprocessing.preprocess import Preprocess
from edge.preprocessing.regions import FieldOfView

MODES = ("none", "phase", "template", "ecc")
# on each side, share of the picture's own
_MARGIN = 0.2
# largest shift, share of the width and height; largest turn in degrees
MOVEMENTS = {"as they are": (0.0, 0.0), "shifted": (0.07, 0.0), "turned": (0.0, 8.0), "shifted and turned": (0.07, 8.0)}


def framed(picture: U8) -> U8:
    """The picture in the middle of a larger one."""
    down, across = _margin(picture.shape)
    border = down, down, across, across
    return np.asarray(cv2.copyMakeBorder(picture, *border, cv2.BORDER_CONSTANT, value=_ground(picture)), np.uint8)


def _margin(shape: tuple[int, ...]) -> tuple[int, int]:
    return round(_MARGIN * shape[0]), round(_MARGIN * shape[1])


def _ground(picture: U8) -> tuple[float, ...]:
    return tuple(float(level) for level in np.median(picture[0], axis=0))


def moved(picture: U8, random: np.random.Generator, most_shift: float, most_turn_deg: float) -> U8:
    """A framed picture with its contents shifted and turned by chance."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), random.uniform(-1, 1) * most_turn_deg, 1.0)
    matrix[:, 2] += random.uniform(-1, 1, 2) * most_shift * (width, height)
    ground = _ground(picture)
    return np.asarray(
        cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_CONSTANT, borderValue=ground), np.uint8
    )


def measure(bundle: ModelBundle, data: Path, precision: str, repeats: int, seed: int) -> dict[str, Any]:
    """Per mode and movement: how many good parts are rejected, defective ones caught, and parts not found."""
    pictures = [(framed(read_image(picture.path)), picture.defective) for picture in list_test_pictures(data)]
    modes = {mode: _measured(bundle, data, precision, mode, pictures, repeats, seed) for mode in MODES}
    return {
        "data": data.name,
        "bundle_sha256": bundle.sha256,
        "precision": precision,
        "good": repeats * sum(not defective for _, defective in pictures),
        "defective": repeats * sum(defective for _, defective in pictures),
        "modes": modes,
    }


def _measured(
    bundle: ModelBundle,
    data: Path,
    precision: str,
    mode: str,
    pictures: Sequence[tuple[U8, bool]],
    repeats: int,
    seed: int,
) -> dict[str, Any]:
    preprocess, backend, threshold = _calibrated(bundle, data, precision, mode)
    movements = {}
    for name, (shift, turn) in MOVEMENTS.items():
        random = np.random.default_rng(seed)
        counts = {"false_rejects": 0, "caught": 0, "good_not_found": 0, "defective_not_found": 0}
        for picture, defective in pictures:
            for _ in range(repeats):
                try:
                    score = backend.score(moved(picture, random, shift, turn), StageClock(0)).score
                except PartNotFound:
                    counts["defective_not_found" if defective else "good_not_found"] += 1
                    continue
                counts["caught" if defective else "false_rejects"] += score > threshold
        movements[name] = counts
    backend.close()
    return {"threshold": threshold, "align_ms_p50": _milliseconds(preprocess, pictures), "movements": movements}


def _calibrated(bundle: ModelBundle, data: Path, precision: str, mode: str) -> tuple[Preprocess, Backend, float]:
    """What `calibrate --align` would run."""
    parts, trained_on = list(read_normal_samples(data)), set(bundle.manifest.trained_on)
    held_out = [framed(part.picture) for part in parts if part.sha256 not in trained_on]
    trained = [framed(part.picture) for part in parts if part.sha256 in trained_on]
    height, width = parts[0].picture.shape[:2]
    down, across = _margin((height, width))
    settings = AlignSettings.model_validate({"mode": mode})
    region = FieldOfView(across, down, width, height)
    align = align_spec(trained[:REFERENCE_PARTS], [region] * len(trained[:REFERENCE_PARTS]), settings)
    preprocess = Preprocess(*bundle.preprocess.shape, (across, down, width, height), align=align)
    name, model, manifest = choose_backend("auto"), bundle.read(f"model_{precision}"), bundle.manifest
    network = open_network(name, model, manifest, None)
    calibration = calibrate(
        network,
        bundle.model_sha256(precision),
        manifest,
        preprocess,
        [preprocess.field(frame) for frame in held_out],
        trained=[preprocess.field(frame) for frame in trained],
        created_utc="",
    )
    network.close()
    (backend,) = calibrated_backends(name, model, manifest, preprocess, calibration, None)
    return preprocess, backend, calibration.threshold


def _milliseconds(preprocess: Preprocess, pictures: Sequence[tuple[U8, bool]]) -> float | None:
    """Finding the part and putting it in its place, beside cutting out the view alone."""
    if preprocess.align is None:
        return None
    aligner_of(preprocess.align)
    taken = []
    for picture, _ in pictures:
        for each in (preprocess, replace(preprocess, align=None)):
            started = time.perf_counter_ns()
            try:
                each.placed(picture)
            except PartNotFound:
                continue
            finally:
                taken.append((time.perf_counter_ns() - started) / 1e6)
    return round(float(np.median(taken[::2]) - np.median(taken[1::2])), 2)


def text(values: dict[str, Any]) -> str:
    """A line for each mode and movement."""
    good, defective = values["good"], values["defective"]
    lines = [f"{'align':<10}{'parts':<20}{'false rejects':>14}{'recall':>8}{'good / defective not found':>28}"]
    for mode, row in values["modes"].items():
        for name, counts in row["movements"].items():
            lost = f"{counts['good_not_found']} / {counts['defective_not_found']}"
            rejects, recall = counts["false_rejects"] / good, counts["caught"] / defective
            lines.append(f"{mode:<10}{name:<20}{rejects:>14.1%}{recall:>8.1%}{lost:>28}")
    times = [f"{mode} {row['align_ms_p50']} ms" for mode, row in values["modes"].items() if row["align_ms_p50"]]
    return "\n".join([*lines, f"{good} good and {defective} defective parts; aligning takes {', '.join(times)}"])


@program(
    BUNDLE,
    DATA,
    option("--precision", choices=("int8", "fp32"), default="int8"),
    option("--repeats", type=int, default=4, help="movements of each test picture (default: 4)"),
    SEED,
    show=text,
)
def main(options: argparse.Namespace) -> Values:
    """Measure every alignment."""
    return measure(load_bundle(options.bundle), options.data, options.precision, options.repeats, options.seed)


if __name__ == "__main__":
    raise SystemExit(main())
