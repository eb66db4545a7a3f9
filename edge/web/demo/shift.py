"""A shift of the sample line on record, judged part by part just now, so that pages have something to show at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np

from edge.capture.images.image_reader import ImageReader
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import U8, Decision, Fault, Frame, Reason
from edge.inspection.drift_watch import drift_monitor
from edge.inspection.inspector import Inspector
from edge.inspection.inspectors import live_bundle, make_inspector, run_info
from edge.monitoring.alarm_log import AlarmLog
from edge.records.writer.recorder import Recorder
from edge.samples import sample_line

PARTS, SPAN = 300, timedelta(hours=7)
_REJECTS = 0.05
# a tool that was worn for a while, and a lamp that failed
_WORN, _DARK = range(206, 217), range(94, 97)
_BREAK_AFTER, _BREAK = 140, timedelta(minutes=30)
# of the monitor, which measures beside the inspection
_MOST_AHEAD_S = 0.02


def record_demo_shift(settings: Settings, now: datetime, parts: int = PARTS) -> None:
    """Record a shift that ended at `now`: mostly good parts, some rejects, a burst of them, a lamp that failed.

    Every verdict is a real one of settings.inspection.bundle; only its time is set back. Raises what opening the
    bundle, the pictures or the records raises.
    """
    bundle, counters = live_bundle(settings), RunCounters()
    inspector = make_inspector(bundle, settings)
    field_of_view = inspector.preprocess.field_of_view
    info = run_info(bundle, inspector, "demo", settings)
    recorder = Recorder(settings.record, info, counters, field_of_view, wait_when_full=True)
    monitor = drift_monitor(bundle, settings, counters, AlarmLog(counters, recorder.note))
    try:
        good, bad = _pictures(settings)
        # the one good part of the sample line that the bundle rejects would be every tenth part here
        good = [picture for picture in good if _accepted(inspector, picture, now)] or good
        for frame in demo_frames(good, bad, now, parts):
            verdict = inspector.invalid(frame, frame.fault) if frame.fault is not None else inspector.inspect(frame)
            monitor.write(frame, verdict)
            recorder.write(frame, verdict)
            counters.frames += 1
            if verdict.decision is Decision.NG:
                time.sleep(_MOST_AHEAD_S)
    finally:
        monitor.close()
        recorder.drain(threading.Event(), lambda left: None)
        recorder.close()
        inspector.backend.close()


def _accepted(inspector: Inspector, picture: U8, now: datetime) -> bool:
    return inspector.inspect(Frame(0, time.perf_counter_ns(), now, "demo", picture)).decision is Decision.OK


def demo_frames(good: Sequence[U8], bad: Sequence[U8], now: datetime, parts: int) -> Iterator[Frame]:
    """The parts of the shift, oldest first; the same ones every time. good, bad: pictures of such parts."""
    random = np.random.default_rng(0)
    step = (SPAN - _BREAK) / parts
    for index in range(parts):
        at = now - SPAN + step * index + (_BREAK if index >= _BREAK_AFTER else timedelta())
        utc = at.astimezone(timezone.utc)
        kinds = bad if index in _WORN or random.random() < _REJECTS else good
        image: U8 | None = _as_another_part(kinds[int(random.integers(len(kinds)))], random)
        fault = None
        if index in _DARK:
            image, fault = np.zeros_like(kinds[0]), Fault(Reason.BLACK, "the picture is black")
        yield Frame(index, time.perf_counter_ns(), utc, "demo", image, fault)


def _pictures(settings: Settings) -> tuple[list[U8], list[U8]]:
    """(good, bad) parts of the sample line."""
    reader = ImageReader(settings.camera)
    found: dict[bool, list[U8]] = {True: [], False: []}
    for path in sorted(set(sample_line()), key=str):
        look = reader.look(path)
        if look.image is not None:
            found[_is_good(path)].append(look.image)
    return found[True], found[False]


def _is_good(path: Path) -> bool:
    return path.parent.name == "good"


def _as_another_part(picture: U8, random: np.random.Generator) -> U8:
    """A little lighter or darker, as under another exposure."""
    return np.asarray(cv2.convertScaleAbs(picture, alpha=random.normal(1, 0.008)), np.uint8)
