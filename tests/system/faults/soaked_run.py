"""A long run in miniature, as a process of its own: run with DIRECTORY FRAMES [BUNDLE]; prints what it saw as JSON.

A file source of generated pictures, the real capture, loop, statistics and recorder; the brightness model, or BUNDLE's
network. memory_kb: resident memory at 50 moments of the run, as (frames, KB).
"""

import json
import os
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from edge.capture.capture import Capture
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Frame
from edge.inspection.loop import run_loop
from edge.monitoring.json_lines import JsonLines
from edge.monitoring.run_statistics import RunStatistics, run_summary
from edge.records.store import RunInfo
from edge.records.writer.recorder import Recorder
from tests.edge.records.records_fakes import RUN
from tests.fakes import inspector
from tests.small_bundle import good_part

_DISTINCT = 64


class GeneratedPictures:
    """FrameSource protocol: `count` good parts as fast as they are taken; every 1000th is bright with a scratch."""

    name, live, dropped, recorded_fps = "generated", False, 0, None

    def __init__(self, count: int) -> None:
        self._count = count
        self._reads = 0
        self._good = [good_part(seed) for seed in range(_DISTINCT)]
        self._bad = np.full_like(self._good[0], 245)
        self._bad[20:22, 16:48] = 5

    def read(self) -> Frame | None:
        if self._reads == self._count:
            return None
        index, self._reads = self._reads, self._reads + 1
        image = (self._bad if index % 1000 == 999 else self._good[index % _DISTINCT]).copy()
        return Frame(index, time.perf_counter_ns(), datetime.now(timezone.utc), self.name, image)

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


class MemoryWatch:
    """A sink that notes the resident memory every so many verdicts, and whether their indexes are consecutive."""

    def __init__(self, every: int) -> None:
        self.samples: list[tuple[int, int]] = []
        self.consecutive = True
        self._every = every
        self._frames = 0

    def write(self, frame: Frame, verdict: object) -> None:
        self.consecutive = self.consecutive and frame.index == self._frames
        self._frames += 1
        if self._frames % self._every == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.samples.append((self._frames, pages * os.sysconf("SC_PAGE_SIZE") // 1024))

    def close(self) -> None: ...


def run(directory: Path, frames: int, bundle: Path | None) -> dict:
    settings = Settings.model_validate({"record": {"directory": str(directory)}})
    counters, watch, statistics = RunCounters(), MemoryWatch(every=frames // 50), RunStatistics()
    looking, info = inspector(), RUN
    if bundle is not None:
        from edge.bundles.bundle import load_bundle
        from edge.inspection.inspectors import make_inspector, run_info

        loaded = load_bundle(bundle)
        looking = make_inspector(loaded, settings)
        info = run_info(loaded, looking, "generated", settings)
    assert isinstance(info, RunInfo)
    capture = Capture(lambda: GeneratedPictures(frames), settings.camera, settings.freshness, counters)
    recorder = Recorder(settings.record, info, counters, looking.preprocess.field_of_view)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        sinks = [statistics, recorder, JsonLines(nowhere, counters, lambda why: None), watch]
        run_loop(capture, looking, sinks, settings, counters, stop=threading.Event())
        capture.close()
        recorder.close()
    return {
        "counters": {name: value for name, value in vars(counters).items() if name != "alarms"},
        "consecutive": watch.consecutive,
        "memory_kb": watch.samples,
        "summary": run_summary(statistics, counters, str(directory)),
    }


if __name__ == "__main__":
    given = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), given)))
