"""What judges a line: its bundle, and the calibration of the network that runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from edge.bundles.bundle import ModelBundle, calibration_key, load_bundle
from edge.bundles.calibration import Calibration
from edge.core.errors import BundleError
from edge.core.files.text_names import path_of_stored
from edge.records.store import CAMERA_BUNDLES
from edge.web.page import Refusal
from edge.web.site.lines import WebLine
from edge.web.site.reading import records_of


@dataclass(frozen=True)
class Judging:
    """precision: of the network that runs on the processor, unless a run on record says otherwise."""

    bundle: ModelBundle
    precision: str
    calibration: Calibration


def bundle_path(line: WebLine) -> Path:
    """Of the settings, else that of the newest run on record. Raises Refusal, RecordError."""
    if line.bundle is not None:
        return line.bundle
    with records_of(line) as store:
        rows = store.query("SELECT bundle_path, config FROM runs ORDER BY id DESC LIMIT 1")
    if not rows:
        raise Refusal(
            404, "No bundle is known", f"Line {line.name} has no run on record, and no bundle in the settings.",
            "Start the line once, or name its bundle in web.lines.",
        )  # fmt: skip
    path, config = rows[0]
    places: dict[str, str] = json.loads(config).get(CAMERA_BUNDLES, {})
    if len(set(places.values())) > 1:
        raise Refusal(
            409, "The line has several bundles", f"Line {line.name} judges by a bundle for each of its cameras: "
            f"{', '.join(f'{name}: {place}' for name, place in places.items())}.",
            f"Start the pages for one of them: edge-inspect web --only {next(iter(places))}. Or name it in web.lines.",
        )  # fmt: skip
    return path_of_stored(path)


def judging(line: WebLine) -> Judging:
    """What judges the line now. Raises Refusal, RecordError, BundleError, CalibrationMismatch."""
    bundle = load_bundle(bundle_path(line))
    precision = bundle.precision("auto")
    if calibration_key(precision) not in bundle.manifest.files:
        raise BundleError(
            f"{bundle.path} has no calibration for a processor",
            fix="of a bundle for a GPU alone these pages show no thresholds; use `edge-inspect threshold`",
        )
    return Judging(bundle, precision, bundle.calibration(precision))
