"""Baselines without a network on a data set, written as a result file: `python -m benchmarks.quality.baseline_table`.

python -m benchmarks.quality.baseline_table --name magnetic_tile --data DIR --size 128
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks.quality.baselines import Fitting, baselines_for, evaluate_baseline
from benchmarks.quality.labelled import SeenPictures
from benchmarks.results_file import result_path, write_result
from calibration.threshold import DEFAULT_BUDGET
from edge.core.errors import EdgeInspectError
from edge.preprocessing.normal_samples import read_normal_samples
from edge.preprocessing.preprocess import Preprocess

METRICS = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro_30", "fpr_at_95", "recall", "false_reject_rate")


def main(arguments: list[str] | None = None) -> int:
    """Fit, evaluate and write; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.baseline_table", description=__doc__)
    parser.add_argument("--name", required=True, help="data set, names the result file")
    parser.add_argument("--data", type=Path, required=True, help="folder in MVTec layout")
    parser.add_argument("--size", type=int, default=128, help="side of the field in pixels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the held-out good parts")
    parser.add_argument("--out", type=Path, help="result file (default: the results folder of this device)")
    options = parser.parse_args(arguments)
    try:
        values = baseline_values(options.name, options.data, options.size, options.seed)
    except EdgeInspectError as error:
        print(f"baseline_table: {error}", file=sys.stderr)
        return error.exit_code
    command = f"python -m benchmarks.quality.baseline_table --name {options.name} --data {options.data.name}"
    command += f" --size {options.size} --seed {options.seed}"
    write_result(options.out or result_path(f"baselines-{options.name}"), command, values)
    print(table(values))
    return 0


def baseline_values(name: str, data: Path, size: int, seed: int) -> dict[str, Any]:
    """What the result file holds below its head."""
    preprocess = Preprocess(size)
    parts = list(read_normal_samples(data))
    normals = [part.picture for part in parts]
    results = {}
    for baseline in baselines_for(data, preprocess):
        print(f"{name}: {baseline.name}", file=sys.stderr)
        seen = SeenPictures(part.sha256 for part in parts)
        _, figures = evaluate_baseline(baseline, normals, data, preprocess, Fitting(DEFAULT_BUDGET, seed), seen)
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
    sys.exit(main())
