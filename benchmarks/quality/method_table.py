"""Every accuracy result of a device as one page: `python -m benchmarks.quality.method_table`.

Reads accuracy-*.json and baselines-*.json; measures nothing.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
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
_HEAD = """# Accuracy

Compare the methods on public data before you choose one; [methods.md](../models/methods.md) says what each is. Your own
parts decide:

```
edge-inspect compare --data labelled/ --variant tiny --out comparison/
```

`python -m benchmarks.quality.method_table` writes this page from the files named below. Each file has the device, date,
commit and command. [evaluation.md](evaluation.md) defines the figures. Nothing was chosen on test pictures. Where
there are several seeds, a figure is mean ± standard deviation over them. All figures are INT8 through OpenVINO; the
files have FP32 beside it. Networks come first, then detectors without a network (in italics).
"""


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
    networks: dict[str, list[tuple[Path, dict[str, Any]]]] = defaultdict(list)
    for file in sorted(folder.glob("accuracy-*.json")):
        values = json.loads(file.read_text())
        networks[values["data_set"]].append((file, values))
    parts = [_HEAD]
    for data_set in sorted(networks):
        rows = sorted(networks[data_set], key=lambda item: -item[1]["over_seeds"]["int8"]["image_auroc"]["mean"])
        head = ["model", "seeds", "steps", *_COLUMNS.values()]
        lines = [f"## {data_set}", "", _row(head), _row(["---"] * len(head))]
        lines += [_network_row(values) for _, values in rows]
        files = [file.name for file, _ in rows]
        baselines = folder / f"baselines-{data_set}.json"
        if baselines.is_file():
            found = json.loads(baselines.read_text())["baselines"]
            ordered = sorted(found.items(), key=lambda item: -item[1]["image_auroc"])
            lines += [_row([f"*{name}*", "–", "–", *(_number(v[c]) for c in _COLUMNS)]) for name, v in ordered]
            files.append(baselines.name)
        lines += ["", "Files in `" + _shown(folder) + "`: " + ", ".join(f"`{name}`" for name in files)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _network_row(values: dict[str, Any]) -> str:
    summary, seeds = values["over_seeds"]["int8"], values["seeds"]
    cells = []
    for column in _COLUMNS:
        found = summary.get(column)
        spread = f" ± {found['std']:.3f}" if found and len(seeds) > 1 else ""
        cells.append(_number(None if found is None else found["mean"]) + spread)
    return _row([values["model"], str(len(seeds)), str(seeds[0]["steps"]), *cells])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _shown(folder: Path) -> str:
    """The folder as a reader of the repository finds it."""
    return f"benchmarks/results/{folder.name}" if folder.parent == RESULTS else folder.name


if __name__ == "__main__":
    raise SystemExit(main())
