"""Models of anomalib on our data, by our figures: `python -m benchmarks.studies.third_party_accuracy`.

    python -m benchmarks.studies.third_party_accuracy --name aws_aliens --data DIR --model patchcore --seeds 0 1 2

They see the good parts that our training sees, and are asked for the test pictures that `evaluate` inspects. Maps and
scores come out of the model itself, FP32 in PyTorch. There are no figures at a threshold: anomalib takes its threshold
from labelled defects, which no other row of the table may look at. docs/figures/benchmark.md says how to install it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from benchmarks.program import Values, option, program
from benchmarks.quality.accuracy_table import METRICS, over_seeds
from benchmarks.quality.labelled import SeenPictures
from benchmarks.quality.predictions import Detector, Prediction, figures_of_merit, predict_all
from benchmarks.results_file import result_path
from benchmarks.studies.anomalib_detectors import DEFAULT_CORESET, MODELS, PACKAGES, recipe
from edge.backends import installed
from edge.core.datatypes import U8
from edge.core.progress import say
from edge.preprocessing.normal_samples import read_normal_samples
from edge.preprocessing.preprocess import Preprocess

PRECISION = "fp32"


@program(
    option("--name", required=True, help="data set, names the result file"),
    option("--data", type=Path, required=True, help="folder in MVTec layout"),
    option("--model", required=True, choices=MODELS),
    option("--seeds", type=int, nargs="+", default=[0]),
    option(
        "--size", type=int, default=256, help="side of the field in pixels, a multiple of 64 (default: %(default)s)"
    ),
    option("--coreset", type=float, default=DEFAULT_CORESET, help="share of places that PatchCore remembers"),
    option("--steps", type=int, default=500, help="of EfficientAD; anomalib's default is 70000 (default: %(default)s)"),
    option("--others", type=Path, nargs="*", default=[], help="data sets whose good parts EfficientAD must not know"),
    option("--out", type=Path, help="result file (default: the results folder of this device)"),
    show=lambda values: table(values),
)
def main(options: argparse.Namespace) -> Values:
    """Fit with every seed, and evaluate."""
    options.out = options.out or result_path(f"third-party-accuracy-{options.name}-{options.model}")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        made = recipe(options.model, options.size, options.coreset, options.steps, options.others, work)
        return third_party_values(options.name, options.data.resolve(), made, options.size, options.seeds, work)


class Fitter(Protocol):
    """What makes a detector of good parts; see Recipe."""

    @property
    def label(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def settings(self) -> dict[str, Any]: ...
    def fit(self, data: Path, seed: int, work: Path) -> Detector: ...


def third_party_values(
    name: str, data: Path, fitter: Fitter, size: int, seeds: Sequence[int], work: Path
) -> dict[str, Any]:
    """What the result file holds below its head. Raises UsageError when a good test picture is one of train/good."""
    seen = [part.sha256 for part in read_normal_samples(data)]
    entries: list[dict[str, Any]] = []
    for seed in seeds:
        say(f"{name}: {fitter.label}, seed {seed}")
        started = time.perf_counter(), time.process_time()
        detector = fitter.fit(data, seed, work / f"seed-{seed}")
        minutes, cpu_minutes = (time.perf_counter() - started[0]) / 60, (time.process_time() - started[1]) / 60
        timed, cpu_ms = _timed(detector)
        predictions = predict_all(timed, data, Preprocess(size, size), SeenPictures(seen))
        entries.append(
            {
                "seed": seed,
                "steps": fitter.steps,
                "fit_minutes": minutes,
                "fit_cpu_minutes": cpu_minutes,
                "score_cpu_ms_p50": statistics.median(cpu_ms),
                PRECISION: figures_of_merit(predictions, None, None),
            }
        )
    return {
        "data_set": name,
        "model": fitter.label,
        "third_party": {package: metadata.version(package) for package in PACKAGES if installed(package)},
        "settings": fitter.settings,
        "good_parts": len(seen),
        "selection": "nothing was chosen on test pictures: settings are anomalib's defaults or named above",
        "over_seeds": {PRECISION: over_seeds([entry[PRECISION] for entry in entries])},
        "seeds": entries,
    }


def _timed(detector: Detector) -> tuple[Detector, list[float]]:
    """The detector, and the milliseconds of processor that each of its calls took: another program's work is no part.

    All threads of this process count.
    """
    spent: list[float] = []

    def detect(picture: U8, reference: U8 | None) -> Prediction:
        started = time.process_time()
        prediction = detector(picture, reference)
        spent.append((time.process_time() - started) * 1e3)
        return prediction

    return detect, spent


def table(values: dict[str, Any]) -> str:
    """The figures in Markdown."""
    lines = [
        f"{values['data_set']}, {values['model']}, {len(values['seeds'])} seed(s)",
        "",
        "| metric | |",
        "|---|---|",
    ]
    for metric in METRICS:
        cell = values["over_seeds"][PRECISION][metric]
        if cell is not None:
            lines.append(f"| {metric} | {cell['mean']:.4f} ± {cell['std']:.4f} |")
    for words, key in (
        ("fit, minutes of processor", "fit_cpu_minutes"),
        ("picture, ms of processor", "score_cpu_ms_p50"),
    ):
        lines.append(f"| {words} | " + ", ".join(f"{seed[key]:.1f}" for seed in values["seeds"]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
