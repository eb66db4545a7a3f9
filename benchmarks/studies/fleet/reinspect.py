"""How fast recorded pictures are judged again with one worker and with two, and which part limits each.

An archive of the shipped sample line is recorded in a folder of its own. Rounds with one and with two workers take
turns, so that other work on the machine meets both alike; what is compared is the ratio of each pair. Processor time a
picture hardly depends on other work: where it is the same with two workers, two free cores would do twice as many. The
parts are timed by themselves, with one thread and with two: reading the file and its hash, decoding, the inspector. The
files are in the memory of the system, as they are after they were recorded: a disk that must be read is slower. With
Ray: the same with one and two workers, in one round each, since half of such a run is its start.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.program import BUNDLE, Values, option, program
from edge.capture.images.image_io import decode_picture
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Frame
from edge.core.latency import StageClock
from edge.fleet.archive.judge import Judging
from edge.fleet.archive.reinspect import Request, reinspected
from edge.inspection.inspectors import live_bundle, make_inspector, run_info
from edge.records.writer.recorder import Recorder
from edge.samples import sample_line

_START = datetime(2026, 3, 14, 8, 0, tzinfo=timezone.utc)
_DAYS = 4
_WORKERS = (1, 2)


def measure(bundle: Path, pictures: int, rounds: int, with_ray: bool) -> dict[str, Any]:
    """Pictures a second of both numbers of workers, of each part, and whether all results are the same bytes."""
    settings = Settings.model_validate({"inspection": {"bundle": str(bundle)}})
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _record(place / "records", settings, pictures)
        runs = [
            {workers: _run(place / "records", place / f"{number}-{workers}", settings, workers) for workers in order}
            for number in range(rounds)
            for order in (_WORKERS if number % 2 == 0 else _WORKERS[::-1],)
        ]
        ratios = [each[2].per_s / each[1].per_s for each in runs]
        made: dict[str, Any] = {
            "pictures": pictures,
            "rounds": [
                {f"workers_{workers}_per_s": round(run.per_s, 1) for workers, run in each.items()} for each in runs
            ],
            **{
                f"workers_{workers}_{name}": round(statistics.median(getattr(each[workers], name) for each in runs), 2)
                for workers in _WORKERS
                for name in ("per_s", "cpu_ms")
            },
            "ratio_2_to_1": round(statistics.median(ratios), 3),
            "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
            "parts_per_s": _parts(place / "records", settings, rounds),
        }
        outs = [place / f"{number}-{workers}" for number in range(rounds) for workers in _WORKERS]
        if with_ray:
            made["ray"] = {}
            for workers in _WORKERS:
                out = place / f"ray-{workers}"
                began = time.perf_counter()
                with reinspected(Request(place / "records", out, workers=workers, ray=""), settings):
                    seconds = time.perf_counter() - began
                made["ray"][f"workers_{workers}"] = {
                    "seconds": round(seconds, 1),
                    "per_s": round(pictures / seconds, 1),
                }
                outs.append(out)
        made["same_bytes"] = len({_bytes_of(out) for out in outs}) == 1
        return made


def _record(folder: Path, settings: Settings, pictures: int) -> None:
    """The pictures of the sample line, again and again, over some days."""
    kept = {"directory": str(folder), "keep_ok_share": 1.0, "max_image_age_days": None, "max_verdict_age_days": None}
    settings = settings.model_copy(update={"record": settings.record.model_validate(kept)})
    bundle = live_bundle(settings)
    inspector = make_inspector(bundle, settings)
    shown = [decode_picture(path.read_bytes()) for path in sample_line()]
    recorder = Recorder(
        settings.record, run_info(bundle, inspector, "samples", settings), RunCounters(),
        inspector.preprocess.field_of_view, wait_when_full=True, utc_now=lambda: _START + timedelta(days=_DAYS),
    )  # fmt: skip
    for index in range(pictures):
        utc = _START + timedelta(days=_DAYS * index / pictures)
        frame = Frame(index, index, utc, "samples", shown[index % len(shown)])
        recorder.write(frame, replace(inspector.inspect(frame), anomaly_map=None))
    recorder.drain(threading.Event(), lambda left: None)
    recorder.close()


@dataclass(frozen=True)
class Run:
    """Pictures a second, and milliseconds of processor time for each; loading the bundle is in both."""

    per_s: float
    cpu_ms: float


def _run(records: Path, out: Path, settings: Settings, workers: int) -> Run:
    began = time.process_time()
    with reinspected(Request(records, out, workers=workers), settings) as made:
        return Run(made.judged / made.seconds, 1000 * (time.process_time() - began) / made.judged)


def _parts(records: Path, settings: Settings, rounds: int) -> dict[str, dict[str, float]]:
    """Pictures a second of each part alone, with one thread and with two, and its processor time; medians."""
    files = sorted((records / "images").rglob("*.png"))
    data = [path.read_bytes() for path in files]
    images = [decode_picture(each) for each in data]
    judging, _ = Judging.by(settings)
    taken: dict[str, dict[str, list[float]]] = {}
    own = "cpu_ms"
    for _ in range(rounds):
        for threads in _WORKERS:
            judges = judging.open_judges(threads)

            def scored(place: int, thread: int, judges: Sequence[Any] = judges) -> None:
                judges[thread]._inspector.backend.score(images[place], StageClock(0))

            parts: dict[str, Callable[[int, int], object]] = {
                "read_and_hash": lambda place, thread: hashlib.sha256(files[place].read_bytes()).digest(),
                "decode": lambda place, thread: decode_picture(data[place]),
                "inspector": scored,
            }
            for name, work in parts.items():
                part, began = taken.setdefault(name, {}), time.process_time()
                part.setdefault(f"threads_{threads}", []).append(_threads_rate(work, len(files), threads))
                part.setdefault(own, []).append(1000 * (time.process_time() - began) / len(files))
            for judge in judges:
                judge.close()
    return {
        name: {kind: round(statistics.median(values), 3 if kind == own else 1) for kind, values in part.items()}
        for name, part in taken.items()
    }


def _threads_rate(work: Callable[[int, int], object], count: int, threads: int) -> float:
    def share(thread: int) -> None:
        for place in range(thread, count, threads):
            work(place, thread)

    with ThreadPoolExecutor(threads) as pool:
        # the threads are there before the clock starts
        list(pool.map(lambda thread: None, range(threads)))
        began = time.perf_counter()
        list(pool.map(share, range(threads)))
        return count / (time.perf_counter() - began)


def _bytes_of(out: Path) -> bytes:
    digest = hashlib.sha256()
    for path in sorted(out.rglob("*.parquet")):
        digest.update(path.relative_to(out).as_posix().encode() + path.read_bytes())
    return digest.digest()


def text(values: dict[str, Any]) -> str:
    """The ratio, then a line for each part."""
    parts = "\n".join(
        f"{name:<14} {rates['threads_1']:>8.0f}/s with one thread, {rates['threads_2']:>8.0f}/s with two, "
        f"{rates['cpu_ms']:.2f} ms of processor time"
        for name, rates in values["parts_per_s"].items()
    )
    low, high = values["ratio_range"]
    return (
        f"{values['workers_1_per_s']} pictures/s with one worker, {values['workers_2_per_s']} with two: "
        f"{values['ratio_2_to_1']} times as many ({low} to {high}); processor time a picture "
        f"{values['workers_1_cpu_ms']} and {values['workers_2_cpu_ms']} ms\n{parts}\n"
        f"all results the same bytes: {values['same_bytes']}; Ray: {values.get('ray', 'not asked for')}"
    )


@program(
    BUNDLE,
    option("--pictures", type=int, default=400, help="pictures in the archive (default: 400)"),
    option("--rounds", type=int, default=5, help="pairs of runs (default: 5)"),
    option("--ray", action="store_true", help="also by Ray Data on this machine"),
    show=text,
    failed=lambda values: not values["same_bytes"],
)
def main(options: argparse.Namespace) -> Values:
    """Measure; fails where the results are not the same bytes."""
    if options.ray and find_spec("ray") is None:
        print("ray is not installed: pip install 'edge-inspect[fleet]'", file=sys.stderr)
        options.ray = False
    return measure(options.bundle, options.pictures, options.rounds, options.ray)


if __name__ == "__main__":
    raise SystemExit(main())
