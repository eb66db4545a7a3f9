"""What `--method auto` gives away: of every method it tried, what the choice saw, and image AUROC on labelled pictures.

The choice never sees these pictures. Each method's network runs in FP32, with statistics of the good parts as
`calibrate` measures them. The regret is the AUROC of the best single method less that of the one that was taken.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from shutil import copytree
from typing import Any

from benchmarks.program import DATA, Values, option, program
from benchmarks.quality.accuracy import predict_with_bundle
from calibration.pipeline.calibrate import calibrate_bundle
from calibration.pipeline.calibrator import Goal
from calibration.pipeline.train import DRAFT
from edge.backends import open_backend
from edge.bundles.bundle import load_bundle
from edge.capture.images.image_reader import PLAIN
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.metrics import image_auroc

# no threshold is used
_GOAL = Goal(0.05, None, None)


def measure(runs: Path, data: Path) -> Values:
    """runs: the folder of runs that `train --method auto` left. data: the good parts it learned from, and test/."""
    try:
        record = json.loads((runs / "run.json").read_text(encoding="utf-8"))
        tried = {each["method"]: each for each in record["contenders"]}
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{runs} is no folder of runs of `train --method auto`: {error}", fix="give OUT.run of such a call"
        ) from error
    figures = {name: {**each, "test_image_auroc": _auroc(runs / name / DRAFT, data)} for name, each in tried.items()}
    best = max(figures, key=lambda name: figures[name]["test_image_auroc"])
    taken = record["chosen"]
    return {
        "data": data.name,
        "taken": taken,
        "best": best,
        "regret": round(figures[best]["test_image_auroc"] - figures[taken]["test_image_auroc"], 4),
        "methods": figures,
        "left_out": record["left_out"],
    }


def _auroc(draft: Path, data: Path) -> float:
    """Of a draft that is calibrated on a copy, so that the run stays as it is."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(copytree(draft, Path(place) / DRAFT))
        bundle = load_bundle(copy)
        calibrate_bundle(copy, data, _GOAL, Settings(), PLAIN)
        bundle = load_bundle(copy)
        backend = open_backend(bundle, "auto", "fp32")
        try:
            predictions = predict_with_bundle(bundle, backend, data)
        finally:
            backend.close()
    return round(image_auroc(predictions.labels, predictions.scores), 4)


def text(values: dict[str, Any]) -> str:
    """A line for each method."""
    lines = [f"{values['data']:<18}{'judged':>16}{'test':>8}{'ms':>7}{'s':>6}"]
    for name, each in values["methods"].items():
        judged = f"{each['image_auroc']:.3f} ± {each['standard_error']:.3f}"
        took = f"{each['run_ms']:>7.1f}{each['seconds']:>6.0f}"
        mark = "  taken" if name == values["taken"] else ""
        lines.append(f"{name:<18}{judged:>16}{each['test_image_auroc']:>8.3f}{took}{mark}")
    return "\n".join([*lines, f"regret {values['regret']:.3f}"])


@program(
    option("--runs", type=Path, required=True, help="OUT.run of `edge-inspect train --method auto`"), DATA, show=text
)
def main(options: argparse.Namespace) -> Values:
    """Measure what the choice gave away."""
    return measure(options.runs, options.data)


if __name__ == "__main__":
    raise SystemExit(main())
