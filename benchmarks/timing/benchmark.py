"""`edge-inspect benchmark`: how long a frame takes, where the time goes, how many frames fit, and how that grows."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.results_file import write_result
from benchmarks.timing.measure.bare_engine import open_bare_engines, open_flood
from benchmarks.timing.measure.cadence import BACK_TO_BACK, Cadence, cadence_from_records, cadence_from_text
from benchmarks.timing.measure.machine import machine_facts
from benchmarks.timing.measure.plant_cost import measure_cost
from benchmarks.timing.measure.plc_times import measure_times
from benchmarks.timing.measure.run import Plan, measure
from benchmarks.timing.measure.source import pictures_of
from benchmarks.timing.measure.throughput import measure_throughput
from benchmarks.timing.measure.usage import allocations
from benchmarks.timing.report.curves import measure_curves
from benchmarks.timing.report.page import curves_picture, report_page
from benchmarks.timing.report.program_run import demo_folder, measure_program
from benchmarks.timing.report.report import latency_report
from edge.backends import choose_backend, usable_cores
from edge.bundles.bundle import ModelBundle
from edge.capture.sources import open_source
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import U8, Frame
from edge.core.errors import UsageError
from edge.core.files.atomic_file import write_atomic
from edge.core.progress import progress_bar, say
from edge.core.redact import redact
from edge.inspection.inspector import Inspector
from edge.inspection.inspectors import MOST_INSPECTORS, live_bundle, make_inspectors, run_info
from edge.monitoring.sink import Sink
from edge.records.writer.recorder import Recorder

_FRAMES, _PACED_S = 1000, 60.0
_CURVE_FRAMES = 150
_ROUNDS, _ROUND_S = 8, 1.5
_ALLOCATION_FRAMES = 50
# what PLC and outputs may cost: time with them over time without them, medians of neighbouring blocks
PLC_LIMIT = 1.03
_PLC_CADENCE, _PLC_BLOCK, _PARTS_A_PAIR, _PLC_RATES = "10/s", 40, 25, (1.0, 5.0, 20.0)


@dataclass(frozen=True)
class BenchmarkRequest:
    """What is timed; latency, unless throughput, program or curves are asked for.

    source: as for `run`. frame_size: (height, width) that pictures are made to. cadence: such as 2.5/s; cadence_from: a
    folder of records. deadline: milliseconds. duration, soak: seconds. unrecorded: keep no records, not even temporary
    ones. page: the suffix of the page that is wanted. uncalibrated, config: as for `run`, handed on to the program.
    """

    source: str
    frame_size: tuple[int, int] | None = None
    cadence: str | None = None
    cadence_from: Path | None = None
    deadline: float | None = None
    streams: int | None = None
    frames: int | None = None
    duration: float | None = None
    soak: float | None = None
    warm_up: int = 20
    throughput: bool = False
    program: bool = False
    curves: bool = False
    plc: bool = False
    unrecorded: bool = False
    page: str | None = None
    uncalibrated: bool = False
    config: Path | None = None


def run_benchmark(request: BenchmarkRequest, settings: Settings) -> dict[str, Any]:
    """The report; `interrupted` in it is true when Ctrl-C cut the run short. Raises UsageError and BundleError."""
    _refuse_contradictions(request)
    bench = _Bench(request, settings)
    if request.throughput:
        return bench.throughput()
    if request.program:
        return bench.program()
    if request.plc:
        return bench.plc()
    return bench.curves() if request.curves else bench.latency()


def write_report(report: dict[str, Any], command: str, out: Path | None, page: Path | None) -> None:
    """out: the figures as JSON, to compare later. page: distributions and timeline as HTML, of curves also .svg.

    Raises UsageError where a file cannot be written.
    """
    try:
        if out is not None:
            write_result(out, command, report)
        if page is not None:
            page.parent.mkdir(parents=True, exist_ok=True)
            draw = curves_picture if page.suffix == ".svg" else report_page
            write_atomic(page, draw(report).encode())
            say(f"distributions and timeline: {page}")
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}", fix="give a file that can be written") from error


def read_report(path: Path) -> dict[str, Any]:
    """A report that `write_report` wrote; raises UsageError."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", fix="give a file written with --out") from error
    except ValueError as error:
        raise UsageError(f"{path}: not a report: {error}", fix="give a file written with --out") from error
    if not isinstance(report, dict):
        raise UsageError(f"{path}: not a report", fix="give a file written with --out")
    return report


