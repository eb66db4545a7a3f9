"""What missing instructions cost, each level emulated: `python -m benchmarks.studies.instructions [--out FILE.json]`.

For every level that this processor can emulate: the shipped networks in FP32 and INT8, and a training step in float32
and bfloat16. Levels take turns, so that a busy machine slows all alike, and the quickest of their rounds counts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.emulated import LEVELS
from benchmarks.results_file import write_result
from edge.core.errors import EdgeInspectError, UsageError
from edge.core.hardware import read_processor
from edge.samples import sample_bundle, sample_data

# what a processor must have itself for a level to say anything
_NEEDED = {
    "avx512-bf16": "avx512_bf16",
    "avx512-vnni": "avx512_vnni",
    "avx512": "avx512f",
    "avx2": "avx2",
}
_PATIENCE_S = 300.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write --out."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.instructions", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="turns of every level (default: 2)")
    parser.add_argument("--calls", type=int, default=100, help="of each network, in each round (default: 100)")
    parser.add_argument("--out", type=Path, help="write a result file, for example to benchmarks/results/DEVICE/")
    options = parser.parse_args(given)
    try:
        values = measured(options.rounds, options.calls)
    except EdgeInspectError as error:
        print(f"benchmarks.studies.instructions: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(values, indent=1))
    if options.out is not None:
        write_result(options.out, " ".join(["python -m benchmarks.studies.instructions", *given]), values)
    return 0


def measured(rounds: int, calls: int) -> dict[str, Any]:
    """Milliseconds of each level, and the variables that emulate it."""
    has = read_processor().features
    levels = [level for level in LEVELS if _NEEDED.get(level) is None or _NEEDED[level] in has]
    times: dict[str, dict[str, float]] = {level: {} for level in levels}
    with tempfile.TemporaryDirectory() as place:
        for turn in range(rounds):
            for level in levels:
                for name, value in _one_round(level, calls, Path(place) / f"{level}-{turn}").items():
                    times[level][name] = min(value, times[level].get(name, value))
    return {
        "network": "shipped bundle, OpenVINO; p10 of the calls of a round, the least disturbed",
        "training": "a step of isstad tiny",
        "rounds": rounds,
        "calls": calls,
        "levels": {level: {"environment": LEVELS[level], "ms": times[level]} for level in levels},
    }


def _one_round(level: str, calls: int, place: Path) -> dict[str, float]:
    place.mkdir()
    _run(
        level, "-m", "benchmarks.studies.precisions", "--bundle", sample_bundle(), "--calls", calls, "--out",
        place / "networks.json",
    )  # fmt: skip
    network = json.loads((place / "networks.json").read_text())["networks"][0]
    _run(
        level, "-m", "edge", "fit", "--data", sample_data(), "--run-dir", place / "run", "--method", "isstad",
        "--variant", "tiny", "--steps", 2,
    )  # fmt: skip
    steps = json.loads((place / "run" / "run.json").read_text())["arithmetic"]["step_ms"]
    return {
        "fp32": network["fp32_ms"]["p10"],
        "int8": network["int8_ms"]["p10"],
        "step_float32": steps["float32 channels_last"],
        "step_bfloat16": steps["bfloat16 channels_last"],
    }


def _run(level: str, *words: object) -> None:
    command = [sys.executable, "-m", "benchmarks.emulated", level, sys.executable, *map(str, words)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    if result.returncode:
        raise UsageError(f"{' '.join(command)} ended with {result.returncode}", fix=result.stderr.strip())


if __name__ == "__main__":
    sys.exit(main())
