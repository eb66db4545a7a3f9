"""Sequential tests of a stated false-alarm rate, for references as small as five parts.

Parts come in blocks. After each, every block of the last MOST_BLOCKS is tried as the one where a change began: the mean
from there on is compared with the mean of all parts before it, those of the calibration and those of the run. Its
Student t, with the uncertainty of both means in it, is turned into a standard normal number, and the largest of these
raises the alarm when it passes a limit. A change that has not been seen yet is thereby never part of what it is
compared with, however young the run. docs/line/drift.md derives the limit and says what is promised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge.monitoring.drift.measures import F64

# parts in a block: neighbours on a line resemble each other, blocks of them less so
BLOCK_PARTS = 8
# blocks since which a change may have begun; somebody's shadow over eight parts is none
_FEWEST_BLOCKS, MOST_BLOCKS = 2, 96
_WINDOWS = np.arange(_FEWEST_BLOCKS, MOST_BLOCKS + 1)
# a block's mean counts no more, in its standard errors
_MOST_PER_BLOCK = 5.0
# an odd part counts no more, in standard deviations of parts
_MOST_PER_PART = 4.0
# likeness of neighbours is looked for within blocks, between blocks and between this many blocks together
_SPANS = (1, 4)
# spans that stand for "neighbours are independent" when the run's own are asked about it
_PRIOR_SPANS = 4.0
_SMALLEST_SPREAD = 1e-6


def limit_of(mean_blocks: float) -> float:
    """What the largest of the windows' standard normal numbers passes on one side once in `mean_blocks`, on average."""
    low, high = 1.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if _passes(middle) * mean_blocks < 1 else (middle, high)
    return high


def _passes(limit: float) -> float:
    """How often the limit is passed, per block (Siegmund and Venkatraman 1995, as a sum over the windows).

    A number that has reached the limit drifts back by theta per block at either end of its window; neighbouring
    windows pass together, of which theta**2 * nu / 2 per end count once.
    """
    theta = limit / np.sqrt(_WINDOWS)
    half = theta / 2
    below = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in half])
    density = np.exp(-np.square(half) / 2) / math.sqrt(2 * math.pi)
    nu = (below - 0.5) / half / (half * below + density)
    tail = math.exp(-limit * limit / 2) / math.sqrt(2 * math.pi) / limit
    return float(tail * np.square(np.square(theta) * nu / 2).sum())


@dataclass(frozen=True)
class Known:
    """What is known of each measure: of how many parts, their mean, and squared deviations, from means of their own.

    Blocks deviate from their own mean alone: a change of level must not look like a larger spread. freedom: degrees.
    """

    parts: int
    mean: F64
    squares: F64
    freedom: int

    @classmethod
    def of(cls, values: F64) -> Known:
        """values: (parts, measures)."""
        mean = values.mean(0)
        return cls(len(values), mean, np.square(values - mean).sum(0), len(values) - 1)

    def with_means(self, means: F64) -> Known:
        """The same with the means of more blocks, (blocks, measures)."""
        added = BLOCK_PARTS * len(means)
        total = self.mean * self.parts + means.sum(0) * BLOCK_PARTS
        return replace(self, parts=self.parts + added, mean=total / (self.parts + added))

    def with_spread(self, block: F64) -> Known:
        """The same with the deviations of a block's parts, (parts, measures), from their own mean."""
        squares = self.squares + np.square(block - block.mean(0)).sum(0)
        return replace(self, squares=squares, freedom=self.freedom + len(block) - 1)

    @cached_property
    def spread(self) -> F64:
        """Standard deviation of parts."""
        return np.maximum(np.sqrt(self.squares / max(self.freedom, 1)), _SMALLEST_SPREAD)


@dataclass(frozen=True)
class Began:
    """Where a change began: so many blocks ago. before: all measures' means until then, of so many parts."""

    blocks: int
    before: F64
    parts: int