def _refuse_contradictions(request: BenchmarkRequest) -> None:
    paced = request.cadence or request.cadence_from
    program_chooses = request.streams or request.frame_size or request.duration or request.deadline
    for given, other, what in (
        (request.soak, request.duration or request.frames, "--soak says how long, as --duration and --frames do"),
        (request.throughput, paced, "--throughput knows no cadence: it goes as fast as it can"),
        (request.throughput or request.curves or request.program, request.soak, "--soak is for one latency run"),
        (request.program, paced or program_chooses, "--program goes through a folder as the program itself does"),
        (request.program, request.page, "--program has no distribution to draw on a page"),
        (request.plc, paced or program_chooses or request.page, "--plc chooses how parts come, and draws no page"),
        (
            request.page == ".svg",
            not request.curves,
            "--page FILE.svg is the picture of --curves; other pages are .html",
        ),
        (request.curves, request.streams or request.frame_size, "--curves chooses streams and frame sizes itself"),
    ):
        if given and other:
            raise UsageError(what, fix="leave one of them out")


class _Bench:
    """The bundle on its backend, as many times as asked for, and the plan that is asked for."""

    def __init__(self, request: BenchmarkRequest, settings: Settings) -> None:
        self._request, self._settings = request, settings
        self._bundle: ModelBundle = live_bundle(settings)
        self._precision = self._bundle.precision(settings.inspection.precision)
        self._threads = settings.inspection.threads
        self._pictures = pictures_of(request.source, request.frame_size, settings.camera)
        self._backend = choose_backend(settings.inspection.backend)

    def latency(self) -> dict[str, Any]:
        request = self._request
        count = request.streams or 1
        if count > 1 and self._pictures is None:
            raise UsageError(
                "--streams shows pictures several times; a camera is one stream", fix="leave --streams out"
            )
        with self._inspectors(count) as inspectors, _record_folder(self._settings, request.unrecorded) as records:
            cadence = self._cadence()
            plan = self._plan(cadence, records)
            engines = open_bare_engines(self._bundle, self._backend, self._precision, self._threads, count)
            with progress_bar("timing") as advance:
                measured = measure(plan, inspectors, engines, advance)
            for engine in engines:
                engine.close()
            report = latency_report(measured, request.deadline)
            if self._pictures is not None:
                report["allocations"] = self._allocations(inspectors[0], self._pictures)
        head = self._head("latency", cadence.label, count, records is not None, report.pop("frame_px"))
        return {**head, "interrupted": measured.interrupted, **report}

    def throughput(self) -> dict[str, Any]:
        pictures = self._files_only("--throughput")
        count = self._request.streams or min(MOST_INSPECTORS, self._threads or usable_cores())
        seconds = self._request.duration / (2 * _ROUNDS) if self._request.duration else _ROUND_S
        with self._inspectors(count) as inspectors, progress_bar("rounds") as advance:
            flood = open_flood(self._bundle, self._backend, self._precision, self._threads, count)
            report = measure_throughput(pictures, inspectors, flood, self._settings, _ROUNDS, seconds, advance)
            flood.close()
        return {**self._head("throughput", "as fast as it goes", 1, False, pictures[0].shape[:2]), **report}

    def program(self) -> dict[str, Any]:
        request, pictures = self._request, self._files_only("--program")
        demo = request.source.strip() == "demo"
        count = request.frames or (_FRAMES if demo else None)
        given = ["--bundle", str(self._bundle.path), "--backend", self._backend, "--precision", self._precision]
        given += ["--uncalibrated"] * request.uncalibrated + ["--config", str(request.config)] * bool(request.config)
        with (
            _record_folder(self._settings, request.unrecorded) as records,
            tempfile.TemporaryDirectory() as empty,
            progress_bar("timing the program") as advance,
        ):
            source = str(demo_folder(Path(empty), count)) if demo and count else request.source
            given += ["--camera", source, *(["--frames", str(count)] if count else [])]
            given += ["--no-record"] if records is None else ["--record-dir", str(records / "records")]
            found = measure_program(given, count, advance)
        frame_px = pictures[0].shape[:2]
        return {**self._head("program", "as fast as it goes", 1, records is not None, frame_px), **found}

    def curves(self) -> dict[str, Any]:
        pictures = self._files_only("--curves")
        counts = sorted({1, 2, usable_cores(), 2 * usable_cores()})
        plan = Plan(self._settings, pictures, self._request.source, frames=self._request.frames or _CURVE_FRAMES)

        def inspectors(count: int) -> Sequence[Inspector]:
            return make_inspectors(self._bundle, self._settings, count)

        with progress_bar("points") as advance:
            found = measure_curves(
                self._bundle, self._backend, self._precision, self._threads, plan, inspectors, counts, advance
            )
        return {**self._head("curves", BACK_TO_BACK.label, 1, False, pictures[0].shape[:2]), **found}

    def plc(self) -> dict[str, Any]:
        pictures, parts = self._files_only("--plc"), self._request.frames or _FRAMES
        settings = self._settings
        with progress_bar("with and without PLC and outputs") as advance:
            cost = measure_cost(settings, pictures, _PLC_CADENCE, max(1, parts // _PARTS_A_PAIR), _PLC_BLOCK, advance)
        given = settings.model_dump(mode="json", exclude_defaults=True)
        with progress_bar("trigger to result") as advance:
            times = measure_times(self._bundle.path, given, pictures, _PLC_RATES, parts, advance)
        failed = cost["ratio_of_medians"]["median_of_pairs"] > PLC_LIMIT or any(each["troubles"] for each in times)
        head = self._head("plc", cost["cadence"], 1, True, pictures[0].shape[:2])
        return {**head, "limit": PLC_LIMIT, "failed": failed, "cost": cost, "trigger_to_result": times}

    @contextmanager
    def _inspectors(self, count: int) -> Iterator[list[Inspector]]:
        made = make_inspectors(self._bundle, self._settings, count)
        try:
            yield made
        finally:
            for each in made:
                each.backend.close()

    def _files_only(self, option: str) -> list[U8]:
        if self._pictures is None:
            raise UsageError(f"{option} needs pictures: a camera sets its own pace", fix="give a folder as --source")
        return self._pictures

    def _cadence(self) -> Cadence:
        request = self._request
        if self._pictures is None:
            if request.cadence or request.cadence_from or request.frame_size:
                raise UsageError(
                    f"{redact(request.source)} is a camera, which has its own pace and frame size",
                    fix="leave --cadence and --frame-size out, or give pictures as --source",
                )
            return Cadence("as the camera has it")
        if request.cadence_from:
            return cadence_from_records(request.cadence_from)
        return cadence_from_text(request.cadence) if request.cadence else BACK_TO_BACK

    def _plan(self, cadence: Cadence, records: Path | None) -> Plan:
        request, settings = self._request, self._settings
        duration_s = request.soak or request.duration
        if request.frames is None and duration_s is None and (request.cadence or request.cadence_from):
            duration_s = _PACED_S
        frames = request.frames if request.frames or duration_s else _FRAMES
        camera = settings.camera

        def sinks_for(inspector: Inspector, counters: RunCounters, source: str) -> Sequence[Sink]:
            if records is None:
                return ()
            # a store has one writer, and each camera's program its own store
            folder = tempfile.mkdtemp(dir=records)
            record = settings.record.model_copy(update={"directory": folder})
            info = run_info(self._bundle, inspector, source, settings)
            return (Recorder(record, info, counters, inspector.preprocess.field_of_view),)

        return Plan(
            settings,
            self._pictures or (),
            request.source,
            cadence,
            frames,
            duration_s,
            request.warm_up,
            None if self._pictures is not None else lambda: open_source(request.source, camera),
            sinks_for,
        )

    def _allocations(self, inspector: Inspector, pictures: Sequence[U8]) -> dict[str, Any]:
        def inspect(index: int) -> None:
            image = pictures[index % len(pictures)]
            inspector.inspect(Frame(index, time.perf_counter_ns(), datetime.now(timezone.utc), "pictures", image))

        return allocations(inspect, _ALLOCATION_FRAMES)

    def _head(self, mode: str, cadence: str, streams: int, records: bool, frame_px: Sequence[int]) -> dict[str, Any]:
        manifest = self._bundle.manifest
        return {
            "mode": mode,
            "bundle": {
                "method": manifest.method,
                "variant": manifest.variant,
                "product": manifest.product,
                "network_px": list(self._bundle.preprocess.shape),
                "map_scale": manifest.score.map_scale,
            },
            "run": {
                "bundle_sha256": self._bundle.sha256,
                "engine_sha256": self._bundle.model_sha256(self._precision),
                "backend": self._backend,
                "precision": self._precision,
                "threads": self._threads,
                "source": redact(self._request.source),
                "frame_px": list(frame_px),
                "cadence": cadence,
                "streams": streams,
                "records": records,
                "soak": self._request.soak is not None,
            },
            "machine": machine_facts(),
        }


@contextmanager
def _record_folder(settings: Settings, no_record: bool) -> Iterator[Path | None]:
    """A folder for records that is gone afterwards, on the disk where the line's records lie."""
    if no_record or settings.record.directory is None:
        yield None
        return
    beside = Path(settings.record.directory).absolute().parent
    try:
        made = tempfile.TemporaryDirectory(prefix="benchmark-records-", dir=beside, ignore_cleanup_errors=True)
    except OSError as error:
        raise UsageError(
            f"{beside}: {error.strerror}: temporary records belong on the disk of the line's records",
            fix="start where you may write, or give --no-record",
        ) from error
    with made as folder:
        yield Path(folder)
