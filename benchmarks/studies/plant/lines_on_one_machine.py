"""How much a second line on the same machine costs a line: time to the verdict, in rounds of states that take turns.

Each line is a whole program of its own over the shipped pictures, as `edge-inspect@LINE` would run it, with records.
States: one line with all cores; one line on its own cores; two lines, each on its own cores; two lines that share all
cores. A round runs every state once, so that other programs' work meets all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.program import BUNDLE, Values, option, program
from edge.backends import usable_cores
from edge.core.errors import UsageError
from edge.core.progress import say

# the first parts of each run still warm up
_SETTLE = 20
_PERCENTILES = (50, 99)


@dataclass(frozen=True)
class State:
    """cores: of each line that runs; all lines run at the same time."""

    name: str
    cores: tuple[frozenset[int], ...]


def states(cores: Sequence[int]) -> list[State]:
    """The four states on these cores, of which there must be two or more."""
    if len(cores) < 2:
        raise UsageError(
            f"{len(cores)} core is usable; two lines with cores of their own need two",
            fix="give the process more cores",
        )
    half = len(cores) // 2
    every, first, second = frozenset(cores), frozenset(cores[:half]), frozenset(cores[half : 2 * half])
    return [
        State("one line, all cores", (every,)),
        State("one line, its own cores", (first,)),
        State("two lines, own cores", (first, second)),
        State("two lines, shared cores", (every, every)),
    ]


def measure(bundle: Path, rate: float, rounds: int, seconds: float) -> dict[str, Any]:
    """Verdict times of each state; rate: parts a second of each line."""
    chosen = states(sorted(os.sched_getaffinity(0))[: usable_cores()])
    times: dict[str, list[list[float]]] = {state.name: [] for state in chosen}
    for number in range(rounds):
        for state in chosen:
            say(f"round {number + 1} of {rounds}: {state.name}")
            times[state.name].extend(_verdict_times(state, bundle, rate, seconds))
    return {
        "parts_per_second": rate,
        "rounds": rounds,
        "seconds": seconds,
        "states": [
            {
                "state": state.name,
                "lines": len(state.cores),
                "cores_of_a_line": len(state.cores[0]),
                "parts": sum(len(run) for run in times[state.name]),
                **{f"p{p}_ms": _over_runs(times[state.name], p) for p in _PERCENTILES},
            }
            for state in chosen
        ],
    }


def _over_runs(runs: list[list[float]], percentile: int) -> dict[str, float]:
    """Of each run the percentile; over the runs their median and extremes."""
    values = [float(np.percentile(run, percentile)) for run in runs]
    return {"median": round(float(np.median(values)), 3), "low": round(min(values), 3), "high": round(max(values), 3)}


def _verdict_times(state: State, bundle: Path, rate: float, seconds: float) -> list[list[float]]:
    """Of each line of the state, milliseconds from frame to verdict."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [
            _started(Path(folder) / f"line-{number}", cores, bundle, rate, seconds)
            for number, cores in enumerate(state.cores)
        ]
        return [_times_of(line) for line in lines]


def _started(place: Path, cores: frozenset[int], bundle: Path, rate: float, seconds: float) -> subprocess.Popen[str]:
    place.mkdir()
    settings = place / "config.yaml"
    settings.write_text(f"inspection: {{threads: {len(cores)}}}\nview: {{live: off}}\n")
    command = [
        sys.executable, "-m", "edge", "--config", str(settings), "--camera", "demo", "--bundle", str(bundle),
        "--fps", str(rate), "--duration", str(seconds), "--record-dir", str(place / "records"), "--json",
    ]  # fmt: skip
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=place,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip


def _times_of(line: subprocess.Popen[str]) -> list[float]:
    output, _ = line.communicate()
    verdicts = [json.loads(text) for text in output.splitlines()]
    if line.returncode not in (0, 130) or len(verdicts) <= _SETTLE:
        raise UsageError(
            f"a line ended with exit code {line.returncode} after {len(verdicts)} verdicts",
            fix="give more --seconds; run the line by hand to see what it says",
        )
    return [verdict["times_ms"]["total"] for verdict in verdicts[_SETTLE:]]


def text(values: dict[str, Any]) -> str:
    """One line for each state."""
    return "\n".join(
        f"{state['state']:<24} p50 {state['p50_ms']['median']:.2f} ms, p99 {state['p99_ms']['median']:.2f} ms "
        f"({state['parts']} parts)"
        for state in values["states"]
    )


@program(
    BUNDLE,
    option("--rate", type=float, default=10.0, help="parts a second of each line (default: 10)"),
    option("--rounds", type=int, default=6, help="how often each state is measured (default: 6)"),
    option("--seconds", type=float, default=12.0, help="length of each (default: 12)"),
    show=text,
)
def main(options: argparse.Namespace) -> Values:
    """Measure the four states in turns."""
    return measure(options.bundle, options.rate, options.rounds, options.seconds)


if __name__ == "__main__":
    raise SystemExit(main())
