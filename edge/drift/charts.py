"""Sequential tests of a stated false-alarm rate, for references as small as five parts.

Each measure has a self-starting chart: a block of parts is compared with the mean of all parts before it, those of the
calibration and those of the run. Its Student t, with the uncertainty of that mean in it, is turned into a standard
normal number; as long as nothing changes these are independent, however few parts the reference has. Their cumulative
sums, one upward and one downward, raise the alarm. Once the reference has some parts it learns slowly, or it would
follow the very change that is looked for; what it does not know of its own mean is then no change either. docs/drift.md
derives the limit and says what is promised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge.drift.measures import F64

# parts in a block: neighbours on a line resemble each other, blocks of them less so
BLOCK_PARTS = 8
# the shift, in standard deviations of a block's mean, that sums are most sensitive to, halved
_ALLOWANCE = 0.5
# one block counts no more: somebody's shadow over eight parts is no drift
_MOST_PER_BLOCK = 5.0
# an odd part counts no more, in standard deviations of parts
_MOST_PER_PART = 4.0
# Siegmund's correction: a sum overshoots its limit by so much
_OVERSHOOT = 1.166
# likeness of neighbours is looked for between blocks and between this many blocks together
_SPANS = (1, 4)
# spans that stand for "neighbours are independent" when the run's own are asked about it
_PRIOR_SPANS = 4.0
_SMALLEST_SPREAD = 1e-6
# from so many parts on only one block in so many is learned, and so many standard errors of the mean are no change
_FULLY_UP_TO, _LEARNED_EVERY, _UNCERTAIN_ERRORS = 48, 8, 1.25


def limit_of(mean_blocks: float) -> float:
    """The limit of a one-sided sum of standard normal numbers that is passed once in `mean_blocks`, on average."""
    low, high = 0.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        reached = 2 * _ALLOWANCE * (middle + _OVERSHOOT)
        passed_after = (math.expm1(reached) - reached) / (2 * _ALLOWANCE**2)
        low, high = (middle, high) if passed_after < mean_blocks else (low, middle)
    return high


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

    def with_block(self, values: F64) -> Known:
        """The same with another block of parts."""
        parts, added = self.parts + len(values), values.sum(0) / len(values)
        mean = self.mean + (added - self.mean) * (len(values) / parts)
        squares = self.squares + np.square(values - added).sum(0)
        return Known(parts, mean, squares, self.freedom + len(values) - 1)

    @cached_property
    def spread(self) -> F64:
        """Standard deviation of parts."""
        return np.maximum(np.sqrt(self.squares / max(self.freedom, 1)), _SMALLEST_SPREAD)


class Charts:
    """Charts of several measures, fed with the same blocks.

    known: of the calibration. tolerance: changes, in the measure's own unit, that are no drift whatever their
    significance. mean_blocks: how many blocks pass, on average, until one chart's one side gives a false alarm.
    """

    def __init__(self, known: Known, tolerance: F64, mean_blocks: float) -> None:
        self.known = known
        self.limit = limit_of(mean_blocks)
        self._tolerance = tolerance
        count = len(tolerance)
        self.up, self.down = np.zeros(count), np.zeros(count)
        self.blocks = 0
        # the block after which each sum was last at zero: where the change began, if it is one
        self._up_since, self._down_since = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._likeness = [_Likeness(span, count) for span in _SPANS]

    def _clipped(self, values: F64) -> F64:
        """The values of a block, no further from the mean than an odd part may count."""
        reach = _MOST_PER_PART * self.known.spread + self._tolerance
        return np.minimum(np.maximum(values, self.known.mean - reach), self.known.mean + reach)

    def add(self, block: F64, *, learn: bool = True) -> NDArray[np.bool_]:
        """Take the values of a block, (parts, measures); which charts are beyond their limit.

        learn: the block may join the reference, as it should unless a drift is known to be under way.
        """
        block = self._clipped(block)
        normal = self._standard_normal(block)
        self.blocks += 1
        for sums, since, sign in ((self.up, self._up_since, 1.0), (self.down, self._down_since, -1.0)):
            sums += sign * normal - _ALLOWANCE
            np.maximum(sums, 0, out=sums)
            since[sums == 0] = self.blocks
        if learn and (self.known.parts < _FULLY_UP_TO or self.blocks % _LEARNED_EVERY == 0):
            self.known = self.known.with_block(block)
        return np.maximum(self.up, self.down) > self.limit

    def blocks_since_change(self, measure: int) -> int:
        """How many of the last blocks belong to the change that this chart sees; one at least."""
        since = self._up_since if self.up[measure] >= self.down[measure] else self._down_since
        return max(1, self.blocks - int(since[measure]))

    def restart(self) -> None:
        """Sums from zero again, with all that is known."""
        for sums, since in ((self.up, self._up_since), (self.down, self._down_since)):
            sums[:] = 0
            since[:] = self.blocks

    def _standard_normal(self, block: F64) -> F64:
        known, size = self.known, len(block)
        mean = block.sum(0) / size
        inflation = np.ones(len(mean))
        for likeness in self._likeness:
            likeness.add(mean, known.spread / math.sqrt(size))
            inflation = np.maximum(inflation, likeness.inflation)
        deviation = mean - known.mean
        no_change = self._tolerance
        if known.parts >= _FULLY_UP_TO:
            no_change = no_change + _UNCERTAIN_ERRORS * known.spread / math.sqrt(known.parts)
        beyond = deviation - np.minimum(np.maximum(deviation, -no_change), no_change)
        student = beyond / (known.spread * np.sqrt(inflation * (1 / size + 1 / known.parts)))
        freedom = max(known.freedom, 1)
        # Wallace's approximation of the normal number as improbable as this Student t
        scale = (8 * freedom + 1) / (8 * freedom + 3)
        normal = np.sign(student) * scale * np.sqrt(freedom * np.log1p(np.square(student) / freedom))
        return np.asarray(np.minimum(np.maximum(normal, -_MOST_PER_BLOCK), _MOST_PER_BLOCK))


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
