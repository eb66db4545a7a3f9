"""One run of a line: camera, inspectors and sinks are put together from the settings, and taken apart again."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from edge.backends import target_of
from edge.bundles.bundle import ModelBundle
from edge.capture.capture import Capture, FiredFrames, FrameSupply, OrderedFrames
from edge.capture.part_file import IdentifiedFrames, PartFile
from edge.capture.triggers.line_supply import line_supply, opened_capture
from edge.capture.triggers.part_trigger import PartTrigger
from edge.core.alarms import Alarm
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import U8
from edge.core.files.text_names import storable
from edge.core.progress import working
from edge.inspection.challenges.readiness import change_not_ready, readiness_monitor, require_challenge
from edge.inspection.device_watch import DeviceWatch
from edge.inspection.drift_watch import drift_monitor
from edge.inspection.inspectors import inspectors_for, line_recipes, run_info
from edge.inspection.loop import run_loop
from edge.inspection.recipes.opening import Following, LoadedRecipe, Opening, first_pool, version_watch
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.json_lines import JsonLines
from edge.monitoring.live_view import LiveView, PlainView, ViewTitle
from edge.monitoring.poller import Poller
from edge.monitoring.run_statistics import RunStatistics, run_summary
from edge.monitoring.sink import Sink
from edge.plant.outputs import LineOutputs, line_outputs, line_signals, require_packages
from edge.plant.preview import PreviewFile
from edge.plant.state import LineInfo
from edge.records.disk_outlook import outlook_line
from edge.records.writer.pictures import FieldOfViewOf
from edge.records.writer.recorder import Recorder
from edge.system.service.journal import with_level, writes_to_journal
from edge.system.service.notify import ServiceManager
from edge.system.stop_signals import StopRequests

if TYPE_CHECKING:
    from edge.bundles.recipes import Recipe
    from edge.capture.group.cameras import CameraGroup
    from edge.inspection.group.opening import GroupVersions
    from edge.inspection.hot_swap import HotSwap
    from edge.inspection.inspector import Inspector
    from edge.inspection.recipes.change import Recipes
    from edge.plant.signals import LineSignals

# a bundle → whether a picture shows a place without a part; None where the bundle does not know that
EmptyPlaceOf = Callable[[ModelBundle], Callable[[U8], bool] | None]


@dataclass(frozen=True)
class RunRequest:
    """What is inspected, and until when. json_lines: where every verdict is written as a line of JSON."""

    camera: str
    max_frames: int | None = None
    duration_s: float | None = None
    json_lines: TextIO | None = None


@dataclass(frozen=True)
class RunResult:
    """summary: for a person. unrecorded: verdicts are not on record, or were not taken by the reader of JSON lines.

    hangs: a model or a reader does not return. It would also hold up the interpreter's own end: end the process.
    start_again: the run ended because its device needs a new process; everything is on record.
    """

    summary: tuple[str, ...]
    unrecorded: bool
    hangs: bool
    start_again: bool


class Line:
    """A line whose bundle is loaded and whose camera answers. `run` it once, then `close` it.

    Raises CameraError, BundleError, CalibrationMismatch, and ChallengeError where the line is not ready for its shift.
    """

    def __init__(self, request: RunRequest, settings: Settings, empty_place_of: EmptyPlaceOf) -> None:
        require_packages(settings)
        self._book = line_recipes(settings)
        self._recipe = None if self._book is None else self._book.start
        settings = settings if self._recipe is None else self._recipe.applied_to(settings)
        self._request, self._settings, self._empty_place_of = request, settings, empty_place_of
        count = 1 if request.max_frames == 1 else inspectors_for(request.camera, settings)
        self._group = None
        with working("loading the model, and making it ready for this processor"):
            if settings.group.cameras:
                # a line with one camera loads none of it
                from edge.inspection.group.opening import open_group

                self._group, self._seen = open_group(settings, count), None
                self._bundle, self._pool = self._group.bundles[0].bundle, self._group.pool
            else:
                self._bundle, self._seen, self._pool = first_pool(settings, count, self._recipe)
        self._inspector = self._pool.inspectors[0]
        self._recipes: Recipes | None = None
        self._outputs: LineOutputs | None = None
        self._signals: LineSignals | None = None
        self._counters, self._statistics = RunCounters(), RunStatistics()
        of_cameras = [settings.of_camera(name) for name in settings.group.names] or [settings]
        for own, (bundle, inspector) in zip(of_cameras, self._judging, strict=True):
            require_challenge(bundle, inspector.backend.model_sha256, request.camera, own)
        # before the camera, whose first frames have their part, too
        self._part_file = None if settings.part_file is None else PartFile(settings.part_file)
        try:
            with working("waiting for the camera to answer"):
                self._capture, self._supply = self._opened_supply()
        except BaseException:
            self._close_part_file()
            raise
        self._part_trigger = self._supply if isinstance(self._supply, PartTrigger) else None
        self._ordered = self._supply if isinstance(self._supply, OrderedFrames) else None
        # with trigger.mode `plc`: the PLC calls its `fire`
        self._triggered = self._supply if isinstance(self._supply, FiredFrames) else None
        if self._part_file is not None:
            self._supply = IdentifiedFrames(self._supply, self._part_file.part_at)

    def _opened_supply(self) -> tuple[Capture | CameraGroup, FrameSupply]:
        """The camera, or those of the group, and what stands before them for each trigger."""
        settings, counters = self._settings, self._counters
        if settings.group.cameras:
            from edge.capture.group.opening import open_group_supply

            return open_group_supply(settings, counters)
        capture = opened_capture(self._request.camera, settings, counters)
        empty_place = self._empty_place_of
        return capture, line_supply(
            capture, self._request.camera, settings, counters, lambda: empty_place(self._bundle)
        )

    @property
    def _judging(self) -> list[tuple[ModelBundle, Inspector]]:
        """Bundles of the start, and what judges by them; of a group each camera's."""
        if self._group is None:
            return [(self._bundle, self._inspector)]
        return self._group.judging

    def run(self, requests: StopRequests) -> RunResult:
        """Inspect until the source ends, a limit is reached or a stop is asked for."""
        request, settings, counters, capture = self._request, self._settings, self._counters, self._capture
        known = () if self._book is None else self._book.recipes
        info = run_info(self._bundle, self._inspector, capture.name, settings, known)
        if self._group is not None:
            info = self._group.in_records(info)
        title = ViewTitle(info.source, self._product(self._bundle), f"{info.backend} {info.precision}")
        view = _view(settings, title, counters, self._statistics)
        recorder, field_of_view = None, self._inspector.field_of_view
        if settings.record.directory is not None:
            recorder = Recorder(
                settings.record, info, counters, field_of_view, wait_when_full=not capture.live,
                field_of_recipe=self._field_of_recipe,
            )  # fmt: skip
        alarms = AlarmLog(counters, _alarm_listener(recorder, redrawn=isinstance(view, LiveView)))
        judges_first = [(bundle.sha256, inspector.backend.model_sha256) for bundle, inspector in self._judging]
        readiness = readiness_monitor(request.camera, settings, counters, alarms, judges_first)
        wake = threading.Event()
        self._recipes = self._changes_of_recipe(alarms, recorder, wake)
        versions = self._recipes or self._version_watch()
        watches = [watch for watch in (versions, readiness) if watch is not None]
        device = DeviceWatch(self._pool, requests.stop.set)
        # another process would begin a folder, or a limited run, from its beginning
        goes_on = capture.live and request.max_frames is None and request.duration_s is None
        poller = Poller([*watches, device] if goes_on else watches, alarms, wake=wake)
        drift = self._drift_watch(alarms)
        fire = None if self._triggered is None else self._triggered.fire
        use_recipe = None if self._recipes is None else self._recipes.request
        self._signals = signals = line_signals(
            settings, counters, alarms, fire, use_recipe, challenge_watched=readiness is not None
        )
        # parts wait for the signals, so they come first, and end first
        sinks = [sink for sink in (signals, view, drift, *watches, poller, recorder) if sink is not None]
        # what follows comes after the recorder, which gives a verdict its number
        filed = (lambda: None) if recorder is None else (lambda: recorder.filed)
        self._outputs = outputs = line_outputs(settings, self._line_info(self._bundle), counters, filed, alarms)
        if outputs is not None:
            sinks.append(outputs)
        if settings.line.run_directory is not None:
            run_directory = Path(settings.line.run_directory)
            sinks.append(PreviewFile(run_directory, field_of_view, of_recipe=self._field_of_recipe))
        if request.json_lines is not None:
            no_reader = _when_nobody_reads(settings.record.directory, requests)
            sinks.append(JsonLines(request.json_lines, counters, no_reader, filed))
        service = ServiceManager(settings.service.restart_after_s)
        service.ready()
        try:
            finished = run_loop(
                self._supply, self._pool, sinks, settings, counters,
                stop=requests.stop, max_frames=request.max_frames, duration_s=request.duration_s,
                alive=lambda: service.alive(counters.beat_age_s(), lambda: _in_short(counters)),
            )  # fmt: skip
        finally:
            again = device.wants_new_process and not requests.interrupted
            (service.starting_again if again else service.stopping)()
            capture.close()
            self._close_part_file()
            # before the recorder, so that their last alarms are recorded
            for sink in sinks:
                if sink is not recorder:
                    sink.close()
            if recorder is not None:
                _save_what_waits(recorder, requests)
        outlook = outlook_line(settings.record, datetime.now(timezone.utc))
        return RunResult(
            (run_summary(self._statistics, counters, settings.record.directory), *([outlook] if outlook else [])),
            unrecorded=bool(counters.undelivered) or (recorder is not None and counters.recorded < counters.frames),
            hangs=not finished or poller.busy,
            start_again=again,
        )

    def _version_watch(self) -> HotSwap | GroupVersions:
        if self._group is not None:
            return self._group.version_watch(self._counters)
        return version_watch(self._settings, self._bundle, self._pool, self._counters)

    def _drift_watch(self, alarms: AlarmLog) -> Sink:
        if self._group is not None:
            return self._group.drift_watch(self._counters, alarms)
        return drift_monitor(self._bundle, self._settings, self._counters, alarms, self._book)

    def _product(self, bundle: ModelBundle) -> str:
        return bundle.manifest.product if self._group is None else self._group.products

    def _field_of_recipe(self, name: str) -> FieldOfViewOf | None:
        return None if self._recipes is None else self._recipes.field_of_view(name)

    def close(self) -> None:
        """Release the networks; not after a run that hangs."""
        self._pool.close_retired()
        if self._recipes is not None:
            self._recipes.close_idle()
        for each in self._pool.inspectors:
            each.backend.close()

    def _close_part_file(self) -> None:
        if self._part_file is not None:
            self._part_file.close()

    def _line_info(self, bundle: ModelBundle) -> LineInfo:
        name, target = self._settings.line.name, target_of(self._settings.inspection.backend)
        precision = bundle.precision(self._settings.inspection.precision, target)
        backend = self._inspector.backend.name
        return LineInfo(name, storable(self._capture.name), self._product(bundle), backend, precision)

    def _parts_take_s(self, settings: Settings) -> float:
        """From a trigger to its verdict, at the most."""
        waiting_s = 0.0 if self._triggered is None else self._triggered.longest_wait_s
        return waiting_s + (settings.inspection.deadline_ms or 0) / 1000

    def _changes_of_recipe(self, alarms: AlarmLog, recorder: Recorder | None, wake: threading.Event) -> Recipes | None:
        """None where the settings name no recipes: then it costs nothing."""
        if self._book is None or self._recipe is None:
            return None
        # a line without recipes loads none of it
        from edge.inspection.recipes.change import Recipes
        from edge.plant.recipe_request import RequestFile

        settings = self._settings

        def follow(recipe: Recipe, bundle: ModelBundle) -> None:
            own = recipe.applied_to(settings)
            if self._part_trigger is not None:
                self._part_trigger.follow(own.trigger, self._empty_place_of(bundle))
            if self._triggered is not None:
                self._triggered.follow(own.trigger)
            if self._signals is not None:
                self._signals.follow(own)
            if self._outputs is not None:
                self._outputs.follow(self._line_info(bundle))

        directory = settings.line.run_directory
        return Recipes(
            self._book,
            LoadedRecipe(self._recipe, self._bundle, self._pool.inspectors, self._seen),
            self._pool,
            self._counters,
            alarms,
            Opening(settings, self._pool, self._counters, change_not_ready(self._request.camera, settings)),
            Following(
                parts_wait=lambda: 0 if self._ordered is None else self._ordered.waiting,
                parts_take_s=lambda: self._parts_take_s(settings),
                product=follow,
                record=(lambda change: None) if recorder is None else recorder.note_recipe,
            ),
            keep_loaded=settings.recipes.keep_loaded,
            wake=wake,
            requests=None if directory is None else RequestFile(Path(directory)),
        )


