"""benchmark: how long a frame takes, where the time goes, and what changed since."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.backends import choose_backend, usable_cores
from edge.bundles.bundle import ModelBundle
from edge.capture.sources import open_source
from edge.cli import INTERRUPTED
from edge.cli.console import show
from edge.cli.line.run import MOST_INSPECTORS, live_bundle, make_inspectors, run_info
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import U8, Frame
from edge.core.errors import UsageError
from edge.core.files.atomic_file import write_atomic
from edge.core.progress import progress_bar, say
from edge.core.redact import redact
from edge.inspection.inspector import Inspector
from edge.monitoring.sink import Sink
from edge.records.writer.recorder import Recorder

if TYPE_CHECKING:
    from benchmarks.timing.measure.cadence import Cadence
    from benchmarks.timing.measure.run import Plan

_FRAMES, _PACED_S = 1000, 60.0
_CURVE_FRAMES = 150
_ROUNDS, _ROUND_S = 8, 1.5
_ALLOCATION_FRAMES = 50


def benchmark(options: argparse.Namespace, settings: Settings) -> int:
    """Measure, show and write; 1 when --compare finds a regression, 130 when Ctrl-C cut the run short."""
    if options.compare:
        return _compare(options)
    _refuse_contradictions(options)
    bench = _Bench(options, settings)
    if options.throughput:
        report = bench.throughput()
    elif options.program:
        report = bench.program()
    elif options.curves:
        report = bench.curves()
    else:
        report = bench.latency()
    _deliver(options, report)
    return INTERRUPTED if report.get("interrupted") else 0


def _refuse_contradictions(options: argparse.Namespace) -> None:
    paced = options.cadence or options.cadence_from
    program_chooses = options.streams or options.frame_size or options.duration or options.deadline
    for given, other, what in (
        (options.soak, options.duration or options.frames, "--soak says how long, as --duration and --frames do"),
        (options.throughput, paced, "--throughput knows no cadence: it goes as fast as it can"),
        (options.throughput or options.curves or options.program, options.soak, "--soak is for one latency run"),
        (options.program, paced or program_chooses, "--program goes through a folder as the program itself does"),
        (options.program, options.page, "--program has no distribution to draw on a page"),
        (
            options.page and options.page.suffix == ".svg",
            not options.curves,
            "--page FILE.svg is the picture of --curves; other pages are .html",
        ),
        (options.curves, options.streams or options.frame_size, "--curves chooses streams and frame sizes itself"),
    ):
        if given and other:
            raise UsageError(what, fix="leave one of them out")


class _Bench:
    """The bundle on its backend, as many times as asked for, and the plan that the options make."""

    def __init__(self, options: argparse.Namespace, settings: Settings) -> None:
        from benchmarks.timing.measure.source import pictures_of

        self._options, self._settings = options, settings
        self._bundle: ModelBundle = live_bundle(settings)
        self._precision = self._bundle.precision(settings.inspection.precision)
        self._threads = settings.inspection.threads
        self._pictures = pictures_of(options.source, options.frame_size, settings.camera)
        self._backend = choose_backend(settings.inspection.backend)

    def latency(self) -> dict[str, Any]:
        from benchmarks.timing.measure.bare_engine import open_bare_engines
        from benchmarks.timing.measure.run import measure
        from benchmarks.timing.report.report import latency_report

        options = self._options
        count = options.streams or 1
        if count > 1 and self._pictures is None:
            raise UsageError(
                "--streams shows pictures several times; a camera is one stream", fix="leave --streams out"
            )
        with self._inspectors(count) as inspectors, _record_folder(self._settings, options.no_record) as records:
            cadence = self._cadence()
            plan = self._plan(cadence, records)
            engines = open_bare_engines(self._bundle, self._backend, self._precision, self._threads, count)
            with progress_bar("timing") as advance:
                measured = measure(plan, inspectors, engines, advance)
            for engine in engines:
                engine.close()
            report = latency_report(measured, options.deadline)
            if self._pictures is not None:
                report["allocations"] = self._allocations(inspectors[0], self._pictures)
        head = self._head("latency", cadence.label, count, records is not None, report.pop("frame_px"))
        return {**head, "interrupted": measured.interrupted, **report}

    def throughput(self) -> dict[str, Any]:
        from benchmarks.timing.measure.bare_engine import open_flood
        from benchmarks.timing.measure.throughput import measure_throughput

        pictures = self._files_only("--throughput")
        count = self._options.streams or min(MOST_INSPECTORS, self._threads or usable_cores())
        seconds = self._options.duration / (2 * _ROUNDS) if self._options.duration else _ROUND_S
        with self._inspectors(count) as inspectors, progress_bar("rounds") as advance:
            flood = open_flood(self._bundle, self._backend, self._precision, self._threads, count)
            report = measure_throughput(pictures, inspectors, flood, self._settings, _ROUNDS, seconds, advance)
            flood.close()
        return {**self._head("throughput", "as fast as it goes", 1, False, pictures[0].shape[:2]), **report}

    def program(self) -> dict[str, Any]:
        from benchmarks.timing.report.program_run import demo_folder, measure_program

        options, pictures = self._options, self._files_only("--program")
        demo = options.source.strip() == "demo"
        count = options.frames or (_FRAMES if demo else None)
        given = ["--bundle", str(self._bundle.path), "--backend", self._backend, "--precision", self._precision]
        given += ["--uncalibrated"] * options.uncalibrated + ["--config", str(options.config)] * bool(options.config)
        with (
            _record_folder(self._settings, options.no_record) as records,
            tempfile.TemporaryDirectory() as empty,
            progress_bar("timing the program") as advance,
        ):
            source = str(demo_folder(Path(empty), count)) if demo and count else options.source
            given += ["--camera", source, *(["--frames", str(count)] if count else [])]
            given += ["--no-record"] if records is None else ["--record-dir", str(records / "records")]
            found = measure_program(given, count, advance)
        frame_px = pictures[0].shape[:2]
        return {**self._head("program", "as fast as it goes", 1, records is not None, frame_px), **found}

    def curves(self) -> dict[str, Any]:
        from benchmarks.timing.measure.cadence import BACK_TO_BACK
        from benchmarks.timing.measure.run import Plan
        from benchmarks.timing.report.curves import measure_curves

        pictures = self._files_only("--curves")
        counts = sorted({1, 2, usable_cores(), 2 * usable_cores()})
        plan = Plan(self._settings, pictures, self._options.source, frames=self._options.frames or _CURVE_FRAMES)

        def inspectors(count: int) -> Sequence[Inspector]:
            return make_inspectors(self._bundle, self._settings, count)

        with progress_bar("points") as advance:
            found = measure_curves(
                self._bundle, self._backend, self._precision, self._threads, plan, inspectors, counts, advance
            )
        return {
            **self._head("curves", BACK_TO_BACK.label, 1, False, pictures[0].shape[:2]),
            **found,
        }

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
        from benchmarks.timing.measure.cadence import BACK_TO_BACK, Cadence, cadence_from_records, cadence_from_text

        options = self._options
        if self._pictures is None:
            if options.cadence or options.cadence_from or options.frame_size:
                raise UsageError(
                    f"{redact(options.source)} is a camera, which has its own pace and frame size",
                    fix="leave --cadence and --frame-size out, or give pictures as --source",
                )
            return Cadence("as the camera has it")
        if options.cadence_from:
            return cadence_from_records(options.cadence_from)
        return cadence_from_text(options.cadence) if options.cadence else BACK_TO_BACK

    def _plan(self, cadence: Cadence, records: Path | None) -> Plan:
        from benchmarks.timing.measure.run import Plan

        options, settings = self._options, self._settings
        duration_s = options.soak or options.duration
        if options.frames is None and duration_s is None and (options.cadence or options.cadence_from):
            duration_s = _PACED_S
        frames = options.frames if options.frames or duration_s else _FRAMES
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
            options.source,
            cadence,
            frames,
            duration_s,
            options.warm_up,
            None if self._pictures is not None else lambda: open_source(options.source, camera),
            sinks_for,
        )

    def _allocations(self, inspector: Inspector, pictures: Sequence[U8]) -> dict[str, Any]:
        from benchmarks.timing.measure.usage import allocations

        def inspect(index: int) -> None:
            image = pictures[index % len(pictures)]
            inspector.inspect(Frame(index, time.perf_counter_ns(), datetime.now(timezone.utc), "pictures", image))

        return allocations(inspect, _ALLOCATION_FRAMES)

    def _head(self, mode: str, cadence: str, streams: int, records: bool, frame_px: Sequence[int]) -> dict[str, Any]:
        from benchmarks.timing.measure.machine import machine_facts

        manifest = self._bundle.manifest
        return {
            "mode": mode,
            "bundle": {
                "method": manifest.method,
                "variant": manifest.variant,
                "product": manifest.product,
                "network_px": self._bundle.preprocess.size,
                "map_scale": manifest.score.map_scale,
            },
            "run": {
                "bundle_sha256": self._bundle.sha256,
                "engine_sha256": self._bundle.engine_sha256(self._precision),
                "backend": self._backend,
                "precision": self._precision,
                "threads": self._threads,
                "source": redact(self._options.source),
                "frame_px": list(frame_px),
                "cadence": cadence,
                "streams": streams,
                "records": records,
                "soak": self._options.soak is not None,
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


def _deliver(options: argparse.Namespace, report: dict[str, Any]) -> None:
    from benchmarks.results_file import json_text, write_result
    from benchmarks.timing.report.page import curves_picture, report_page
    from benchmarks.timing.report.table import curves_table, latency_table, program_table, throughput_table

    tables: dict[str, Callable[[dict[str, Any]], Any]] = {
        "latency": latency_table,
        "throughput": throughput_table,
        "curves": curves_table,
        "program": program_table,
    }
    if options.json:
        print(json_text(report))
    else:
        show(tables[report["mode"]](report))
    try:
        if options.out:
            write_result(options.out, shlex.join(["edge-inspect", *map(redact, sys.argv[1:])]), report)
        if options.page:
            options.page.parent.mkdir(parents=True, exist_ok=True)
            draw = curves_picture if options.page.suffix == ".svg" else report_page
            write_atomic(options.page, draw(report).encode())
            say(f"distributions and timeline: {options.page}")
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}", fix="give a file that can be written") from error


def _compare(options: argparse.Namespace) -> int:
    from benchmarks.timing.report.regression import compare_reports
    from benchmarks.timing.report.table import comparison_table

    before, after = (_report(path) for path in options.compare)
    comparison = compare_reports(before, after, options.limit, across=options.across)
    if options.json:
        print(json.dumps(comparison.as_json(), indent=1))
    else:
        show(comparison_table(comparison))
    return 1 if comparison.regressed else 0


def _report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", fix="give a file written with --out") from error
    except ValueError as error:
        raise UsageError(f"{path}: not a report: {error}", fix="give a file written with --out") from error
    if not isinstance(report, dict):
        raise UsageError(f"{path}: not a report", fix="give a file written with --out")
    return report
