"""Every accuracy result of a device as one page: `python -m benchmarks.quality.method_table`.

Reads accuracy-*.json, third-party-accuracy-*.json and baselines-*.json; measures nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.program import option, program
from benchmarks.results_file import RESULTS, result_path
from edge.core.files.atomic_file import write_atomic

_COLUMNS = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "aupro_30": "AUPRO 0.3",
    "fpr_at_95": "FPR at 95 % recall",
}
_COSTS = {"gmac": "GMAC", "ms": "ms", "fit_cpu_minutes": "fit, min"}
_HEAD = """# Accuracy

Compare the methods on public data before you choose one; [methods.md](../models/methods.md) says what each is. Your own
parts decide:

```
edge-inspect compare --data labelled/ --variant tiny --out comparison/
```

`python -m benchmarks.quality.method_table` writes this page from the files named below. Each file has the device, date,
commit and command. [evaluation.md](evaluation.md) defines the figures. Nothing was chosen on test pictures. Where
there are several seeds, a figure is mean ± standard deviation over them. Our figures are INT8 through OpenVINO; the
files have FP32 beside it. Networks come first, then detectors without a network (in italics).

Rows that begin with anomalib are what a user could pick instead: fitted by that library on the same good parts, with
the encoder of our `pretrained` variants, FP32 in PyTorch. [benchmark.md](benchmark.md#others-on-the-same-data) says
how, and where each departs from what its authors published.

GMAC: multiplications of the network's convolutions, in billions. ms: from picture to score, median; ours is the time
that passed on both cores, that of others is processor time. fit: minutes of processor from the good parts to what
inspects. Results from before these columns say nothing of them.
"""

# the precision that a page shows: of ours the one that runs; others' are measured as they come
_SHOWN = {"accuracy-*.json": "int8", "third-party-accuracy-*.json": "fp32"}


@dataclass(frozen=True)
class _Network:
    """One result file: its model, and its figures over seeds in the precision that is shown."""

    file: str
    model: str
    precision: str
    summary: dict[str, Any]
    seeds: list[dict[str, Any]]


@program(
    option("--results", type=Path, default=result_path("x").parent, help="folder of result files"),
    option("--out", type=Path, default=Path("docs/figures/accuracy.md")),
)
def main(options: argparse.Namespace) -> None:
    """Write the page."""
    page = method_page(options.results)
    write_atomic(options.out, page.encode())
    print(page)


def method_page(folder: Path) -> str:
    """Markdown: one table a data set, best image AUROC first."""
    networks: dict[str, list[_Network]] = defaultdict(list)
    for pattern, precision in _SHOWN.items():
        for file in sorted(folder.glob(pattern)):
            values = json.loads(file.read_text())
            summary = values["over_seeds"][precision]
            networks[values["data_set"]].append(
                _Network(file.name, values["model"], precision, summary, values["seeds"])
            )
    parts = [_HEAD]
    for data_set in sorted(networks):
        rows = sorted(networks[data_set], key=lambda network: -network.summary["image_auroc"]["mean"])
        head = ["model", "seeds", "steps", *_COLUMNS.values(), *_COSTS.values()]
        lines = [f"## {data_set}", "", _row(head), _row(["---"] * len(head))]
        lines += [_network_row(network) for network in rows]
        files = [network.file for network in rows]
        baselines = folder / f"baselines-{data_set}.json"
        if baselines.is_file():
            found = json.loads(baselines.read_text())["baselines"]
            ordered = sorted(found.items(), key=lambda item: -item[1]["image_auroc"])
            lines += [
                _row([f"*{name}*", "–", "–", *(_number(v[c]) for c in _COLUMNS), *("–" for _ in _COSTS)])
                for name, v in ordered
            ]
            files.append(baselines.name)
        lines += ["", "Files in `" + _shown(folder) + "`: " + ", ".join(f"`{name}`" for name in files)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _network_row(network: _Network) -> str:
    seeds, cells = network.seeds, []
    for column in _COLUMNS:
        found = network.summary.get(column)
        spread = f" ± {found['std']:.3f}" if found and len(seeds) > 1 else ""
        cells.append(_number(None if found is None else found["mean"]) + spread)
    costs = [_median([_cost(seed, network.precision, name) for seed in seeds]) for name in _COSTS]
    return _row([network.model, str(len(seeds)), str(seeds[0]["steps"]), *cells, *costs])


def _cost(seed: dict[str, Any], precision: str, name: str) -> float | None:
    found: float | None = seed.get(name)
    # our times are of a quiet machine only where the other costs were measured, too
    if name == "ms":
        found = seed[precision]["score_ms_p50"] if "gmac" in seed else seed.get("score_cpu_ms_p50")
    return found


def _median(costs: list[float | None]) -> str:
    known = [cost for cost in costs if cost is not None]
    return f"{statistics.median(known):.2g}" if known else "–"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _shown(folder: Path) -> str:
    """The folder as a reader of the repository finds it."""
    return f"benchmarks/results/{folder.name}" if folder.parent == RESULTS else folder.name


if __name__ == "__main__":
    raise SystemExit(main())
