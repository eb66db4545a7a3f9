"""What artificial defects cost beside the training step they serve: milliseconds per picture, and the share of a step.

The clock is benchmarks/studies/measure_defects.py, started as a program: benchmarks do not import what needs torch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.results_file import ROOT, write_result
from edge.capture.images.image_io import list_pictures
from edge.core.errors import EdgeInspectError, UsageError
from edge.preprocessing.normal_samples import normal_samples_folder
from edge.samples import sample_data


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table on standard output, write --out."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.defects", description=__doc__)
    parser.add_argument("--data", type=Path, default=sample_data(), help="good parts (default: the shipped samples)")
    parser.add_argument("--rounds", type=int, default=15, help="turns of every preset and as many steps (default: 15)")
    parser.add_argument("--threads", type=int, default=1, help="processor threads of the step (default: 1)")
    parser.add_argument("--presets", nargs="+", default=[], metavar="NAME", help="only these (default: all)")
    parser.add_argument("--out", type=Path, help="write a result file, for example to benchmarks/results/DEVICE/")
    options = parser.parse_args(given)
    try:
        values = measure(options.data, options.rounds, options.threads, options.presets)
    except EdgeInspectError as error:
        print(f"benchmarks.studies.defects: {error}", file=sys.stderr)
        return error.exit_code
    print(table(values))
    if options.out is not None:
        write_result(options.out, " ".join(["python -m benchmarks.studies.defects", *given]), values)
    return 0


def measure(data: Path, rounds: int, threads: int, presets: Sequence[str] = ()) -> dict[str, Any]:
    """{device: figures of benchmarks/studies/measure_defects.py}; raises UsageError with what the program said."""
    list_pictures(normal_samples_folder(data))
    command = [sys.executable, "-m", "benchmarks.studies.measure_defects", "--data", str(data.resolve())]
    command += ["--rounds", str(rounds), "--threads", str(threads)]
    command += ["--presets", *presets] if presets else []
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        last = result.stderr.strip().splitlines()[-1:] or ["no message"]
        raise UsageError(
            f"the measurement failed: {last[0]}", fix="pip install 'edge-inspect[train]', or mend the pictures it names"
        )
    values: dict[str, Any] = json.loads(result.stdout)
    return values


def table(values: dict[str, Any]) -> str:
    """One line for each device and preset."""
    lines = []
    for name, figures in values.items():
        lines.append(f"{name}: a step of {figures['network']}, batch {figures['batch']}: {figures['step_ms']} ms")
        lines += [
            f"  {preset:<16}{row['ms_per_picture']:7.2f} ms per picture {row['share_of_step']:7.1%} of a step"
            for preset, row in figures["presets"].items()
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
