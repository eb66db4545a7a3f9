"""Watches the line beside the inspection: drift of pictures and scores, bursts of rejects.

It raises alarms and changes no verdict.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edge.core.alarms import BURST, Alarm
from edge.core.config import BurstSettings, DriftSettings
from edge.core.counters import RunCounters
from edge.core.datatypes import F32, U8, Decision, Frame, Verdict
from edge.monitoring.alarm_log import AlarmLog, Moment
from edge.monitoring.background_worker import BackgroundWorker
from edge.monitoring.drift.burst import BurstWatch
from edge.monitoring.drift.measures import Placement, is_grey, measure
from edge.monitoring.drift.reference import DriftReference, ReferenceBuilder
from edge.monitoring.drift.watch import Drift, DriftWatch, MeasuredPart
from edge.preprocessing.preprocess import Preprocess

log = logging.getLogger(__name__)

# pictures that may wait to be measured; a picture more is not measured
_WAITING_PICTURES = 4
# with more rejects than these among so many parts, rejects are measured too: they show what changed
_RECENT_PARTS, _FEW_REJECTS = 16, 4
_CLOSE_S = 0.8
# an alarm is published again when its size has grown by this share
_PUBLISHED_AGAIN = 0.25


@dataclass(frozen=True)
class WatchedBundle:
    """What parts are compared with. reference: None when the bundle has none. scores: of held-out normals."""

    preprocess: Preprocess
    reference: DriftReference | None
    scores: F32
    threshold: float


# hash of a bundle and name of the recipe → what its parts are compared with; None when it cannot be had
WatchedBundleOf = Callable[[str, str], WatchedBundle | None]
# products whose learned reference is kept while others are judged
_MOST_REMEMBERED = 32


@dataclass(frozen=True)
class _JudgedBy:
    bundle_sha256: str
    recipe: str


@dataclass(frozen=True)
class _QueuedFrame:
    """One inspected part; image: None when it is not to be measured."""

    judged_by: _JudgedBy
    seen: Moment
    rejected: bool
    score: float
    image: U8 | None


class DriftMonitor:
    """A sink that compares parts with the calibration, in a thread of its own.

    alarms: an alarm is raised once, published again when it has grown, and ended. `counters.drift_state` says what is
    compared with what.
    """

    def __init__(
        self,
        drift: DriftSettings,
        burst: BurstSettings,
        bundle_of: WatchedBundleOf,
        counters: RunCounters,
        alarms: AlarmLog,
    ) -> None:
        self._drift_on = drift.watch
        self._rejected: deque[bool] = deque(maxlen=_RECENT_PARTS)
        self._counters = counters
        counters.drift_state = "waiting for parts" if drift.watch else "off"
        watch = _Watch(drift, burst, bundle_of, counters, alarms)
        self._worker = BackgroundWorker("drift monitor", watch.take, self._failed, alarms)

    def write(self, frame: Frame, verdict: Verdict) -> None:
        """Take a verdict; keeps the picture only while it waits to be measured."""
        if verdict.score is None:
            return
        rejected = verdict.decision is Decision.NG
        self._rejected.append(rejected)
        image = None
        if self._drift_on and (not rejected or sum(self._rejected) > _FEW_REJECTS):
            # one thread adds, the other takes away: at worst a picture more or less waits
            if self._worker.waiting < _WAITING_PICTURES:
                image = frame.image
            else:
                self._counters.unmeasured += 1
        seen = Moment(frame.utc, frame.index)
        judged_by = _JudgedBy(verdict.bundle_sha256, verdict.recipe)
        self._worker.put(_QueuedFrame(judged_by, seen, rejected, verdict.score, image))

    def close(self) -> None:
        """Measure what waits, for less than a second."""
        self._worker.close(_CLOSE_S)

    def _failed(self, error: Exception) -> None:
        self._counters.drift_state = f"failed, see the log: {error}"


class _Watch:
    """What the thread does: parts in, alarms out."""

    def __init__(
        self,
        drift: DriftSettings,
        burst: BurstSettings,
        bundle_of: WatchedBundleOf,
        counters: RunCounters,
        alarms: AlarmLog,
    ) -> None:
        self._settings = drift
        self._bundle_of = bundle_of
        self._counters = counters
        self._alarms = alarms
        self._burst = None if burst.rejects is None else BurstWatch(burst.rejects, burst.of)
        self._last: deque[_QueuedFrame] = deque(maxlen=burst.of)
        self._judged_by: _JudgedBy | None = None
        # what was learned of the line's own parts, for when their product comes back
        self._remembered: dict[_JudgedBy, tuple[WatchedBundle, ReferenceBuilder | None]] = {}
        self._bundle: WatchedBundle | None = None
        self._placement: Placement | None = None
        self._colour_compared = False
        self._learning: ReferenceBuilder | None = None
        self._watch: DriftWatch | None = None
        self._drift_alarm: Alarm | None = None
        self._burst_alarm: Alarm | None = None

    def take(self, part: _QueuedFrame) -> None:
        if part.image is not None:
            if part.judged_by != self._judged_by:
                self._leave_version(part.seen)
                self._begin(part.judged_by)
            self._take_picture(part.image, part)
        if self._burst is not None:
            self._last.append(part)
            self._publish_burst(self._burst, self._burst.add(part.rejected), part.seen)

    def _leave_version(self, seen: Moment) -> None:
        """A drift from the version before says nothing of this one's calibration: it ends, and may be found anew."""
        alarm, self._drift_alarm = self._drift_alarm, None
        left = self._judged_by
        if left is None:
            return
        self._remembered.pop(left, None)
        if self._bundle is not None:
            self._remembered[left] = self._bundle, self._learning
        if len(self._remembered) > _MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        if alarm is not None:
            what = f"{alarm.what} (against version {left.bundle_sha256[:12]}, which judges no longer)"
            self._alarms.end(replace(alarm, what=what), seen)

    def _begin(self, judged_by: _JudgedBy) -> None:
        """Compare with this bundle from here on."""
        self._judged_by = judged_by
        self._watch = self._placement = self._learning = self._bundle = None
        self._colour_compared = False
        sha256 = judged_by.bundle_sha256
        if judged_by in self._remembered:
            self._bundle, self._learning = self._remembered[judged_by]
        else:
            self._bundle = self._bundle_of(sha256, judged_by.recipe)
        if self._bundle is None:
            self._counters.drift_state = f"off: nothing to compare version {sha256[:12]} with"
        elif self._bundle.reference is not None:
            self._counters.drift_state = f"compared with {len(self._bundle.reference.values)} parts of the calibration"
        elif self._learning is None:
            self._learning = ReferenceBuilder(self._bundle.preprocess)

    def _take_picture(self, image: U8, part: _QueuedFrame) -> None:
        if self._bundle is None:
            return
        if self._learning is not None:
            if not part.rejected:
                self._learn(self._learning, self._bundle, image)
            return
        view = self._bundle.preprocess.field_of_view(*image.shape[:2])
        if view is None:
            return
        if self._watch is None:
            bundle, every = self._bundle, self._settings.false_alarm_every
            assert bundle.reference is not None, "learned, or the bundle's"
            scores = np.asarray(bundle.scores, np.float64)
            self._watch = DriftWatch(bundle.reference, scores, bundle.threshold, view, every)
            self._placement = bundle.reference.placement
        assert self._placement is not None, "made with the watch"
        measured = measure(image, view)
        if not self._colour_compared:
            self._colour_compared = True
            self._compare_colour(is_grey(measured))
        values = measured.values(self._placement)
        self._watch.add(MeasuredPart(values, None if part.rejected else part.score, part.seen))
        self._publish_drift(self._watch.drift, part.seen)

    def _compare_colour(self, grey: bool) -> None:
        """A network that learned colour judges grey pictures, and finds them all unlike."""
        assert self._bundle is not None and self._bundle.reference is not None, "asked where there is one"
        if grey != self._bundle.reference.grey:
            seen, taught = ("grey", "in colour") if grey else ("in colour", "grey")
            log.warning(
                "the camera's pictures are %s, the bundle was taught with pictures that are %s: set the camera as it "
                "was then, or teach again",
                seen,
                taught,
            )

    def _learn(self, builder: ReferenceBuilder, bundle: WatchedBundle, image: U8) -> None:
        builder.add(image)
        wanted = self._settings.learn_from
        self._counters.drift_state = (
            f"no reference in the bundle: learning from accepted parts, {builder.parts} of {wanted}"
        )
        if builder.parts >= wanted:
            # a reference that cannot be made must not be tried, with a part more, for every part to come
            self._bundle = self._learning = None
            self._bundle = replace(bundle, reference=builder.finished())
            self._counters.drift_state = f"compared with the first {wanted} accepted parts of this run"

    def _publish_drift(self, drift: Drift | None, seen: Moment) -> None:
        alarm = self._drift_alarm
        if alarm is not None and (drift is None or drift.change.kind != alarm.kind):
            self._alarms.end(alarm, seen)
            self._drift_alarm = alarm = None
        if drift is None:
            return
        change = drift.change
        if alarm is None:
            since = drift.since.seen
            self._drift_alarm = self._alarms.begin(
                change.kind, change.what, change.advice, change.size, change.unit, since, seen
            )
        elif abs(change.size) > (1 + _PUBLISHED_AGAIN) * abs(alarm.size):
            self._drift_alarm = replace(alarm, what=change.what, size=change.size)
            self._alarms.publish(self._drift_alarm)

    def _publish_burst(self, burst: BurstWatch, active: bool, seen: Moment) -> None:
        if active and self._burst_alarm is None:
            first = self._last[-burst.parts_since_first_reject()].seen
            hint = None if self._watch is None else self._watch.hint()
            advice = "look at the newest pictures before sorting parts out: feed, fixture, camera and light come first"
            if hint is not None:
                advice = f"the picture changed as well ({hint}): see to that first"
            what = f"{burst.count} of {len(self._last)} parts rejected"
            self._burst_alarm = self._alarms.begin(BURST, what, advice, float(burst.count), "parts", first, seen)
        elif not active and self._burst_alarm is not None:
            self._alarms.end(self._burst_alarm, seen)
            self._burst_alarm = None