def _in_short(counters: RunCounters) -> str:
    """For `systemctl status`."""
    alarms = "".join(f"; ALARM {alarm.what}" for alarm in counters.alarms.standing())
    return (
        f"{counters.frames} {counters.counted}: {counters.ok} OK, {counters.ng} NG, {counters.invalid} INVALID; camera "
        f"{counters.camera_text}; records {counters.record_state}{alarms}"
    )


def _alarm_listener(recorder: Recorder | None, *, redrawn: bool) -> Callable[[Alarm], None]:
    """What becomes of an alarm: it goes on record and, unless a view is redrawn there, to standard error."""
    in_journal = writes_to_journal()

    def on_alarm(alarm: Alarm) -> None:
        if recorder is not None:
            recorder.note(alarm)
        if not redrawn:
            text = f"ALARM {alarm.text()}"
            level = logging.WARNING if alarm.ended is None else logging.INFO
            print(with_level(text, level) if in_journal else text, file=sys.stderr, flush=True)

    return on_alarm


def _view(settings: Settings, title: ViewTitle, counters: RunCounters, statistics: RunStatistics) -> Sink:
    """The view that the settings and the terminal allow; each fills the statistics for the summary."""
    live = settings.view.live
    if live in ("on", True) or (live == "auto" and sys.stderr.isatty()):
        return LiveView(title, counters, statistics, settings.view.refresh_per_second)
    return statistics if live in ("off", False) else PlainView(counters, statistics, sys.stderr)


def _when_nobody_reads(records: str | None, requests: StopRequests) -> Callable[[str], None]:
    """What to do when standard output takes no more verdicts: go on where they are recorded, else end."""

    def emit(why: str) -> None:
        then = f"inspection goes on, verdicts are recorded in {records}; Ctrl-C ends it"
        if records is None:
            then = "inspection ends, as verdicts are recorded nowhere"
            requests.stop.set()
        print(f"edge-inspect: standard output takes no more verdicts, {why}: {then}", file=sys.stderr)

    return emit


def _save_what_waits(recorder: Recorder, requests: StopRequests) -> None:
    requests.saving()
    again = " again" if requests.interrupted else ""

    def emit(what: str) -> None:
        print(f"edge-inspect: saving, {what} left; Ctrl-C{again} gives them up", file=sys.stderr, flush=True)

    recorder.drain(requests.give_up, emit)
    recorder.close()
