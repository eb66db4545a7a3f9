"""What the process takes of the machine: memory, processor time, allocations. None where the system does not tell."""

from __future__ import annotations

import gc
import os
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


def resident_mb(process: int | str = "self") -> float | None:
    """Megabytes of a process that lie in memory."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


def peak_mb() -> float | None:
    """Most megabytes this process has had in memory since it started."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _page_faults() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


@dataclass(frozen=True)
class ProcessUsage:
    """cores_busy: processor time over wall time. page_faults: pages the system had to hand over meanwhile."""

    wall_s: float
    cpu_s: float
    page_faults: int | None

    @property
    def cores_busy(self) -> float:
        return self.cpu_s / self.wall_s if self.wall_s else 0.0


class UsageClock:
    """Usage of the whole process from its making to `usage`."""

    def __init__(self) -> None:
        self._wall, self._cpu, self._faults = time.perf_counter(), time.process_time(), _page_faults()

    def usage(self) -> ProcessUsage:
        faults = _page_faults()
        return ProcessUsage(
            time.perf_counter() - self._wall,
            time.process_time() - self._cpu,
            None if faults is None or self._faults is None else faults - self._faults,
        )


def allocations(inspect: Callable[[int], None], frames: int) -> dict[str, Any]:
    """What inspecting `frames` frames allocates, as Python and NumPy tell it; run apart, since watching costs time.

    peak_kb_per_frame: most at once during a frame, above what was there before it. kept_blocks_per_1000_frames: Python
    objects more after than before.
    """
    peaks = np.empty(frames)
    inspect(0)
    gc.collect()
    tracemalloc.start()
    blocks = sys.getallocatedblocks()
    try:
        for index in range(frames):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            inspect(index)
            peaks[index] = (tracemalloc.get_traced_memory()[1] - before) / 1000
        gc.collect()
        kept = sys.getallocatedblocks() - blocks
    finally:
        tracemalloc.stop()
    return {
        "frames": frames,
        "peak_kb_per_frame": {"p50": round(float(np.median(peaks)), 1), "max": round(float(peaks.max()), 1)},
        "kept_blocks_per_1000_frames": round(1000 * kept / frames, 1),
    }
