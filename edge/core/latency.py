"""Monotonic stage clock, percentiles over a bounded window, and calls timed in turns."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from edge.core.datatypes import StageTimes

# a short timing: enough calls for a percentile, and a few seconds at most
_WARM, _LEAST, _MOST, _SPAN_NS = 3, 11, 200, 1_000_000_000
_UNDISTURBED = 10


def in_turns(
    calls: Sequence[Callable[[], object]], now_ns: Callable[[], int] = time.perf_counter_ns
) -> tuple[list[float], ...]:
    """Milliseconds of each call, round by round; they take turns, so that all meet the same machine.

    A second for all, more where eleven rounds take longer.
    """
    for call in calls:
        for _ in range(_WARM):
            call()
    taken: list[list[int]] = [[] for _ in calls]
    began = now_ns()
    rounds = 0
    while rounds < _LEAST or (rounds < _MOST and now_ns() - began < _SPAN_NS):
        # who comes first finds the caches as the others left them
        for place in sorted(range(len(calls)), reverse=bool(rounds % 2)):
            before = now_ns()
            calls[place]()
            taken[place].append(now_ns() - before)
        rounds += 1
    return tuple([nanoseconds / 1e6 for nanoseconds in times] for times in taken)


def undisturbed(milliseconds: Sequence[float]) -> float:
    """What a call takes when no other work comes in between: the tenth percentile."""
    return float(np.percentile(milliseconds, _UNDISTURBED))


class StageClock:
    """Time the stages of one frame, each from the end of the one before.

    The clock starts when it is made; `started_ns - captured_ns` is the wait.
    """

    def __init__(self, captured_ns: int, now_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        self._now_ns = now_ns
        self._captured_ns = captured_ns
        self._last_ns = now_ns()
        self._laps_ms: dict[str, float] = {"wait": (self._last_ns - captured_ns) / 1e6}

    def lap(self, stage: str) -> None:
        """Book the time since the last lap under `stage` (a field of StageTimes); repeated laps add up."""
        now = self._now_ns()
        self._laps_ms[stage] = self._laps_ms.get(stage, 0.0) + (now - self._last_ns) / 1e6
        self._last_ns = now

    def times(self) -> StageTimes:
        """All laps so far; `total` runs from the grab to the last lap."""
        return StageTimes(**self._laps_ms, total=(self._last_ns - self._captured_ns) / 1e6)


class LatencyWindow:
    """Percentiles of the last `size` values in milliseconds; nothing is clipped."""

    def __init__(self, size: int = 2048) -> None:
        self.size = size
        self._values: deque[float] = deque(maxlen=size)

    def add(self, milliseconds: float) -> None:
        self._values.append(milliseconds)

    @property
    def count(self) -> int:
        """Values held now, at most `size`."""
        return len(self._values)

    def percentile(self, q: float) -> float:
        """The q-th percentile (0..100), 0.0 before the first value."""
        return self.percentiles((q,))[0]

    def percentiles(self, levels: Sequence[float]) -> list[float]:
        """Several at once, for one sort; 0.0 each before the first value. Any thread may ask."""
        # copying a deque is one step under the interpreter lock, so a thread that adds does not disturb it
        values = list(self._values)
        return [float(value) for value in np.percentile(values, levels)] if values else [0.0] * len(levels)
