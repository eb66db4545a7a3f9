"""Boxes as the fleet's studies have them: a record store of its own each, written by the recorder's own database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from edge.core.config import Settings
from edge.core.datatypes import Decision, Fault, Frame, Part, Reason, Region, StageTimes, Verdict
from edge.records.store import RunInfo
from edge.records.writer.database import ImageValues, RecordDatabase, RowValues, row_values
from edge.records.writer.pictures import StoredPicture

BEGIN = datetime(2026, 11, 1, tzinfo=timezone.utc)
THRESHOLD, KEEP_OK_SHARE = 0.5, 0.02
# parts in a hundred that are rejected, and thousandths that could not be judged
_NG_SHARE, _INVALID_SHARE = 0.01, 0.002
_BLOCK = 10_000


@dataclass(frozen=True)
class Box:
    """directory: where its line records. tables: where it exports to."""

    site: str
    line: str
    directory: Path
    tables: Path

    @property
    def settings(self) -> Settings:
        return Settings.model_validate(
            {"line": {"name": self.line}, "mqtt": {"site": self.site}, "record": {"directory": str(self.directory)}}
        )

    def record(self, rows: int, begin: datetime, every: timedelta, rng: np.random.Generator) -> None:
        """A run of so many parts, committed in blocks."""
        bundle = hashlib.sha256(self.line.encode()).hexdigest()
        run = RunInfo(
            source="rtsp://camera/stream", bundle_path="/var/lib/edge-inspect/bundles/bracket", bundle_sha256=bundle,
            model_sha256=bundle[::-1], backend="openvino", precision="int8", threshold=THRESHOLD,
            pixel_threshold=THRESHOLD, preprocess_sha256=bundle,
        )  # fmt: skip
        database = RecordDatabase(self.directory, run, begin)
        try:
            block = list[tuple[RowValues, ImageValues]]()
            for entry in _rows(rows, begin, every, bundle, rng):
                block.append(entry)
                if len(block) == _BLOCK:
                    database.save(block, [])
                    block.clear()
            database.save(block, [])
            database.end_run(begin + rows * every)
        finally:
            database.close()


def _rows(
    count: int, begin: datetime, every: timedelta, bundle: str, rng: np.random.Generator
) -> Iterator[tuple[RowValues, ImageValues]]:
    """Scores, times, part numbers and lots as a line has them: each part has a number, an hour has a lot."""
    scores = np.exp(rng.normal(np.log(0.25), 0.18, count)).astype(np.float32)
    kinds = rng.random(count)
    times = rng.normal((0.6, 1.1, 4.2, 0.5, 0.3), (0.2, 0.1, 0.3, 0.05, 0.02), (count, 5)).clip(0.01)
    # parts do not come to the microsecond
    jitter = rng.uniform(0, 0.2 * every.total_seconds(), count)
    kept = rng.random(count) < KEEP_OK_SHARE
    empty = Frame(0, 0, begin, "camera", None, Fault(Reason.NO_FRAME, "none"))
    for index in range(count):
        utc = begin + index * every + timedelta(seconds=float(jitter[index]))
        frame = replace(
            empty, index=index, captured_ns=index, utc=utc, part=Part(f"{utc:%y%j}{index:07d}", f"L{utc:%y%m%d%H}")
        )
        score = float(scores[index])
        decision, reason = Decision.OK, Reason.BELOW_THRESHOLD
        if kinds[index] < _INVALID_SHARE:
            decision, reason = Decision.INVALID, Reason.STALE
        elif kinds[index] < _INVALID_SHARE + _NG_SHARE or score > THRESHOLD:
            score, decision, reason = THRESHOLD + score, Decision.NG, Reason.ABOVE_THRESHOLD
        regions = (Region(120, 80, 33, 21, 340, score),) if decision is Decision.NG else ()
        judged = None if decision is Decision.INVALID else score
        stages = StageTimes(*map(float, (*times[index], times[index].sum())))
        verdict = Verdict(
            index, decision, reason, f"picture is {index % 900 + 500} ms old", judged, THRESHOLD, regions, stages,
            bundle, bundle[::-1],
        )  # fmt: skip
        image = ImageValues("none")
        if decision is not Decision.OK or kept[index]:
            name = f"images/{utc:%Y-%m-%d}/1-{index:06d}-{utc:%H%M%S}+0000-{decision}"
            sha = hashlib.sha256(name.encode()).hexdigest()
            image = ImageValues("stored", StoredPicture(f"{name}.png", sha, f"{name}.overlay.jpg", 60_000))
        sample_p = None if decision is Decision.INVALID else KEEP_OK_SHARE if decision is Decision.OK else 1.0
        yield row_values(frame, verdict, sample_p), image
