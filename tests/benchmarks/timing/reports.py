"""Runs whose times are known to the last digit, made without a clock."""

from __future__ import annotations

import numpy as np

from benchmarks.timing.measure.cadence import BACK_TO_BACK
from benchmarks.timing.measure.interleaved import JUDGED, Stopwatch
from benchmarks.timing.measure.run import Measured, Plan
from benchmarks.timing.measure.source import Moments
from benchmarks.timing.measure.usage import ProcessUsage
from benchmarks.timing.report.report import latency_report
from edge.core.config import Settings
from edge.core.counters import RunCounters

STATE = {"clocks_mhz": [2000], "temperatures_c": {}, "load_average": [0.1], "gpus": [], "gpu_clock_mhz": None}
FACTS = {
    "processor": "Test", "cores": 2, "usable_cores": 2, "features": ["avx2"], "virtual": False, "memory_mb": 1000,
    "board": None, "jetson": None, "gpus": [], "system": "Linux", "power": {"governor": "performance"},
    "versions": {"numpy": "2"}, "commit": "abc",
}  # fmt: skip


def stopwatch(whole_ms, engine_ms, *, gap_ms=float("nan"), fates=None, infer_ms=2.0, memory=()):
    """One stream: end to end and engine times, a second apart; half a millisecond each for grab, wait and the rest."""
    made = Stopwatch(Moments(), None, RunCounters(), 0, lambda frames, at_s: False, lambda: None)
    made.frame_px = (48, 64)
    for at, whole in enumerate(whole_ms):
        rest = whole - infer_ms - 2.5
        fate = JUDGED if fates is None else fates[at]
        made.frames.add(at, 0.5, 0.5, 0.5, infer_ms, 0.5, 0.5, rest, whole, gap_ms, 1.0, fate)
    for at, engine in enumerate(engine_ms):
        made.engine.add(at + 0.5, engine, 1.0)
    for at_s, frames, mb in memory:
        made.memory.add(at_s, frames, mb)
    return made


def measured(*streams, warm_up=0):
    plan = Plan(Settings(), cadence=BACK_TO_BACK, warm_up=warm_up)
    return Measured(plan, list(streams), ProcessUsage(10.0, 5.0, 7), STATE, STATE, False)


def report(whole_ms, engine_ms, **run):
    """A whole report, as `--out` writes it; `run` changes what was timed."""
    timed = {
        "bundle_sha256": "b", "backend": "openvino", "precision": "int8", "frame_px": [48, 64], "source": "demo",
        "cadence": "back to back", "streams": 1, "records": True, "soak": False,
    }  # fmt: skip
    bundle = {"method": "kist", "variant": "edge"}
    figures = latency_report(measured(stopwatch(whole_ms, engine_ms)))
    return {"mode": "latency", "bundle": bundle, "run": {**timed, **run}, "machine": FACTS, **figures}


def noisy(median_ms, seed, count=600, spread=0.05):
    """Times around a median, with a tail."""
    random = np.random.default_rng(seed)
    times = median_ms * random.lognormal(0, spread, count)
    times[::50] *= 2
    return times
