"""Parts in, the drift that stands out. No pictures, threads or clocks: simulations run the same code."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from edge.monitoring.alarm_log import Moment
from edge.monitoring.drift.causes import SCORES, UNKNOWN, Change, describe, describe_scores, likeliest
from edge.monitoring.drift.charts import BLOCK_PARTS, MOST_BLOCKS, Charts, Known
from edge.monitoring.drift.measures import F64, MEASURES
from edge.monitoring.drift.reference import DriftReference
from edge.preprocessing.regions import FieldOfView

# smaller changes are no drift; in the order of MEASURES
TOLERANCE = np.array((0.02, 0.05, 0.08, 0.015, 0.015, 0.15, 0.003, 0.003))
# the same of scores, as a share of the way from normal ones to the threshold
SCORE_TOLERANCE = 0.05
# one chart's one side each; scores that fall are no trouble
SIDES = 2 * len(MEASURES) + 1
# blocks that decide whether a drift still stands, and how large it is now
_RECENT_BLOCKS = 4
# of the deviation at the alarm; below, the drift is over
_OVER_BELOW = 0.35
# where a picture's chart is on its way, rising scores are likely its consequence
_SUSPECTED, _SUSPENSE_BLOCKS = 0.8, 4


@dataclass(frozen=True)
class MeasuredPart:
    """values: of MEASURES. score: of an accepted part, None for others. seen: when."""

    values: F64
    score: float | None
    seen: Moment


@dataclass(frozen=True)
class Drift:
    """A change that stands, and the first part of the block where it began."""

    change: Change
    since: MeasuredPart


@dataclass(frozen=True)
class _Block:
    """level: median of its parts' values."""

    level: F64
    first: MeasuredPart


def evidence(score: float | F64) -> F64:
    """Scores in 0..1 on a scale in which they add up, as calibration's tail does."""
    return np.asarray(-np.log1p(-np.minimum(score, 1 - 1e-6)), np.float64)


