"""INT8 against FP32, side by side: `python -m benchmarks.studies.precisions --bundle B [B …] [--out FILE.json]`.

Bare networks of bundles, one call of each precision after the other. What a network computes does not change how long
it takes: a bundle trained for a few steps will do.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.accuracy_table import model_name
from benchmarks.results_file import write_result
from edge.backends import CPU_BACKENDS, installed
from edge.backends.cpu import Network, open_network
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.core.errors import EdgeInspectError, MissingDependency

PRECISIONS = ("fp32", "int8")
WARM_UP_CALLS = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table on standard output, write --out."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.precisions", description=__doc__)
    parser.add_argument("--bundle", type=Path, nargs="+", required=True, help="bundles with an INT8 network")
    parser.add_argument("--backend", choices=CPU_BACKENDS, default=CPU_BACKENDS[0])
    parser.add_argument("--threads", type=int, help="processor threads (default: all cores)")
    parser.add_argument("--calls", type=int, default=200, help="calls of each precision (default: 200)")
    parser.add_argument("--out", type=Path, help="write a result file, for example to benchmarks/results/DEVICE/")
    options = parser.parse_args(given)
    try:
        if not installed(options.backend):
            raise MissingDependency(f"{options.backend} is not installed", fix="pip install 'edge-inspect[cpu]'")
        bundles = [load_bundle(path) for path in options.bundle]
        rows = [measured(bundle, options.backend, options.threads, options.calls) for bundle in bundles]
    except EdgeInspectError as error:
        print(f"benchmarks.studies.precisions: {error}", file=sys.stderr)
        return error.exit_code
    print(table(rows))
    if options.out is not None:
        names = " ".join(path.name for path in options.bundle)
        command = f"python -m benchmarks.studies.precisions --bundle {names} --backend {options.backend}"
        write_result(options.out, command, {"threads": options.threads, "calls": options.calls, "networks": rows})
    return 0


def measured(bundle: ModelBundle, backend: str, threads: int | None, calls: int) -> dict[str, Any]:
    """Percentiles of both precisions in ms, and how many times as fast INT8 is; paired: of neighbouring calls."""
    networks = {
        name: open_network(backend, bundle.read(f"model_{name}"), bundle.manifest, threads) for name in PRECISIONS
    }
    times: dict[str, list[float]] = {name: [] for name in PRECISIONS}
    for call in range(-WARM_UP_CALLS, calls):
        # who comes first changes: it finds the caches as the other left them
        for name in PRECISIONS if call % 2 else PRECISIONS[::-1]:
            times[name].append(_call_ms(networks[name]))
    for network in networks.values():
        network.close()
    fp32, int8 = (np.array(times[name][WARM_UP_CALLS:]) for name in PRECISIONS)
    return {
        "model": model_name(bundle),
        "size": bundle.manifest.input.size,
        "backend": backend,
        "fp32_ms": _percentiles(fp32),
        "int8_ms": _percentiles(int8),
        "speedup_p50": round(float(np.median(fp32) / np.median(int8)), 3),
        "speedup_paired": round(float(np.median(fp32 / int8)), 3),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _call_ms(network: Network) -> float:
    started = time.perf_counter_ns()
    network.run()
    return (time.perf_counter_ns() - started) / 1e6


def _percentiles(values: np.ndarray[Any, Any]) -> dict[str, float]:
    return {f"p{level}": round(float(np.percentile(values, level)), 3) for level in (10, 50, 90, 99)}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """One line for each network."""
    lines = [f"{'network':<24}{'side':>6}{'FP32 p50':>11}{'INT8 p50':>11}   times as fast (paired)"]
    for row in rows:
        lines.append(
            f"{row['model']:<24}{row['size']:>6}{row['fp32_ms']['p50']:>11.2f}{row['int8_ms']['p50']:>11.2f}"
            f"{row['speedup_p50']:>11.2f} ({row['speedup_paired']:.2f})"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
