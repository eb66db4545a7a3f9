"""run, demo: put a camera, a model and the sinks together, and take them apart again."""

from __future__ import annotations

import argparse
import logging
import queue
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from edge.backends import GPU_BACKENDS, open_backends, target_of, usable_cores
from edge.bundles.bundle import Calibration, ModelBundle
from edge.bundles.signature import require_signature, trusted_bundle
from edge.bundles.versions import find_version
from edge.capture.capture import Capture
from edge.capture.sources import names_files, open_source
from edge.cli import INTERRUPTED, UNRECORDED
from edge.cli.line.parts import supply_of
from edge.cli.process_end import leave
from edge.cli.regions import region_of_interest
from edge.cli.stop_signals import StopRequests, stop_requests
from edge.core.alarms import Alarm
from edge.core.config import RoiSettings, Settings
from edge.core.counters import RunCounters
from edge.core.errors import BundleError, CalibrationMismatch
from edge.core.progress import working
from edge.inspection.hot_swap import HotSwap
from edge.inspection.inspector import Inspector
from edge.inspection.inspector_pool import InspectorPool
from edge.inspection.loop import run_loop
from edge.inspection.readiness import readiness_monitor, require_challenge
from edge.monitoring.drift_monitor import DriftMonitor, WatchedBundle
from edge.monitoring.json_lines import JsonLines
from edge.monitoring.live_view import LiveView, PlainView, ViewTitle
from edge.monitoring.run_statistics import RunStatistics, run_summary
from edge.monitoring.sink import Sink
from edge.records.disk_outlook import outlook_line
from edge.records.store import RunInfo
from edge.records.writer.recorder import Recorder
from edge.samples import sample_bundle

