"""Accuracy of bundles in both precisions, written as a result file: `python -m benchmarks.quality.accuracy_table`.

    python -m benchmarks.quality.accuracy_table --name aws_aliens --data DIR --bundle B [B …]

Several bundles are seeds of one training; mean and standard deviation over them stand beside each seed's own figures.
With --add, seeds of an earlier result of the same model stay, but for those that are measured anew.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.program import Values, option, program
from benchmarks.quality.accuracy import evaluate_bundle
from benchmarks.quality.at_budgets import budgets_over_seeds, budgets_table
from benchmarks.results_file import commit, result_path
from edge.backends import CPU_BACKENDS
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.capture.images.image_reader import PLAIN
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.core.progress import say
from edge.preprocessing.tiling import tiling_of
from export.graph import graph_from_onnx, multiplications

METRICS = (
    "image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro_30", "aupro_05", "fpr_at_95", "fpr_at_99", "recall",
    "false_reject_rate",
)  # fmt: skip
PRECISIONS = ("fp32", "int8")


@program(
    option("--name", required=True, help="data set, names the result file"),
    option("--data", type=Path, required=True, help="folder in MVTec layout"),
    option("--bundle", type=Path, nargs="+", required=True, help="one bundle per seed"),
    option("--fit-cpu-minutes", type=float, nargs="+", help="minutes of processor that making each bundle took"),
    option("--add", action="store_true", help="to the seeds that the result file has"),
    option("--backend", default="openvino", choices=CPU_BACKENDS),
    option("--out", type=Path, help="result file (default: the results folder of this device)"),
    show=lambda values: table(values),
)
def main(options: argparse.Namespace) -> Values:
    """Evaluate every bundle in both precisions."""
    bundles = [load_bundle(path) for path in options.bundle]
    minutes = options.fit_cpu_minutes or [None] * len(bundles)
    if len(minutes) != len(bundles):
        raise UsageError(f"{len(minutes)} --fit-cpu-minutes for {len(bundles)} bundles", fix="give one for each bundle")
    values = accuracy_values(options.name, options.data, bundles, options.backend)
    for seed, took in zip(values["seeds"], minutes, strict=True):
        seed["fit_cpu_minutes"] = took
    options.out = options.out or result_path("-".join(["accuracy", options.name, *values["model"].split()]))
    if options.add and options.out.is_file():
        return with_earlier_seeds(values, json.loads(options.out.read_text()))
    return values


def accuracy_values(name: str, data: Path, bundles: list[ModelBundle], backend: str) -> dict[str, Any]:
    """What the result file holds below its head."""
    settings, seeds = Settings.model_validate({"inspection": {"backend": backend}}), []
    for bundle in bundles:
        training = bundle.manifest.training
        entry: dict[str, Any] = {"seed": training.seed, "steps": training.steps, "trained_by": training.software}
        entry["commit"] = commit()
        entry["gmac"] = sum(multiplications(graph_from_onnx(bundle.read("model_fp32"))).values()) / 1e9
        for precision in PRECISIONS:
            say(f"{name}: {bundle.path.name}, {precision}")
            _, entry[precision] = evaluate_bundle(bundle, data, settings, PLAIN, precision)
        seeds.append(entry)
    return {
        "data_set": name,
        "model": model_name(bundles[0]),
        "good_parts_of_threshold": len(bundles[0].calibration("int8").scores),
        "selection": "nothing was chosen on test pictures; " + bundles[0].manifest.training.selection,
        "over_seeds": {precision: over_seeds([seed[precision] for seed in seeds]) for precision in PRECISIONS},
        "seeds": seeds,
    }


def with_earlier_seeds(values: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """`values` joined by the seeds of an earlier result that it does not have; each says its commit.

    Raises UsageError when the earlier result is of another model or data set.
    """
    for key in ("data_set", "model"):
        if earlier[key] != values[key]:
            raise UsageError(
                f"the result file is of {key.replace('_', ' ')} {earlier[key]!r}, not {values[key]!r}",
                fix="leave out --add, or name another file with --out",
            )
    measured = {seed["seed"] for seed in values["seeds"]}
    kept = [{"commit": earlier["commit"], **seed} for seed in earlier["seeds"] if seed["seed"] not in measured]
    seeds = sorted([*kept, *values["seeds"]], key=lambda seed: int(seed["seed"]))
    summary = {precision: over_seeds([seed[precision] for seed in seeds]) for precision in PRECISIONS}
    return {**values, "over_seeds": summary, "seeds": seeds}


def model_name(bundle: ModelBundle) -> str:
    """Method, variant, side of the field, tiles, and what was left out: "slsg tiny 128px without-graph"."""
    manifest = bundle.manifest
    left_out = [f"without-{name}" for name in manifest.training.ablations]
    weak = [f"weak-{manifest.training.n_weak}"] if manifest.training.n_weak else []
    tiling = tiling_of(manifest)
    left_out += [] if tiling is None else [f"tiles-{len(tiling)}"]
    height, width = manifest.field
    field = f"{width}px" if width == height else f"{width}x{height}px"
    return " ".join([manifest.method, manifest.variant, field, *left_out, *weak])


def over_seeds(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation of each metric; None where a metric does not exist, 0 for a single seed."""
    summary: dict[str, Any] = {}
    for metric in METRICS:
        values = [result[metric] for result in results if result[metric] is not None]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        summary[metric] = {"mean": statistics.fmean(values), "std": deviation} if values else None
    summary["at_budgets"] = budgets_over_seeds([result["at_budgets"] for result in results if "at_budgets" in result])
    return summary


def table(values: dict[str, Any]) -> str:
    """The metrics of both precisions side by side, in Markdown."""
    lines = [f"{values['data_set']}, {values['model']}, {len(values['seeds'])} seed(s)", ""]
    lines += ["| metric | " + " | ".join(PRECISIONS) + " |", "|---|" + "---|" * len(PRECISIONS)]
    for metric in METRICS:
        cells = [values["over_seeds"][precision][metric] for precision in PRECISIONS]
        shown = ["–" if cell is None else f"{cell['mean']:.4f} ± {cell['std']:.4f}" for cell in cells]
        lines.append(f"| {metric} | " + " | ".join(shown) + " |")
    return "\n".join([*lines, "", "INT8:", *budgets_table(values["over_seeds"]["int8"]["at_budgets"])])


if __name__ == "__main__":
    raise SystemExit(main())
