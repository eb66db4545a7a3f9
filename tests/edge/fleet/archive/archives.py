"""Archives that a real, tiny bundle recorded, and a bundle that judges otherwise."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from edge.bundles.bundle import load_bundle
from edge.bundles.calibration import Calibration
from edge.bundles.history import Audit
from edge.bundles.versions import commit_version
from edge.cli import main
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import U8, Fault, Frame, Reason
from edge.fleet.archive.recorded import Result
from edge.fleet.archive.reinspect import Reinspection, Request, reinspected
from edge.fleet.archive.report import write_report
from edge.fleet.archive.summary import Summary, summarised
from edge.inspection.inspector import Inspector
from edge.inspection.inspectors import live_bundle, make_inspector, run_info
from edge.records.writer.recorder import Recorder
from tests.edge.records.records_fakes import wait_for
from tests.small_bundle import bad_part, good_part

START = datetime(2026, 3, 14, 8, 0, tzinfo=timezone.utc)


def settings_for(bundle: Path, **sections: Any) -> Settings:
    return Settings.model_validate({"inspection": {"bundle": str(bundle), "threads": 1}, **sections})


def parts(good: int = 4, bad: int = 1, seed: int = 0) -> list[U8]:
    return [good_part(seed + number) for number in range(good)] + [bad_part(seed + number) for number in range(bad)]


def record(
    folder: Path,
    bundle: Path,
    pictures: Sequence[U8 | Reason],
    begin: datetime = START,
    line: str = "line",
    **record_settings: Any,
) -> None:
    """A run that records these parts as a line does, every picture kept; a reason: a look that brought no picture."""
    with recording(folder, bundle, begin, line, **record_settings) as (recorder, inspector):
        write(recorder, inspector, pictures, begin)
        recorder.drain(threading.Event(), lambda left: None)


def prune(folder: Path, bundle: Path) -> None:
    """The records drop all their pictures, for want of room."""
    with recording(folder, bundle, START + timedelta(days=30), max_image_mb=0.0001):
        wait_for(lambda: not list((folder / "images").rglob("*.png")))


@contextmanager
def recording(
    folder: Path, bundle: Path, begin: datetime, line: str = "line", **record_settings: Any
) -> Iterator[tuple[Recorder, Inspector]]:
    """What a line records with; every picture is kept unless the settings say otherwise."""
    kept = {"directory": str(folder), "keep_ok_share": 1.0, "max_image_age_days": None, "max_verdict_age_days": None}
    settings = settings_for(bundle, line={"name": line}, record={**kept, **record_settings})
    opened = live_bundle(settings)
    inspector = make_inspector(opened, settings)
    recorder = Recorder(
        settings.record, run_info(opened, inspector, "camera", settings), RunCounters(),
        inspector.preprocess.field_of_view, wait_when_full=True, utc_now=lambda: begin + timedelta(hours=1),
    )  # fmt: skip
    yield recorder, inspector
    recorder.close()
    inspector.backend.close()


def write(recorder: Recorder, inspector: Inspector, pictures: Sequence[U8 | Reason], begin: datetime) -> None:
    for index, picture in enumerate(pictures):
        utc = begin + timedelta(seconds=index)
        if isinstance(picture, Reason):
            frame = Frame(index, index, utc, "camera", None, Fault(picture, "as the test says"))
        else:
            frame = Frame(index, index, utc, "camera", picture)
        recorder.write(frame, inspector.inspect(frame))


def record_days(folder: Path, bundle: Path, days: int = 3, **others: Any) -> None:
    for day in range(days):
        record(folder, bundle, parts(seed=10 * day), START + timedelta(days=day), **others)


def stricter(bundle: Path, place: Path, threshold: float = 0.0) -> Path:
    """A copy of the bundle with another threshold; at 0 every part is NG."""
    copy = Path(shutil.copytree(bundle, place))
    set_threshold(copy, threshold)
    return copy


def set_threshold(bundle: Path, threshold: float) -> str:
    """A new version of the bundle; its hash."""
    opened = load_bundle(bundle)
    calibration: Calibration = replace(opened.calibration("int8"), threshold=threshold, set_by_hand=True)
    changed = {"calibration_int8": ("calibration_int8.npz", calibration.to_bytes())}
    return commit_version(opened, opened.manifest, changed, Audit("threshold", note="a test")).sha256


def judged(archive: Path, bundle: Path, out: Path, settings: Settings | None = None, **request: Any) -> Reinspection:
    wanted = Request(archive, out, **{"workers": 1, **request})
    with reinspected(wanted, settings or settings_for(bundle)) as made:
        write_report(made)
    return made


def summary(made: Reinspection) -> Summary:
    return summarised(made.archive.shards, made.wanted.results, made.skipped, made.unseen)


def results(made: Reinspection) -> list[Result]:
    """All results, in the order of the shards."""
    found = [made.wanted.results.read(shard) for shard in made.archive.shards]
    return [each for one in found if one is not None for each in one[1]]


def files(out: Path) -> dict[str, bytes]:
    """Every Parquet file below a folder, by its path there."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.parquet"))}


def command(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])
