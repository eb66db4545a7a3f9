"""Watches the line beside the inspection: drift of pictures and scores, bursts of rejects. Alarms, no verdicts."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from edge.core.alarms import BURST, Alarm
from edge.core.config import BurstSettings, DriftSettings
from edge.core.counters import RunCounters
from edge.core.datatypes import F32, U8, Decision, Frame, Verdict
from edge.monitoring.background_worker import BackgroundWorker
from edge.monitoring.drift.burst import BurstWatch
from edge.monitoring.drift.measures import Placement, is_grey, measure
from edge.monitoring.drift.reference import DriftReference, ReferenceBuilder
from edge.monitoring.drift.watch import Drift, DriftWatch, Part
from edge.preprocessing.preprocess import Preprocess

log = logging.getLogger(__name__)

# pictures that may wait to be measured; a picture more is not measured
_WAITING_PICTURES = 4
# with more rejects than these among so many parts they are measured too: soon nothing else is left to tell why
_RECENT_PARTS, _FEW_REJECTS = 16, 4
_CLOSE_S = 0.8
# a size is told anew when it has grown by this share
_TOLD_AGAIN = 0.25


@dataclass(frozen=True)
class WatchedBundle:
    """What parts are compared with. reference: None when the bundle has none. scores: of held-out normals."""

    preprocess: Preprocess
    reference: DriftReference | None
    scores: F32
    threshold: float


# hash of a bundle → what its parts are compared with; None when it cannot be had
WatchedBundleOf = Callable[[str], WatchedBundle | None]


@dataclass(frozen=True)
class _Look:
    """One inspected part; image: None when it is not to be measured."""

    bundle_sha256: str
    index: int
    utc: datetime
    rejected: bool
    score: float
    image: U8 | None


class DriftMonitor:
    """A sink that compares parts with the calibration, in a thread of its own.

    on_alarm: called from that thread for every alarm, and again when it has grown or is over. What stands
    is on `counters.alarms`, what is compared with what in `counters.drift_state`.
    """

    def __init__(
        self,
        drift: DriftSettings,
        burst: BurstSettings,
        bundle_of: WatchedBundleOf,
        counters: RunCounters,
        on_alarm: Callable[[Alarm], None],
    ) -> None:
        self._drift_on = drift.watch
        self._rejected: deque[bool] = deque(maxlen=_RECENT_PARTS)
        self._counters = counters
        counters.drift_state = "waiting for parts" if drift.watch else "off"
        watch = _Watch(drift, burst, bundle_of, counters, on_alarm)
        self._looks: BackgroundWorker[_Look] = BackgroundWorker("drift watch", watch.take, self._stopped)

    def write(self, frame: Frame, verdict: Verdict) -> None:
        """Take a verdict; keeps the picture only while it waits to be measured."""
        if verdict.score is None:
            return
        rejected = verdict.decision is Decision.NG
        self._rejected.append(rejected)
        image = None
        telling = not rejected or sum(self._rejected) > _FEW_REJECTS
        # one thread adds, the other takes away: at worst a picture more or less waits
        if self._drift_on and telling and self._looks.waiting < _WAITING_PICTURES:
            image = frame.image
        self._looks.put(_Look(verdict.bundle_sha256, frame.index, frame.utc, rejected, verdict.score, image))

    def close(self) -> None:
        """Look at what waits, for less than a second."""
        self._looks.close(_CLOSE_S)

    def _stopped(self, error: Exception) -> None:
        self._counters.drift_state = f"failed, see the log: {error}"


class _Watch:
    """What the thread does: looks in, alarms out."""

    def __init__(
        self,
        drift: DriftSettings,
        burst: BurstSettings,
        bundle_of: WatchedBundleOf,
        counters: RunCounters,
        on_alarm: Callable[[Alarm], None],
    ) -> None:
        self._settings = drift
        self._bundle_of = bundle_of
        self._counters = counters
        self._on_alarm = on_alarm
        self._burst = None if burst.rejects is None else BurstWatch(burst.rejects, burst.of)
        self._last: deque[_Look] = deque(maxlen=burst.of)
        self._bundle_sha256: str | None = None
        self._bundle: WatchedBundle | None = None
        self._placement: Placement | None = None
        self._colour_compared = False
        self._learning: ReferenceBuilder | None = None
        self._watch: DriftWatch | None = None
        self._drift_alarm: Alarm | None = None
        self._burst_alarm: Alarm | None = None

    def take(self, look: _Look) -> None:
        if look.image is not None:
            if look.bundle_sha256 != self._bundle_sha256:
                self._leave_version(look)
                self._begin(look.bundle_sha256)
            self._look_at(look.image, look)
        if self._burst is not None:
            self._last.append(look)
            self._tell_burst(self._burst, self._burst.add(look.rejected), look)

    def _leave_version(self, look: _Look) -> None:
        """A drift from the version before says nothing of this one's calibration: it ends, and may be found anew."""
        alarm, self._drift_alarm = self._drift_alarm, None
        if alarm is not None:
            what = f"{alarm.what} (against version {str(self._bundle_sha256)[:12]}, which judges no longer)"
            self._tell(replace(_ended(alarm, look), what=what))

    def _begin(self, bundle_sha256: str) -> None:
        """Compare with this bundle from here on."""
        self._bundle_sha256 = bundle_sha256
        self._bundle = self._bundle_of(bundle_sha256)
        self._watch = self._placement = self._learning = None
        self._colour_compared = False
        if self._bundle is None:
            self._counters.drift_state = f"off: nothing to compare version {bundle_sha256[:12]} with"
        elif self._bundle.reference is not None:
            self._counters.drift_state = f"compared with {len(self._bundle.reference.values)} parts of the calibration"
        else:
            self._learning = ReferenceBuilder(self._bundle.preprocess)

    def _look_at(self, image: U8, look: _Look) -> None:
        if self._bundle is None:
            return
        if self._learning is not None:
            if not look.rejected:
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
        self._watch.add(Part(values, None if look.rejected else look.score, look.index, look.utc))
        self._tell_drift(self._watch.drift, look)

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
            self._bundle, self._learning = replace(bundle, reference=builder.finished()), None
            self._counters.drift_state = f"compared with the first {wanted} accepted parts of this run"

    def _tell_drift(self, drift: Drift | None, look: _Look) -> None:
        alarm = self._drift_alarm
        if alarm is not None and (drift is None or drift.change.kind != alarm.kind):
            self._tell(_ended(alarm, look))
            self._drift_alarm = alarm = None
        if drift is None:
            return
        change = drift.change
        if alarm is None:
            self._drift_alarm = self._new(
                change.kind, change.what, change.advice, change.size, change.unit, drift.since, look
            )
        elif abs(change.size) > (1 + _TOLD_AGAIN) * abs(alarm.size):
            self._drift_alarm = replace(alarm, what=change.what, size=change.size)
            self._tell(self._drift_alarm)

    def _tell_burst(self, burst: BurstWatch, active: bool, look: _Look) -> None:
        if active and self._burst_alarm is None:
            first = self._last[-burst.parts_since_first_reject()]
            hint = None if self._watch is None else self._watch.hint()
            advice = "look at the newest pictures before sorting parts out: feed, fixture, camera and light come first"
            if hint is not None:
                advice = f"the picture changed as well ({hint}): see to that first"
            what = f"{burst.count} of {len(self._last)} parts rejected"
            self._burst_alarm = self._new(BURST, what, advice, float(burst.count), "parts", first, look)
        elif not active and self._burst_alarm is not None:
            self._tell(_ended(self._burst_alarm, look))
            self._burst_alarm = None

    def _new(
        self, kind: str, what: str, advice: str, size: float, unit: str, since: Part | _Look, look: _Look
    ) -> Alarm:
        first = since.frame_index if isinstance(since, Part) else since.index
        alarm = Alarm(self._counters.alarms.new_number(), kind, what, advice, size, unit, since.utc, look.utc, first)
        self._tell(alarm)
        return alarm

    def _tell(self, alarm: Alarm) -> None:
        self._counters.alarms.put(alarm)
        self._on_alarm(alarm)


def _ended(alarm: Alarm, look: _Look) -> Alarm:
    return replace(alarm, ended=look.utc, last_frame=look.index)