class DriftWatch:
    """Compare parts with a reference, for ever; `drift` says what stands now.

    scores: held-out normals' scores, 0..1. every: parts that pass between two false alarms, on average at least.
    """

    def __init__(
        self, reference: DriftReference, scores: F64, threshold: float, view: FieldOfView, every: float
    ) -> None:
        self.drift: Drift | None = None
        self._effects = np.asarray(reference.effects, np.float64)
        self._view = view
        mean_blocks = SIDES * every / BLOCK_PARTS
        self._charts = Charts(Known.of(np.asarray(reference.values, np.float64)), TOLERANCE, mean_blocks)
        known = Known.of(evidence(scores)[:, None])
        self._margin = max(float(evidence(threshold)) - float(known.mean[0]), 1e-3)
        self._scores = Charts(known, np.array([SCORE_TOLERANCE * self._margin]), mean_blocks)
        self._block: list[MeasuredPart] = []
        self._accepted: list[MeasuredPart] = []
        self._blocks: deque[_Block] = deque(maxlen=MOST_BLOCKS)
        self._score_blocks: deque[_Block] = deque(maxlen=MOST_BLOCKS)
        self._suspense = 0
        # deviation when the drift was found, and for how many blocks another cause has explained it better
        self._found: F64 = np.zeros(len(MEASURES))
        self._baseline: F64 = np.zeros(len(MEASURES))
        self._doubts = 0
        self._score_found = self._score_baseline = 0.0

    def add(self, part: MeasuredPart) -> None:
        """Take the next part."""
        self._block.append(part)
        if part.score is not None:
            self._accepted.append(part)
        if len(self._accepted) == BLOCK_PARTS:
            self._take_scores()
        if len(self._block) == BLOCK_PARTS:
            self._take_pictures()

    def hint(self) -> str | None:
        """What the newest parts look like, drift or not: for an alarm that cannot wait for proof."""
        if self.drift is not None:
            return self.drift.change.what
        parts = self._block or ([self._blocks[-1].first] if self._blocks else [])
        if not parts:
            return None
        known = self._charts.known
        deviation = np.median([part.values for part in parts], axis=0) - known.mean
        # so few parts show only what is far outside
        error = 2 * known.spread
        if not (np.abs(deviation) > np.maximum(2 * error, TOLERANCE)).any():
            return None
        kind, strength = likeliest(deviation, error, self._scale, self._effects)
        return (
            None
            if kind == UNKNOWN
            else describe(kind, strength, deviation, float(known.mean[MEASURES.index("noise")]), self._view).what
        )

    def _take_pictures(self) -> None:
        # emptied first: after an error in what follows the block must not grow with every part
        parts, self._block = self._block, []
        values = np.array([part.values for part in parts])
        self._blocks.append(_Block(_median(values), parts[0]))
        if self.drift is not None and self.drift.change.kind != SCORES:
            # nothing is learned of a picture that is known to be another one
            self._follow()
        elif self._charts.add(values).any():
            self._find(int(np.argmax(np.maximum(self._charts.up, self._charts.down))))

    def _find(self, measure: int) -> None:
        """Name the change that this chart saw first."""
        began = self._charts.began(measure)
        change, deviation = self._named(began.blocks, began.before, began.parts)
        self.drift = Drift(change, self._blocks[-began.blocks].first)
        self._found, self._baseline, self._doubts = deviation, began.before, 0
        self._charts.restart(forget=began.blocks)
        # rising scores are explained by what the picture does
        self._scores.restart(sum(block.first.seen.utc >= self.drift.since.seen.utc for block in self._score_blocks))

    def _follow(self) -> None:
        """Is it over, has it grown, or is it another one by now?"""
        assert self.drift is not None
        count = min(_RECENT_BLOCKS, len(self._blocks))
        change, deviation = self._named(count, self._baseline, self._charts.known.parts)
        scale = self._scale
        if np.linalg.norm(deviation / scale) < _OVER_BELOW * np.linalg.norm(self._found / scale):
            self.drift = None
            return
        same = change.kind == self.drift.change.kind
        self._doubts = 0 if same or change.kind == UNKNOWN else self._doubts + 1
        if same:
            self.drift = Drift(change, self.drift.since)
        elif self._doubts >= _RECENT_BLOCKS:
            self.drift = Drift(change, self._blocks[-_RECENT_BLOCKS].first)
            self._found, self._doubts = deviation, 0

    @property
    def _scale(self) -> F64:
        """By how much parts vary; at least what concerns somebody, or a hair's breadth would outweigh all else."""
        return np.asarray(np.maximum(self._charts.known.spread, TOLERANCE / 2))

    def _named(self, count: int, before: F64, parts: int) -> tuple[Change, F64]:
        """The change that the last `count` blocks show against `before`, a mean of so many parts, and the deviation."""
        deviation = np.mean([block.level for block in list(self._blocks)[-count:]], axis=0) - before
        error = self._charts.known.spread * np.sqrt(1 / (count * BLOCK_PARTS) + 1 / parts)
        kind, strength = likeliest(deviation, error, self._scale, self._effects)
        return describe(kind, strength, deviation, float(before[MEASURES.index("noise")]), self._view), deviation

    def _take_scores(self) -> None:
        parts, self._accepted = self._accepted, []
        values = evidence(np.array([[part.score] for part in parts], np.float64))
        self._score_blocks.append(_Block(values.mean(0), parts[0]))
        if self.drift is None:
            self._scores.add(values)
            if self._scores.up[0] > self._scores.limit:
                suspected = np.maximum(self._charts.up, self._charts.down).max() > _SUSPECTED * self._charts.limit
                self._suspense = self._suspense + 1 if suspected else _SUSPENSE_BLOCKS
                if self._suspense >= _SUSPENSE_BLOCKS:
                    self._find_rising()
        elif self.drift.change.kind == SCORES:
            recent = np.mean([block.level[0] for block in list(self._score_blocks)[-_RECENT_BLOCKS:]])
            if recent - self._score_baseline < _OVER_BELOW * self._score_found:
                self.drift = None

    def _find_rising(self) -> None:
        began = self._scores.began(0)
        blocks = list(self._score_blocks)[-began.blocks :]
        self._suspense, self._score_baseline = 0, float(began.before[0])
        self._score_found = float(np.mean([block.level[0] for block in blocks])) - self._score_baseline
        self.drift = Drift(describe_scores(self._score_found / self._margin), blocks[0].first)
        self._scores.restart(forget=began.blocks)


def _median(values: F64) -> F64:
    """Of each column of an even number of rows; numpy's own takes ten times as long."""
    middle = len(values) // 2
    ordered = np.sort(values, axis=0)
    return np.asarray((ordered[middle - 1] + ordered[middle]) / 2)
