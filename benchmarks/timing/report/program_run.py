"""The program as a user starts it, watched from outside: verdicts on its standard output, memory of its process."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.timing.measure.machine import machine_state
from benchmarks.timing.measure.samples import Samples
from benchmarks.timing.measure.usage import resident_mb
from benchmarks.timing.report.report import memory_figures
from edge.core.errors import UsageError
from edge.samples import sample_line

_MEMORY_READINGS = 1000


def demo_folder(folder: Path, count: int) -> Path:
    """`count` pictures of the sample line, in the line's order, in an empty folder; each is stored once."""
    pictures = sample_line()
    stored: dict[Path, Path] = {}
    for index in range(count):
        picture = pictures[index % len(pictures)]
        place = folder / f"{index:06d}{picture.suffix}"
        if picture in stored:
            place.hardlink_to(stored[picture])
        else:
            stored[picture] = Path(shutil.copyfile(picture, place))
    return folder


def measure_program(
    options: Sequence[str], count: int | None, advance: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Any]:
    """Start `edge-inspect OPTIONS --json` and read its verdicts to the end; count: how many, where that is known.

    first_verdict_s: from the start of the process. frames_per_s: between the first verdict and the last. memory: None
    where the system does not tell. Raises UsageError with the program's last words when it fails.
    """
    every = max(1, (count or 0) // _MEMORY_READINGS)
    memory = Samples(("at_s", "frames", "resident_mb"))
    verdicts = 0
    before = machine_state()
    with tempfile.TemporaryFile("w+") as errors:
        started = first = last = time.perf_counter()
        command = [sys.executable, "-m", "edge", *options, "--json"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as process:
            assert process.stdout is not None
            for _ in process.stdout:
                last = time.perf_counter()
                first = last if verdicts == 0 else first
                verdicts += 1
                if verdicts % every == 0 and (resident := resident_mb(process.pid)) is not None:
                    memory.add(last - started, verdicts, resident)
                if count is not None:
                    advance(verdicts, count)
        if process.returncode or not verdicts:
            errors.seek(0)
            last_words = errors.read().strip()[-500:]
            raise UsageError(
                f"the program ended with {process.returncode} after {verdicts} verdicts: {last_words}",
                fix="run `edge-inspect` on the same pictures to see why",
            )
    return {
        "frames": verdicts,
        "first_verdict_s": round(first - started, 3),
        "frames_per_s": round((verdicts - 1) / (last - first), 1) if last > first else None,
        "memory": memory_figures(memory.columns()),
        "before": before,
        "after": machine_state(),
    }
