"""From a trained network to one that may run: how long export, quantize and calibrate with its gate take.

    python -m benchmarks.studies.deployment --run-dir RUN [--parts 200] [--out FILE.json]

Good parts are made from the shipped ones (benchmarks/studies/line_pictures.py), each a little different.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from benchmarks.results_file import ROOT, write_result
from benchmarks.studies.line_pictures import SCENES, line_pictures
from edge.bundles.bundle import load_bundle
from edge.capture.images.image_io import list_pictures
from edge.core.errors import EdgeInspectError, UsageError
from edge.samples import sample_data

_SEED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print one line a command, write --out."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.deployment", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="a finished run of `edge-inspect fit`")
    parser.add_argument("--parts", type=int, default=200, help="good parts (default: 200)")
    parser.add_argument("--out", type=Path, help="write a result file, for example to benchmarks/results/DEVICE/")
    options = parser.parse_args(given)
    try:
        with tempfile.TemporaryDirectory() as work:
            values = measure(Path(work), options.run_dir.resolve(), options.parts)
    except EdgeInspectError as error:
        print(f"benchmarks.studies.deployment: {error}", file=sys.stderr)
        return error.exit_code
    if options.out is not None:
        command = f"python -m benchmarks.studies.deployment --run-dir {options.run_dir.name} --parts {options.parts}"
        write_result(options.out, command, values)
    return 0


def measure(work: Path, run: Path, parts: int) -> dict[str, Any]:
    """Seconds of each command and of all; raises UsageError with what a command said when it fails."""
    data, bundle = work / "parts", work / "bundle"
    data.mkdir()
    shipped = list_pictures(sample_data() / "train" / "good")
    for number, picture in enumerate(line_pictures(shipped, parts, SCENES["as trained"], _SEED)):
        cv2.imwrite(str(data / f"{number:04d}.png"), picture)
    steps = {
        "export": ("--run-dir", run, "--out", bundle),
        "quantize": ("--bundle", bundle, "--data", data),
        "calibrate": ("--bundle", bundle, "--data", data),
    }
    seconds = {name: _timed(name, *arguments) for name, arguments in steps.items()}
    manifest = load_bundle(bundle).manifest
    total = {kind: round(sum(step[kind] for step in seconds.values()), 1) for kind in ("wall_s", "processor_s")}
    print(f"in all: {total['wall_s']} s, {total['processor_s']} s of processor time")
    return {
        "model": f"{manifest.method} {manifest.variant}",
        "parts": parts,
        "deployed": manifest.deployments["cpu"].model_dump(mode="json"),
        "steps": seconds,
        **total,
        "load_average": round(os.getloadavg()[0], 2),
    }


def _timed(command: str, *arguments: str | Path) -> dict[str, float]:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    line = [sys.executable, "-m", "edge", command, *map(str, arguments)]
    result = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise UsageError(f"{command} failed: {result.stderr.strip()}", fix="give a run of `edge-inspect fit`")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    spent = {"wall_s": round(time.perf_counter() - started, 1), "processor_s": round(processor, 1)}
    print(f"{command}: {spent['wall_s']} s, {spent['processor_s']} s of processor time", flush=True)
    return spent


if __name__ == "__main__":
    sys.exit(main())
