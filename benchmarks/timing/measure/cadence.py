"""When parts come: back to back, at a rate, or with the gaps that a line really had."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.core.errors import UsageError
from edge.records.store import RecordStore

# what a recording is worth replaying; a longer stop of the line is a break, which only costs time here
LONGEST_GAP_S = 60.0
MOST_GAPS = 100_000

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|min|h)")
_PERIOD = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s)")
_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Cadence:
    """The pauses from one part to the next, in seconds, repeated for ever; none: the next comes when one is through."""

    label: str
    gaps_s: tuple[float, ...] = ()

    @property
    def back_to_back(self) -> bool:
        return not self.gaps_s


BACK_TO_BACK = Cadence("back to back")


def cadence_from_text(text: str) -> Cadence:
    """`2.5/s`, `90/min`, `400ms` or `0.4s`; raises UsageError."""
    rate, period = _RATE.fullmatch(text.strip()), _PERIOD.fullmatch(text.strip())
    gap_s = 0.0
    if rate and float(rate[1]):
        gap_s = _SECONDS[rate[2]] / float(rate[1])
    elif period:
        gap_s = float(period[1]) * _SECONDS[period[2]]
    if not 0 < gap_s <= LONGEST_GAP_S:
        raise UsageError(
            f"`{text}` is no cadence of at least one part in {LONGEST_GAP_S:.0f} s",
            fix="give a rate such as 2.5/s or 90/min, or the time from part to part, such as 400ms",
        )
    return Cadence(f"{1 / gap_s:.4g}/s", (gap_s,))


def cadence_from_records(directory: Path) -> Cadence:
    """The gaps between the pictures that a line judged, run by run, idle times included.

    Gaps above LONGEST_GAP_S are cut to it, and the label says how many; of very many the last MOST_GAPS are taken.
    Looks without a picture are no parts. Raises RecordError, or UsageError when fewer than two parts are on record.
    """
    gaps: list[float] = []
    before: tuple[int, int] | None = None
    # by id: the clock of captured_ns starts anew with the machine
    sql = "SELECT run_id, captured_ns FROM verdicts WHERE score IS NOT NULL ORDER BY id"
    with RecordStore(directory) as store:
        for rows in store.query_blocks(sql):
            for run, captured_ns in rows:
                if before is not None and before[0] == run and captured_ns > before[1]:
                    gaps.append((captured_ns - before[1]) / 1e9)
                before = (run, captured_ns)
            gaps = gaps[-MOST_GAPS:]
    if not gaps:
        raise UsageError(f"{directory} holds no two parts in a row of one run", fix="record the line for a while first")
    cut = sum(gap > LONGEST_GAP_S for gap in gaps)
    replayed = tuple(min(gap, LONGEST_GAP_S) for gap in gaps)
    label = f"as recorded: {len(gaps)} gaps, median {np.median(replayed):.3g} s, longest {max(replayed):.3g} s"
    return Cadence(label + (f", {cut} cut to that" if cut else ""), replayed)


class PacedTrigger:
    """Moments as the cadence has them, whether or not the frame before is through: a line does not wait."""

    def __init__(self, cadence: Cadence, now_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        self._gaps: Iterator[float] = itertools.cycle(cadence.gaps_s)
        self._now_ns = now_ns
        self._ended = threading.Event()
        self._due_ns = 0
        self._gap_ns = 0

    def wait(self) -> tuple[int, int | None]:
        """Wait for the next moment: when it was planned for, and nanoseconds from it to the one after."""
        if self._due_ns == 0:
            self._due_ns = self._now_ns()
        self._due_ns += self._gap_ns
        self._gap_ns = round(next(self._gaps) * 1e9)
        self._ended.wait(max(0.0, (self._due_ns - self._now_ns()) / 1e9))
        return self._due_ns, self._gap_ns

    def release(self) -> None: ...

    def end(self) -> None:
        self._ended.set()


class ClosedTrigger:
    """The next moment comes when the frame before is through: `release` says so."""

    def __init__(self, now_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        self._now_ns = now_ns
        self._ended = False
        self._free = threading.Event()
        self._free.set()

    def wait(self) -> tuple[int, int | None]:
        self._free.wait()
        if not self._ended:
            self._free.clear()
        return self._now_ns(), None

    def release(self) -> None:
        self._free.set()

    def end(self) -> None:
        """Never wait again."""
        self._ended = True
        self._free.set()


Trigger = PacedTrigger | ClosedTrigger


def trigger_for(cadence: Cadence) -> Trigger:
    return ClosedTrigger() if cadence.back_to_back else PacedTrigger(cadence)
