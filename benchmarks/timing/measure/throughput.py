"""As many frames as the processor can do, beside what the network's runtime alone can do, turn by turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np

from benchmarks.timing.measure.bare_engine import EngineFlood
from benchmarks.timing.measure.machine import machine_state
from benchmarks.timing.measure.usage import UsageClock
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import U8, Fault, Frame, Verdict
from edge.inspection.inspector import Inspector
from edge.inspection.inspector_pool import InspectorPool
from edge.inspection.loop import run_loop

WARM_UP_S = 0.5


class PictureFlood:
    """A FrameSupply that always has the next picture, as a folder that is read faster than it is inspected."""

    live = False
    ended = False

    def __init__(self, pictures: Sequence[U8]) -> None:
        self._pictures = tuple(pictures)
        self._next = 0

    def take(self, timeout_s: float) -> Frame:
        index, self._next = self._next, self._next + 1
        image = self._pictures[index % len(self._pictures)].copy()
        return Frame(index, time.perf_counter_ns(), datetime.now(timezone.utc), "pictures", image)

    def blank(self, fault: Fault) -> Frame:
        return Frame(self._next, time.perf_counter_ns(), datetime.now(timezone.utc), "pictures", None, fault)


class _Arrivals:
    """A sink that counts verdicts and remembers when the first and the last were published."""

    def __init__(self) -> None:
        self.count = 0
        self.first_ns = self.last_ns = 0

    def write(self, frame: Frame, verdict: Verdict) -> None:
        self.last_ns = time.perf_counter_ns()
        self.first_ns = self.first_ns or self.last_ns
        self.count += 1

    def close(self) -> None: ...

    @property
    def per_s(self) -> float:
        return (self.count - 1) / ((self.last_ns - self.first_ns) / 1e9) if self.count > 1 else 0.0


def measure_throughput(
    pictures: Sequence[U8],
    inspectors: Sequence[Inspector],
    flood: EngineFlood,
    settings: Settings,
    rounds: int,
    seconds: float,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Rates of inspections and of bare engine calls, `rounds` turns of `seconds` each, who comes first changing.

    share_of_engine_limit: median over rounds of inspections per bare call. Frames lie in memory and nothing is
    recorded: this is the inspection's rate, not a disk's.
    """

    def inspect(duration_s: float) -> float:
        arrivals = _Arrivals()
        run_loop(
            PictureFlood(pictures), InspectorPool(inspectors), [arrivals], settings, RunCounters(),
            stop=threading.Event(), duration_s=duration_s,
        )  # fmt: skip
        return arrivals.per_s

    before = machine_state()
    inspect(WARM_UP_S)
    flood.run(WARM_UP_S)
    usage = UsageClock()
    rates: dict[Callable[[float], float], list[float]] = {inspect: [], flood.run: []}
    for index in range(rounds):
        order = list(rates) if index % 2 else list(rates)[::-1]
        for turn in order:
            rates[turn].append(turn(seconds))
        advance(index + 1, rounds)
    inspected, bare = np.array(list(rates.values()))
    shares = inspected / bare
    return {
        "frames_per_s": round(float(np.median(inspected)), 2),
        "engine_per_s": round(float(np.median(bare)), 2),
        "share_of_engine_limit": round(float(np.median(shares)), 4),
        "share_range": [round(float(shares.min()), 4), round(float(shares.max()), 4)],
        "rounds": {"frames_per_s": _listed(inspected), "engine_per_s": _listed(bare)},
        "seconds_per_round": seconds,
        "inspectors": len(inspectors),
        "cores_busy": round(usage.usage().cores_busy, 3),
        "before": before,
        "after": machine_state(),
    }


def _listed(rates: Any) -> list[float]:
    return [round(float(rate), 2) for rate in rates]
