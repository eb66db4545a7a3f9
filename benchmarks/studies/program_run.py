"""The program as a user starts it, watched from outside: verdicts on its standard output, memory of its process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results_file import ROOT
from benchmarks.timing.measure.usage import resident_mb
from edge.core.errors import UsageError

MEMORY_SAMPLES = 1000
SAMPLES_KEPT = 20
# buffers, caches and the recorder's queue fill first; the slope is of what follows
SETTLING_SHARE = 0.2


@dataclass(frozen=True)
class FolderRun:
    """One run over a folder.

    frames_per_s: between the first verdict and the last. rss_*: None where the system does not tell. rss_mb: (verdicts,
    resident MB), a few of the samples.
    """

    verdicts: int
    first_verdict_s: float
    frames_per_s: float
    rss_max_mb: float | None
    rss_slope_kb_per_1000_frames: float | None
    rss_mb: tuple[tuple[int, float], ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def first_verdict_s(bundle: Path, pictures: Path, backend: str, precision: str, work: Path) -> float:
    """Seconds from process start to the first verdict on standard output; records are on, as by default."""
    command = _command(bundle, pictures, backend, precision, work / "first-records")
    with (work / "stderr.txt").open("w+") as errors:
        started = time.perf_counter()
        with _started([*command, "--once"], work, errors) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            seconds = time.perf_counter() - started
            process.stdout.read()
        if not line or process.returncode:
            _refuse(process.returncode, work)
    return seconds


def run_folder(bundle: Path, pictures: Path, backend: str, precision: str, records: Path, work: Path) -> FolderRun:
    """Inspect every picture of a folder once, with records. Raises UsageError when the program fails."""
    count = len(list(pictures.iterdir()))
    every = max(1, count // MEMORY_SAMPLES)
    memory: list[tuple[int, float]] = []
    verdicts = 0
    with (work / "stderr.txt").open("w+") as errors:
        started = first = last = time.perf_counter()
        with _started(_command(bundle, pictures, backend, precision, records), work, errors) as process:
            assert process.stdout is not None
            for _ in process.stdout:
                last = time.perf_counter()
                if verdicts == 0:
                    first = last
                verdicts += 1
                if verdicts % every == 0:
                    resident = resident_mb(process.pid)
                    if resident is not None:
                        memory.append((verdicts, round(resident, 2)))
        if process.returncode or verdicts != count:
            _refuse(process.returncode, work)
    return FolderRun(
        verdicts=verdicts,
        first_verdict_s=round(first - started, 3),
        frames_per_s=round((verdicts - 1) / (last - first), 1) if last > first else 0.0,
        rss_max_mb=max(mb for _, mb in memory) if memory else None,
        rss_slope_kb_per_1000_frames=_slope_kb_per_1000(memory),
        rss_mb=tuple(memory[:: max(1, len(memory) // SAMPLES_KEPT)]),
    )


def _command(bundle: Path, pictures: Path, backend: str, precision: str, records: Path) -> list[str]:
    return [
        sys.executable, "-m", "edge", "--camera", str(pictures), "--bundle", str(bundle), "--backend", backend,
        "--precision", precision, "--record-dir", str(records), "--json",
    ]  # fmt: skip


def _started(command: list[str], work: Path, errors: Any) -> subprocess.Popen[bytes]:
    # from an empty folder, so that no config.yaml changes what is measured
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        command, cwd=work, stdout=subprocess.PIPE, stderr=errors, env={**os.environ, "PYTHONPATH": path}
    )


def _refuse(code: int, work: Path) -> None:
    last_words = (work / "stderr.txt").read_text(errors="replace").strip()[-500:]
    raise UsageError(f"the program ended early with code {code}: {last_words}", fix="run it by hand to see why")


def _slope_kb_per_1000(memory: list[tuple[int, float]]) -> float | None:
    settled = memory[int(len(memory) * SETTLING_SHARE) :]
    if len(settled) < 2:
        return None
    frames, megabytes = np.array(settled, np.float64).T
    return round(float(np.polyfit(frames, megabytes, 1)[0]) * 1e6, 2)
