"""From good parts to inspecting: `python -m benchmarks.studies.teach --data FOLDER [--count 60] [--out FILE.json]`.

Runs `edge-inspect teach` as a person would, in a folder of its own, on the first pictures of FOLDER; the clock stops at
the first verdict of the inspection that it starts.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.results_file import write_result
from edge.bundles.bundle import load_bundle
from edge.capture.images.image_io import list_pictures
from edge.core.errors import EdgeInspectError, UsageError
from edge.preprocessing.normal_samples import normal_samples_folder

_PRODUCT = "part"
# of the clock: what the owner of a line waits at most
_PATIENCE_S = 3600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the figures as JSON, write --out."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.teach", description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with train/good/, or of pictures of good parts"
    )
    parser.add_argument("--count", type=int, default=60, help="how many of them (default: 60)")
    parser.add_argument("--out", type=Path, help="write a result file, for example to benchmarks/results/DEVICE/")
    parser.add_argument("more", nargs="*", help="further options of teach, after --")
    options = parser.parse_args(given)
    try:
        pictures = list_pictures(normal_samples_folder(options.data))
        if len(pictures) < options.count:
            raise UsageError(f"{options.data} holds {len(pictures)} pictures", fix=f"give --count {len(pictures)}")
        values = taught(pictures[: options.count], options.more)
    except EdgeInspectError as error:
        print(f"benchmarks.studies.teach: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(values, indent=1))
    if options.out is not None:
        more = " ".join(["", "--", *options.more]) if options.more else ""
        command = f"python -m benchmarks.studies.teach --data {options.data.name} --count {options.count}{more}"
        write_result(options.out, command, values)
    return 0


def taught(pictures: Sequence[Path], more: Sequence[str]) -> dict[str, Any]:
    """Seconds from the call to the bundle and to the first verdict, processor seconds, and what was trained."""
    with tempfile.TemporaryDirectory() as place:
        parts = Path(place) / "parts"
        parts.mkdir()
        for path in pictures:
            shutil.copy(path, parts)
        teach = ["teach", "--camera", "parts", "--product", _PRODUCT, *more]
        inspect = ["--camera", "parts", "--bundle", f"bundles/{_PRODUCT}", "--once", "--no-record", "--json"]
        before, started = _processor_s(), time.monotonic()
        said = _run(teach, place).stderr
        ready_s = time.monotonic() - started
        verdict = json.loads(_run(inspect, place).stdout)
        first_verdict_s = time.monotonic() - started
        training = load_bundle(Path(place) / "bundles" / _PRODUCT).manifest.training
    return {
        "pictures": len(pictures),
        "samples": training.n_train + training.n_heldout,
        "seconds_to_bundle": round(ready_s, 1),
        "seconds_to_first_verdict": round(first_verdict_s, 1),
        "processor_seconds": round(_processor_s() - before, 1),
        "steps": training.steps,
        "held_out": training.n_heldout,
        "first_verdict": verdict["decision"],
        "said": [line for line in said.splitlines() if line.startswith(("training: ", "made in "))],
    }


def _run(words: Sequence[str], place: str) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-m", "edge", *words], cwd=place, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=_PATIENCE_S, check=False,
    )  # fmt: skip
    if result.returncode:
        raise UsageError(f"`edge-inspect {' '.join(words)}` ended with {result.returncode}", fix=result.stderr.strip())
    return result


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
