"""Baselines without a network on a data set, written as a result file: `python -m benchmarks.quality.baseline_table`.

python -m benchmarks.quality.baseline_table --name magnetic_tile --data DIR --size 128
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.program import Values, option, program
from benchmarks.quality.baselines import Fitting, baselines_for, evaluate_baseline
from benchmarks.quality.labelled import SeenPictures
from benchmarks.results_file import result_path
from edge.core.progress import say
from edge.preprocessing.normal_samples import read_normal_samples
from edge.preprocessing.preprocess import Preprocess

METRICS = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro_30", "fpr_at_95", "recall", "false_reject_rate")


@program(
    option("--name", required=True, help="data set, names the result file"),
    option("--data", type=Path, required=True, help="folder in MVTec layout"),
    option("--size", type=int, default=128, help="side of the field in pixels (default: %(default)s)"),
    option("--seed", type=int, default=0, help="of the held-out good parts"),
    option("--out", type=Path, help="result file (default: the results folder of this device)"),
    show=lambda values: table(values),
)
def main(options: argparse.Namespace) -> Values:
    """Fit and evaluate every detector that the data allows."""
    options.out = options.out or result_path(f"baselines-{options.name}")
    return baseline_values(options.name, options.data, options.size, options.seed)


def baseline_values(name: str, data: Path, size: int, seed: int) -> dict[str, Any]:
    """What the result file holds below its head."""
    preprocess = Preprocess(size, size)
    parts = list(read_normal_samples(data))
    normals = [part.picture for part in parts]
    results = {}
    for baseline in baselines_for(data, preprocess):
        say(f"{name}: {baseline.name}")
        seen = SeenPictures(part.sha256 for part in parts)
        _, figures = evaluate_baseline(baseline, normals, data, preprocess, Fitting(None, seed), seen)
        results[baseline.name] = figures
    return {
        "data_set": name,
        "size": size,
        "seed": seed,
        "selection": "nothing was chosen on test pictures: settings are fixed or follow from good parts",
        "baselines": results,
    }


def table(values: dict[str, Any]) -> str:
    """Baselines by metric, in Markdown."""
    lines = [f"{values['data_set']}, {values['size']} px, seed {values['seed']}", ""]
    lines += ["| baseline | " + " | ".join(METRICS) + " |", "|---|" + "---|" * len(METRICS)]
    for name, figures in values["baselines"].items():
        cells = ["–" if figures[metric] is None else f"{figures[metric]:.4f}" for metric in METRICS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