# each holds buffers of its own; beyond a few, reading the pictures is what limits the rate
MOST_INSPECTORS = 4


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Inspect until the source ends, a limit is reached or a signal comes; 0, 130 after a signal, 5 when verdicts are
    neither on record nor delivered as they should be."""
    bundle = live_bundle(settings)
    with working("loading the model, and making it ready for this processor"):
        pool = InspectorPool(make_inspectors(bundle, settings, inspectors_for(options, settings)))
    inspector = pool.inspectors[0]
    counters, statistics = RunCounters(), RunStatistics()
    require_challenge(bundle, inspector.backend.engine_sha256, options.camera, settings)
    with working("waiting for the camera to answer"):
        capture = opened_capture(options.camera, settings, counters)
    info = run_info(bundle, inspector, capture.name, settings)
    title = ViewTitle(info.source, bundle.manifest.product, f"{info.backend} {info.precision}")
    with stop_requests() as requests:
        view_of_run = _view(settings, title, counters, statistics)
        sinks = [view_of_run]
        recorder = None
        if settings.record.directory is not None:
            view = inspector.preprocess.field_of_view
            recorder = Recorder(settings.record, info, counters, view, wait_when_full=not capture.live)
            sinks.append(recorder)
        tell = _teller(recorder, redrawn=isinstance(view_of_run, LiveView))
        # before the recorder, so that their last alarms are recorded when all are closed
        sinks.insert(1, drift_monitor(bundle, settings, counters, tell))
        readiness = readiness_monitor(options.camera, settings, counters, tell)
        if readiness is not None:
            sinks.insert(1, readiness)
        if options.json:
            filed = (lambda: None) if recorder is None else (lambda: recorder.filed)
            broken = _without_a_reader(settings.record.directory, requests)
            sinks.append(JsonLines(sys.stdout, counters, broken, filed))
        watch = _watch(bundle, pool, counters, settings)
        sinks.append(watch)
        try:
            finished = run_loop(
                supply_of(capture, options.camera, settings, bundle, counters),
                pool,
                sinks,
                settings,
                counters,
                stop=requests.stop,
                max_frames=1 if options.once else options.frames,
                duration_s=options.duration,
            )
        finally:
            capture.close()
            for sink in sinks:
                if sink is not recorder:
                    sink.close()
            if recorder is not None:
                _save_what_waits(recorder, requests)
    records = settings.record.directory
    print(run_summary(statistics, counters, records), file=sys.stderr)
    if outlook := outlook_line(settings.record, datetime.now(timezone.utc)):
        print(outlook, file=sys.stderr)
    unrecorded = recorder is not None and counters.recorded < counters.frames
    code = INTERRUPTED if requests.interrupted else 0
    code = UNRECORDED if unrecorded or counters.undelivered else code
    if not finished or watch.busy:
        # what does not return, a model or a reader of standard output, would also hold up the interpreter's own end
        leave(code)
    pool.close_retired()
    for each in pool.inspectors:
        each.backend.close()
    return code


def live_bundle(settings: Settings) -> ModelBundle:
    """The bundle as it is now, if it may run with these settings."""
    bundle = trusted_bundle(bundle_path(settings), _public_key(settings))
    check_region(bundle, settings)
    check_align(bundle, settings)
    return bundle


def _watch(bundle: ModelBundle, pool: InspectorPool, counters: RunCounters, settings: Settings) -> HotSwap:
    key = _public_key(settings)

    def trust(version: ModelBundle) -> None:
        if key is not None:
            require_signature(version, key)

    return HotSwap(
        bundle,
        pool,
        counters,
        load=lambda: live_bundle(settings),
        trust=trust,
        open_inspectors=lambda version, count: make_inspectors(version, settings, count),
    )


def _public_key(settings: Settings) -> Path | None:
    signed_by = settings.inspection.signed_by
    return None if signed_by is None else Path(signed_by)


def opened_capture(camera: str, settings: Settings, counters: RunCounters) -> Capture:
    """Made in a thread of its own: a camera that does not answer must not keep Ctrl-C waiting."""
    made: queue.SimpleQueue[Capture | BaseException] = queue.SimpleQueue()

    def work() -> None:
        try:
            made.put(
                Capture(lambda: open_source(camera, settings.camera), settings.camera, settings.freshness, counters)
            )
        # raised again in the caller's thread
        except BaseException as error:  # noqa: BLE001
            made.put(error)

    threading.Thread(target=work, name="open camera", daemon=True).start()
    result = made.get()
    if isinstance(result, BaseException):
        raise result
    return result


def bundle_path(settings: Settings) -> Path:
    """The bundle of the settings, else the shipped one."""
    return Path(settings.inspection.bundle) if settings.inspection.bundle else sample_bundle()


def inspectors_for(options: argparse.Namespace, settings: Settings) -> int:
    """How many pictures are inspected at the same time: one of a live or paced source, for the shortest wait; files
    as fast as they go, with one core for each picture. A GPU is one."""
    if settings.inspection.backend in GPU_BACKENDS:
        return 1
    if not names_files(options.camera) or settings.camera.fps is not None or options.once:
        return 1
    return min(MOST_INSPECTORS, settings.inspection.threads or usable_cores())


def make_inspector(bundle: ModelBundle, settings: Settings) -> Inspector:
    """Open the backend and take the thresholds that were fitted on it."""
    return make_inspectors(bundle, settings, 1)[0]


def make_inspectors(bundle: ModelBundle, settings: Settings, count: int) -> list[Inspector]:
    """Inspectors for `count` threads, which share the processor's cores."""
    inspection = settings.inspection
    precision, calibration = _precision_and_calibration(bundle, settings)
    backends = open_backends(
        bundle, inspection.backend, precision, inspection.threads, count,
        uncalibrated=inspection.uncalibrated, engines=inspection.engines_folder, maps=False,
    )  # fmt: skip
    caveat, running = "", backends[0].engine_sha256
    if running != calibration.engine_sha256:
        caveat = f"UNCALIBRATED: statistics are of engine {calibration.engine_sha256[:12]}, this is {running[:12]}"
    return [
        Inspector(
            backend,
            bundle.preprocess,
            calibration.threshold,
            calibration.pixel_threshold,
            bundle.sha256,
            caveat,
            calibration.review_threshold,
        )
        for backend in backends
    ]


def _precision_and_calibration(bundle: ModelBundle, settings: Settings) -> tuple[str, Calibration]:
    """What runs with these settings, and the statistics that it is judged by."""
    inspection = settings.inspection
    target = target_of(inspection.backend)
    precision = bundle.precision(inspection.precision, target)
    return precision, bundle.calibration(precision, target=target, uncalibrated=inspection.uncalibrated)