class Charts:
    """Charts of several measures, fed with the same blocks.

    known: of the calibration; later also of the run's parts that are too old for a window. tolerance: changes, in the
    measure's own unit, that are no drift whatever their significance. mean_blocks: how many blocks pass, on average,
    until one chart's one side gives a false alarm.
    """

    def __init__(self, known: Known, tolerance: F64, mean_blocks: float) -> None:
        self.known = known
        self.limit = limit_of(mean_blocks)
        self._tolerance = tolerance
        count = len(tolerance)
        # of each measure, the largest number of any window
        self.up, self.down = np.zeros(count), np.zeros(count)
        # windows of these numbers, as places in _WINDOWS
        self._up_at, self._down_at = np.zeros(count, np.int64), np.zeros(count, np.int64)
        # means of the last blocks, oldest first
        self._means = np.zeros((0, count))
        self._neighbours = _Neighbours(count)
        self._likeness = [_Likeness(span, count) for span in _SPANS]

    def add(self, block: F64) -> NDArray[np.bool_]:
        """Take the values of a block, (parts, measures); which charts are beyond their limit."""
        known = self.known
        reach = _MOST_PER_PART * known.spread + self._tolerance
        block = np.minimum(np.maximum(block, known.mean - reach), known.mean + reach)
        mean = block.sum(0) / len(block)
        self._neighbours.add(block)
        inflation = self._neighbours.inflation
        for likeness in self._likeness:
            likeness.add(mean, known.spread / math.sqrt(BLOCK_PARTS))
            inflation = np.maximum(inflation, likeness.inflation)
        spread = known.spread * np.sqrt(inflation)
        most = _MOST_PER_BLOCK * spread * math.sqrt(1 / BLOCK_PARTS + 1 / known.parts) + self._tolerance
        mean = known.mean + np.minimum(np.maximum(mean - known.mean, -most), most)
        # no more than MOST_BLOCKS + 1, also where an error left more than MOST_BLOCKS behind
        self._means = np.concatenate((self._means[-MOST_BLOCKS:], mean[None]))
        self._compare(spread)
        self.known = known.with_spread(block)
        if len(self._means) > MOST_BLOCKS:
            self.known, self._means = self.known.with_means(self._means[:1]), self._means[1:]
        return np.maximum(self.up, self.down) > self.limit

    def _compare(self, spread: F64) -> None:
        """Every window with all that came before it."""
        windows = _WINDOWS[: max(0, len(self._means) - _FEWEST_BLOCKS + 1), None]
        if not len(windows):
            return
        known = self.known
        # sums over the newest 1, 2, 3... blocks
        newest = np.cumsum(self._means[::-1], axis=0)
        within = newest[_FEWEST_BLOCKS - 1 : _FEWEST_BLOCKS - 1 + len(windows)]
        parts_before = known.parts + BLOCK_PARTS * (len(self._means) - windows)
        before = (known.mean * known.parts + BLOCK_PARTS * (newest[-1] - within)) / parts_before
        deviation = within / windows - before
        error = spread * np.sqrt(1 / (BLOCK_PARTS * windows) + 1 / parts_before)
        size = np.abs(deviation)
        # half the tolerance is no change, and what is not beyond the whole of it is none yet
        student = np.where(size > self._tolerance, (size - self._tolerance / 2) / error, 0)
        freedom = max(known.freedom, 1)
        # Wallace's approximation of the normal number as improbable as this Student t
        scale = (8 * freedom + 1) / (8 * freedom + 3)
        normal = np.copysign(scale * np.sqrt(freedom * np.log1p(np.square(student) / freedom)), deviation)
        every = np.arange(len(self._tolerance))
        self._up_at, self._down_at = normal.argmax(0), normal.argmin(0)
        self.up, self.down = normal[self._up_at, every], -normal[self._down_at, every]

    def began(self, measure: int) -> Began:
        """Where the change began that this chart sees most clearly."""
        at = self._up_at if self.up[measure] >= self.down[measure] else self._down_at
        blocks = min(int(_WINDOWS[at[measure]]), len(self._means))
        known = self.known.with_means(self._means[: len(self._means) - blocks])
        return Began(blocks, known.mean, known.parts)

    def restart(self, forget: int) -> None:
        """Windows anew; the last `forget` blocks become no part of what is known."""
        kept = max(0, len(self._means) - forget)
        self.known = self.known.with_means(self._means[:kept])
        self._means = self._means[:0]
        self.up, self.down = np.zeros_like(self.up), np.zeros_like(self.down)


def _alike() -> tuple[F64, F64]:
    """(q, inflation) of parts that each resemble the one before by rho = 0.9, 0.85 ... 0.

    q: variance of successive differences, halved, per variance within a block, which is small too where neighbours are
    alike. inflation: variance of long means, times their parts, per variance within a block.
    """
    rho = np.arange(18, -1, -1) / 20
    apart = np.arange(1, BLOCK_PARTS)[:, None]
    mean_of_block = (1 + 2 * ((1 - apart / BLOCK_PARTS) * rho**apart).sum(0)) / BLOCK_PARTS
    within = (1 - mean_of_block) * BLOCK_PARTS / (BLOCK_PARTS - 1)
    return (1 - rho) / within, (1 + rho) / (1 - rho) / within


_Q, _INFLATION = _alike()


class _Neighbours:
    """How much more means vary than those of independent parts, if each part resembles the one before it.

    From successive differences within blocks: soon known, but blind to what is slower than a block. As much as the few
    blocks seen so far cannot exclude.
    """

    def __init__(self, measures: int) -> None:
        self._steps, self._squares, self._blocks = np.zeros(measures), np.zeros(measures), 0

    def add(self, block: F64) -> None:
        """A block's parts."""
        self._steps += np.square(block[1:] - block[:-1]).sum(0) / 2
        self._squares += np.square(block - block.sum(0) / len(block)).sum(0)
        self._blocks += 1

    @property
    def inflation(self) -> F64:
        within = np.maximum(self._squares, _SMALLEST_SPREAD**2)
        uncertain = 1 / math.sqrt((BLOCK_PARTS - 1) * self._blocks)
        return np.asarray(np.interp(self._steps / within - uncertain, _Q, _INFLATION))


class _Likeness:
    """How much more the means of blocks vary than those of independent parts would, since neighbours are alike.

    From successive differences of `span` blocks together, but for the largest: a change of level makes only one of them
    large, likeness of neighbours all.
    """

    def __init__(self, span: int, measures: int) -> None:
        self._span = span
        self._sum, self._count = np.zeros(measures), 0
        self._previous: F64 | None = None
        self._squared, self._largest, self._compared = np.zeros(measures), np.zeros(measures), 0

    def add(self, mean: F64, spread: F64) -> None:
        """A block's mean, and the standard deviation that it would have if its parts were independent."""
        self._sum += mean
        self._count += 1
        if self._count < self._span:
            return
        together = self._sum / self._span
        self._sum, self._count = np.zeros(len(mean)), 0
        if self._previous is not None:
            difference = np.square((together - self._previous) / spread) * (self._span / 2)
            self._squared += np.minimum(difference, self._largest)
            self._largest = np.maximum(self._largest, difference)
            self._compared += 1
        self._previous = together

    @property
    def inflation(self) -> F64:
        return (_PRIOR_SPANS + self._squared) / (_PRIOR_SPANS + max(self._compared - 1, 0))
