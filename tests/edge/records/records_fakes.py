"""A small backend, frames and verdicts for the tests of records, replay, report and views."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from edge.core.config import RecordSettings
from edge.core.counters import RunCounters
from edge.core.datatypes import AnomalyMap, Decision, Fault, Frame, Reason
from edge.inspection.inspector import Inspector
from edge.preprocessing.preprocess import Preprocess
from edge.records.store import RecordStore, RunInfo
from edge.records.writer.recorder import Recorder

START = datetime(2026, 3, 14, 8, 0, tzinfo=timezone.utc)


class BrightnessBackend:
    """Scores how bright a pixel is; parts are defective where something shines."""

    name = "fake"
    model_sha256 = "e" * 64

    def score(self, image, clock):
        values = np.ascontiguousarray(image.max(axis=2).astype(np.float32) / 100.0)
        for stage in ("preprocess", "infer", "residual"):
            clock.lap(stage)
        return AnomalyMap(values, float(values.max()), int((values > 2.0).sum()))

    def close(self):
        pass


def inspector(threshold: float = 2.0, bundle_sha256: str = "b" * 64) -> Inspector:
    return Inspector(BrightnessBackend(), Preprocess(32, 32), threshold, threshold, bundle_sha256)


def frame(
    index: int = 0, *, defect: bool = False, size: tuple[int, int] = (24, 32), utc: datetime | None = None
) -> Frame:
    """A dark noisy picture, with a bright spot when defective; each index is another picture."""
    image = np.random.default_rng(index).integers(20, 90, (*size, 3), dtype=np.uint8)
    if defect:
        image[size[0] // 3 : size[0] // 2, size[1] // 3 : size[1] // 2] = 250
    return Frame(index, time.perf_counter_ns(), utc or START + timedelta(seconds=index), "fake camera", image)


def look(index: int = 0, decision: Decision = Decision.OK, *, size=(24, 32), utc=None, reason=Reason.BLACK):
    """(frame, verdict) with this decision."""
    taken = frame(index, defect=decision is Decision.NG, size=size, utc=utc)
    if decision is Decision.INVALID:
        return taken, inspector().invalid(taken, Fault(reason, "as the test says"))
    return taken, inspector().inspect(taken)


RUN = RunInfo(
    source="fake camera",
    bundle_path="bundles/fake",
    bundle_sha256="b" * 64,
    model_sha256="e" * 64,
    backend="fake",
    precision="int8",
    threshold=2.0,
    pixel_threshold=2.0,
    preprocess_sha256=Preprocess(32, 32).sha256,
)


def recorder(
    directory: Path,
    counters: RunCounters | None = None,
    *,
    utc_now=None,
    run: RunInfo = RUN,
    wait_when_full: bool = False,
    steady_s=time.monotonic,
    draw=random.random,
    **settings,
) -> Recorder:
    """A recorder that commits often; utc_now defaults to just after the fake pictures."""
    settings = {"commit_every_ms": 20, **settings}
    return Recorder(
        RecordSettings(directory=str(directory), **settings),
        run,
        counters or RunCounters(),
        Preprocess(32, 32).field_of_view,
        wait_when_full=wait_when_full,
        steady_s=steady_s,
        draw=draw,
        utc_now=utc_now or (lambda: START + timedelta(hours=1)),
    )


def wait_for(condition: Callable[[], bool], seconds: float = 8.0) -> None:
    """Return as soon as the condition holds; fail when it does not in time."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "waited too long"
        time.sleep(0.005)


def stored(directory: Path):
    """All verdicts, oldest first."""
    with RecordStore(directory) as store:
        return store.verdicts("ORDER BY id", ())


def image_files(directory: Path) -> list[str]:
    return sorted(p.relative_to(directory).as_posix() for p in (directory / "images").rglob("*") if p.is_file())
