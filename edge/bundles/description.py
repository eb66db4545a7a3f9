"""A bundle in words: everything for a person who asks, or one line for `doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge.bundles.bundle import CPU, GOLDEN, ModelBundle, calibrations, load_bundle
from edge.bundles.calibration import Calibration
from edge.bundles.signature import signature_of
from edge.bundles.threshold_report import statement
from edge.core.errors import EdgeInspectError
from edge.core.local_time import local_from_text
from edge.core.manifest import GoldenSpec, Manifest, ResidualSpec, ScoreSpec
from edge.preprocessing.tiling import tiling_of


def described_in_a_line(path: Path) -> str:
    """One line about a bundle that could run; raises BundleError for one that could not."""
    bundle = load_bundle(path)
    bundle.verify()
    ready = [name for name in ("int8", "fp32") if f"calibration_{name}" in bundle.manifest.files]
    for precision in ready:
        bundle.calibration(precision)
    manifest = bundle.manifest
    calibrated = " and ".join(ready) or "not at all: run `edge-inspect calibrate`"
    return f"{manifest.method} {manifest.variant}, {_field(manifest)}, every hash right, calibrated {calibrated}"


def described(opened: ModelBundle) -> Iterator[tuple[str, str]]:
    """(what, value) of everything a person may want to know of a bundle, damaged parts included."""
    manifest, training = opened.manifest, opened.manifest.training
    yield "product", manifest.product
    yield "method", f"{manifest.method}, variant {manifest.variant}, outputs {', '.join(manifest.outputs)}"
    rows, columns = manifest.map_shape
    yield "picture", f"{_field(manifest)}, map {columns}x{rows}"
    region = manifest.preprocess
    yield "region", f"rectangle {region.rectangle or 'whole frame'}, polygon {region.polygon or 'none'}, {region.fit}"
    yield "score", _score(manifest.score)
    if manifest.golden is not None:
        yield "golden picture", _golden(manifest.golden, GOLDEN in manifest.files)
    yield "made", f"{local_from_text(manifest.created_utc)}, by {training.software}"
    yield (
        "training",
        f"{training.steps} steps on {training.n_train} good parts, {training.n_heldout} held out, "
        f"{training.n_weak} defective; {training.layout}, seed {training.seed}"
        f"{', without ' + ', '.join(training.ablations) if training.ablations else ''}",
    )
    yield "chosen on", training.selection
    for target, deployment in sorted(manifest.deployments.items()):
        refused = [f"{each.precision} ({'; '.join(each.exceeded)})" for each in deployment.tried if each.exceeded]
        after = f", after the gate refused {', '.join(refused)}" if refused else ""
        times = [f"{each.precision} {each.milliseconds:.2f} ms" for each in deployment.tried if each.milliseconds]
        timed = f"; timed where it was calibrated: {', '.join(times)}" if times else ""
        yield f"runs on {target}", f"{deployment.precision} with {deployment.backend}{after}{timed}"
    for precision, target in calibrations(manifest):
        yield from _calibration(opened, precision, target)
    for key, entry in sorted(manifest.files.items()):
        yield key, f"{entry.bytes / 1e6:.2f} MB, sha256 {entry.sha256[:16]}…, {entry.name}: {_state(opened, key)}"
    yield "bundle", f"format {manifest.format_version}, sha256 {opened.sha256}"
    yield "signature", _signed(opened)


def _field(manifest: Manifest) -> str:
    height, width = manifest.field
    tiling = tiling_of(manifest)
    if tiling is None:
        return f"{width}x{height} px"
    return f"{width}x{height} px in {len(tiling)} tiles of {tiling.tile[1]}x{tiling.tile[0]} px"


def _golden(golden: GoldenSpec, inside: bool) -> str:
    where = "in the bundle" if inside else "given to each run (--reference)"
    return (
        f"{where}; NG from {golden.level:.0f} grey levels on, {len(golden.levels)} good parts differ by up to "
        f"{max(golden.levels):.0f}"
    )


def _score(score: ScoreSpec) -> str:
    weights = {name: getattr(score.residual, name) for name in ResidualSpec.model_fields}
    terms = ", ".join(f"{name[2:]} {weight:g}" for name, weight in weights.items() if weight) or "none"
    smooth = score.smooth.kind if score.smooth.kind == "none" else f"{score.smooth.kind} {score.smooth.radius}"
    median = ", less the median" if score.image_score.minus_median else ""
    return (
        f"residual {terms}; blend {score.blend.mode}; smoothing {smooth}; "
        f"mean of the {score.image_score.k} largest{median}"
    )


def _calibration(opened: ModelBundle, precision: str, target: str) -> Iterator[tuple[str, str]]:
    name = precision if target == CPU else f"{target} {precision}"
    try:
        calibration: Calibration = opened.calibration(precision, target=target)
    except EdgeInspectError as error:
        yield name, f"NOT USABLE: {error.message}"
        return
    yield name, f"calibrated {local_from_text(calibration.created_utc)}"
    for line in statement(calibration):
        yield "", line


def _state(opened: ModelBundle, key: str) -> str:
    try:
        opened.read(key)
    except EdgeInspectError as error:
        return f"NOT USABLE: {error.message}"
    return "whole"


def _signed(opened: ModelBundle) -> str:
    try:
        signature = signature_of(opened)
    except EdgeInspectError as error:
        return f"NOT CHECKED: {error.message}"
    return "none of this version" if signature is None else f"by key {signature.key_id}, fits the manifest"