def check_region(bundle: ModelBundle, settings: Settings) -> None:
    """Raise CalibrationMismatch when the settings ask for another region of interest than the bundle's."""
    wanted = region_of_interest(settings.roi)
    roi = bundle.manifest.preprocess
    if settings.roi != RoiSettings() and wanted != (roi.rectangle, roi.polygon):
        raise CalibrationMismatch(
            f"the settings ask for roi rectangle {wanted[0]}, polygon {wanted[1]}; {bundle.path} is calibrated for "
            f"rectangle {roi.rectangle}, polygon {roi.polygon}",
            fix="run `edge-inspect calibrate` with these settings, or remove `roi` from them to use the bundle's",
        )


def check_align(bundle: ModelBundle, settings: Settings) -> None:
    """Raise CalibrationMismatch when the settings ask for another alignment than the bundle's."""
    wanted, align = settings.align.mode, bundle.manifest.preprocess.align
    made_for = "none" if align is None else align.mode
    if wanted is not None and wanted != made_for:
        raise CalibrationMismatch(
            f"the settings ask for align mode {wanted}; {bundle.path} is calibrated for {made_for}",
            fix="run `edge-inspect calibrate --align MODE`, or remove `align` from the settings to use the bundle's",
        )


def run_info(bundle: ModelBundle, inspector: Inspector, source: str, settings: Settings) -> RunInfo:
    """What the records say of this run."""
    return RunInfo(
        source=source,
        bundle_path=str(bundle.path.resolve()),
        bundle_sha256=bundle.sha256,
        engine_sha256=inspector.backend.engine_sha256,
        backend=inspector.backend.name,
        precision=bundle.precision(settings.inspection.precision, target_of(settings.inspection.backend)),
        threshold=inspector.threshold,
        pixel_threshold=inspector.pixel_threshold,
        preprocess_sha256=bundle.preprocess.sha256,
        config=settings.record_json(),
    )


def drift_monitor(
    bundle: ModelBundle, settings: Settings, counters: RunCounters, on_alarm: Callable[[Alarm], None]
) -> DriftMonitor:
    """The watch on drift and bursts; parts of each version are compared with what that version was calibrated on."""

    def watched(version: ModelBundle) -> WatchedBundle:
        _, calibration = _precision_and_calibration(version, settings)
        return WatchedBundle(version.preprocess, version.drift_reference(), calibration.scores, calibration.threshold)

    def bundle_of(sha256: str) -> WatchedBundle | None:
        if sha256 == bundle.sha256:
            return first
        try:
            return watched(find_version(bundle.path, sha256))
        except BundleError as error:
            logging.getLogger("edge.monitoring.drift").warning(
                "nothing to compare version %s with: %s", sha256[:12], error
            )
            return None

    # here, so that a damaged bundle is refused before the first part
    first = watched(bundle)
    return DriftMonitor(settings.drift, settings.burst, bundle_of, counters, on_alarm)


def _teller(recorder: Recorder | None, *, redrawn: bool) -> Callable[[Alarm], None]:
    """What becomes of an alarm: it goes on record and, unless a view is redrawn there, to standard error."""

    def tell(alarm: Alarm) -> None:
        if recorder is not None:
            recorder.note(alarm)
        if not redrawn:
            print(f"ALARM {alarm.text()}", file=sys.stderr, flush=True)

    return tell


def _view(settings: Settings, title: ViewTitle, counters: RunCounters, statistics: RunStatistics) -> Sink:
    """The view that the settings and the terminal allow; each fills the statistics for the summary."""
    live = settings.view.live
    if live in ("on", True) or (live == "auto" and sys.stderr.isatty()):
        return LiveView(title, counters, statistics, settings.view.refresh_per_second)
    return statistics if live in ("off", False) else PlainView(counters, statistics, sys.stderr)


def _without_a_reader(records: str | None, requests: StopRequests) -> Callable[[str], None]:
    """What to do when standard output takes no more verdicts: go on where they are recorded, else end."""

    def tell(why: str) -> None:
        then = f"inspection goes on, verdicts are recorded in {records}; Ctrl-C ends it"
        if records is None:
            then = "inspection ends, as verdicts are recorded nowhere"
            requests.stop.set()
        print(f"edge-inspect: standard output takes no more verdicts, {why}: {then}", file=sys.stderr)

    return tell


def _save_what_waits(recorder: Recorder, requests: StopRequests) -> None:
    requests.saving()
    again = " again" if requests.interrupted else ""

    def tell(what: str) -> None:
        print(f"edge-inspect: saving, {what} left; Ctrl-C{again} gives them up", file=sys.stderr, flush=True)

    recorder.drain(requests.give_up, tell)
    recorder.close()
