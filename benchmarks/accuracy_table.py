"""Accuracy of bundles in both precisions, written as a result file: `python -m benchmarks.accuracy_table`.

    python -m benchmarks.accuracy_table --name aws_aliens --data DIR --bundle B [B …]

Several bundles are seeds of one training; mean and standard deviation over them stand beside each seed's own figures.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.accuracy import evaluate
from benchmarks.results_file import result_path, write_result
from edge.backends import open_backend
from edge.bundle import ModelBundle, load_bundle

METRICS = (
    "image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro_30", "aupro_05", "fpr_at_95", "fpr_at_99", "recall",
    "false_reject_rate",
)  # fmt: skip
PRECISIONS = ("fp32", "int8")


def main(arguments: list[str] | None = None) -> int:
    """Evaluate and write; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy_table", description=__doc__)
    parser.add_argument("--name", required=True, help="data set, names the result file")
    parser.add_argument("--data", type=Path, required=True, help="folder in MVTec layout")
    parser.add_argument("--bundle", type=Path, nargs="+", required=True, help="one bundle per seed")
    parser.add_argument("--backend", default="openvino", choices=("openvino", "onnxruntime"))
    parser.add_argument("--out", type=Path, help="result file (default: the results folder of this device)")
    options = parser.parse_args(arguments)
    bundles = [load_bundle(path) for path in options.bundle]
    values = accuracy_values(options.name, options.data, bundles, options.backend)
    out = options.out or result_path("-".join(["accuracy", options.name, *values["model"].split()]))
    names = " ".join(path.name for path in options.bundle)
    command = f"python -m benchmarks.accuracy_table --name {options.name} --data {options.data.name} --bundle {names}"
    write_result(out, command, values)
    print(table(values))
    return 0


def accuracy_values(name: str, data: Path, bundles: list[ModelBundle], backend: str) -> dict[str, Any]:
    """What the result file holds below its head."""
    seeds = []
    for bundle in bundles:
        training = bundle.manifest.training
        entry: dict[str, Any] = {"seed": training.seed, "steps": training.steps, "trained_by": training.software}
        for precision in PRECISIONS:
            calibration = bundle.calibration(precision)
            opened = open_backend(bundle, backend, precision)
            print(f"{name}: {bundle.path.name}, {precision}", file=sys.stderr)
            entry[precision] = evaluate(
                bundle, opened, data, threshold=calibration.threshold, budget=calibration.false_reject_budget
            )
            opened.close()
        seeds.append(entry)
    return {
        "data_set": name,
        "model": model_name(bundles[0]),
        "selection": "nothing was chosen on test pictures; " + bundles[0].manifest.training.selection,
        "over_seeds": {precision: _over_seeds([seed[precision] for seed in seeds]) for precision in PRECISIONS},
        "seeds": seeds,
    }


def model_name(bundle: ModelBundle) -> str:
    """Method, variant, side of the field, and what was left out of the method: "slsg tiny 128px without-graph"."""
    manifest = bundle.manifest
    left_out = [f"without-{name}" for name in manifest.training.ablations]
    weak = [f"weak-{manifest.training.n_weak}"] if manifest.training.n_weak else []
    side = f"{manifest.input.size}px"
    return " ".join([manifest.method, manifest.variant, side, *left_out, *weak])


def _over_seeds(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation of each metric; None where a metric does not exist, 0 for a single seed."""
    summary: dict[str, Any] = {}
    for metric in METRICS:
        values = [result[metric] for result in results if result[metric] is not None]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        summary[metric] = {"mean": statistics.fmean(values), "std": deviation} if values else None
    return summary


def table(values: dict[str, Any]) -> str:
    """The metrics of both precisions side by side, in Markdown."""
    lines = [f"{values['data_set']}, {values['model']}, {len(values['seeds'])} seed(s)", ""]
    lines += ["| metric | " + " | ".join(PRECISIONS) + " |", "|---|" + "---|" * len(PRECISIONS)]
    for metric in METRICS:
        cells = [values["over_seeds"][precision][metric] for precision in PRECISIONS]
        shown = ["–" if cell is None else f"{cell['mean']:.4f} ± {cell['std']:.4f}" for cell in cells]
        lines.append(f"| {metric} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
