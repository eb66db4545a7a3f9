"""A running inspection follows its bundle: a version that becomes live is loaded beside the old one, then takes over.

The poller's thread looks at the manifest a few times a second (one `stat`). It loads a version that it finds there,
tries it on the last frame seen, and only then puts it into the pool, which the loop asks between two frames. A version
that cannot be used (damaged, not signed, of another region) is refused with a message, and the version before goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from edge.bundles.bundle import MANIFEST, ModelBundle
from edge.bundles.candidate import CANDIDATE, Candidate, ShadowReport, read_candidate, shadow_folder, write_report
from edge.bundles.learning import LEARNING, Learning, read_learning
from edge.bundles.versions import SHORT, find_version
from edge.core.counters import RunCounters
from edge.core.datatypes import Frame, Verdict
from edge.core.errors import BundleError, EdgeInspectError
from edge.core.files.safe_file import Stamp, stamp
from edge.inspection.inspector import Inspector
from edge.inspection.shadow import Trial

log = logging.getLogger("edge.inspection.hot_swap")

# what was refused may become usable without a new manifest: it is signed, or the rest of a copy arrives
TRY_AGAIN_S = 2.0
_REPORT_EVERY_S = 1.0
# the first run of a network allocates; the frame that gets it must not pay for that
_TRIES = 3


class ReplacedPool(Protocol):
    """What is done to a pool, or to the part of one that a camera of a group has."""

    @property
    def inspectors(self) -> tuple[Inspector, ...]: ...

    def replace(self, inspectors: Sequence[Inspector]) -> None: ...

    def close_retired(self) -> None: ...


class HotSwap:
    """A job of the poller that keeps a pool at the bundle's live version; also a sink, because it tries new versions on
    the line's own frames.

    live: the version that the pool holds. load: the bundle's live version, trusted, or BundleError. trust: raises
    BundleError for a version that must not run. open_inspectors: as many inspectors as the pool has, or one.
    counters.bundle_state says what is going on, counters.learning_state what is learned beside it.
    """

    name = "bundle"

    def __init__(
        self,
        live: ModelBundle,
        pool: ReplacedPool,
        counters: RunCounters,
        *,
        load: Callable[[], ModelBundle],
        trust: Callable[[ModelBundle], None],
        open_inspectors: Callable[[ModelBundle, int], Sequence[Inspector]],
    ) -> None:
        self._path = live.path
        self._live = live
        self._pool = pool
        self._counters = counters
        self._load, self._trust, self._open = load, trust, open_inspectors
        self._frame: Frame | None = None
        self._trial: Trial | None = None
        # None: whatever became live since `live` was loaded is looked at once
        self._manifest_seen: Stamp = None
        self._candidate_seen: Stamp = None
        self._learning_seen: Stamp = None
        self._learning: Learning | None = None
        self._try_again_s = 0.0
        self._refusal = ""
        self._reported_s = 0.0

    @property
    def live(self) -> ModelBundle:
        """The version that the pool holds."""
        return self._live

    def write(self, frame: Frame, verdict: Verdict) -> None:
        """Remember the frame, and show it to the candidate if there is one; returns at once."""
        if frame.image is not None and frame.fault is None:
            self._frame = frame
        trial = self._trial
        if trial is not None:
            trial.offer(frame, verdict)

    def close(self) -> None:
        """The pool stays open, for who made it."""

    def poll(self) -> None:
        """Take up a new version or candidate, and end what is over."""
        self._pool.close_retired()
        self._follow_live()
        self._follow_candidate()
        self._follow_trial()
        self._follow_learning()

    def end(self, why: str = "edge-inspect stopped") -> None:
        """A trial that runs says that it ended."""
        self._end_trial("ended", why)

    def _follow_live(self) -> None:
        seen = stamp(self._path / MANIFEST)
        if seen == self._manifest_seen and (not self._refusal or time.monotonic() < self._try_again_s):
            return
        self._manifest_seen = seen
        self._try_again_s = time.monotonic() + TRY_AGAIN_S
        try:
            bundle = self._load()
            if bundle.sha256 != self._live.sha256:
                self._switch_to(bundle)
            self._refusal = ""
        except EdgeInspectError as error:
            self._refuse(error)

    def _switch_to(self, bundle: ModelBundle) -> None:
        inspectors = self._opened(bundle, len(self._pool.inspectors))
        self._end_trial("ended", f"version {bundle.sha256[:SHORT]} became live")
        self._pool.replace(inspectors)
        before, self._live = self._live, bundle
        self._counters.switches += 1
        self._counters.bundle_state = f"version {bundle.sha256[:SHORT]}"
        log.warning("now version %s, before it %s", bundle.sha256[:SHORT], before.sha256[:SHORT])

    def _refuse(self, error: EdgeInspectError) -> None:
        if error.message == self._refusal:
            return
        self._refusal = error.message
        log.error("the new version is refused, %s goes on: %s", self._live.sha256[:SHORT], error)
        self._counters.bundle_state = f"version {self._live.sha256[:SHORT]}; the new one is REFUSED: {error.message}"

    def _opened(self, bundle: ModelBundle, count: int) -> Sequence[Inspector]:
        """Loaded, and tried on the last frame that the line saw."""
        if bundle.preprocess != self._live.preprocess:
            raise BundleError(
                f"version {bundle.sha256[:SHORT]} has another region of interest, alignment or picture size",
                fix="restart edge-inspect to use it",
            )
        inspectors = self._open(bundle, count)
        try:
            try_on(self._frame, inspectors)
        except BaseException:
            # it is tried again every few seconds, and would take memory each time
            for inspector in inspectors:
                inspector.backend.close()
            raise
        return inspectors

    def _follow_candidate(self) -> None:
        seen = stamp(self._path / CANDIDATE)
        if seen == self._candidate_seen:
            return
        self._candidate_seen = seen
        self._end_trial("ended", "another candidate came, or this one was withdrawn")
        candidate = None
        try:
            candidate = read_candidate(self._path)
            if candidate is not None and candidate.version != self._live.sha256:
                self._trial = self._trial_of(candidate)
                write_report(self._path, self._trial.report())
        except EdgeInspectError as error:
            log.error("the candidate is refused: %s", error)
            if candidate is not None:
                self._report(
                    ShadowReport(
                        version=candidate.version, against=self._live.sha256, state="refused",
                        frames=candidate.frames, reason=error.message,
                    )
                )  # fmt: skip

    def _trial_of(self, candidate: Candidate) -> Trial:
        version = find_version(self._path, candidate.version)
        self._trust(version)
        (inspector,) = self._opened(version, 1)
        log.warning("candidate %s runs beside %s", version.sha256[:SHORT], self._live.sha256[:SHORT])
        return Trial(inspector, candidate, self._live.sha256)

    def _follow_trial(self) -> None:
        trial = self._trial
        if trial is None:
            return
        if trial.done:
            self._end_trial("finished", "")
        elif time.monotonic() >= self._reported_s + _REPORT_EVERY_S:
            self._reported_s = time.monotonic()
            trial.store_pictures(shadow_folder(self._path, trial.version))
            self._report(trial.report())

    def _follow_learning(self) -> None:
        seen = stamp(self._path / LEARNING)
        if seen != self._learning_seen:
            self._learning_seen = seen
            try:
                self._learning = read_learning(self._path)
            except BundleError as error:
                log.warning("%s", error)
                self._learning = None
        # also of an old file: the process that wrote it may have gone meanwhile
        self._counters.learning_state = "" if self._learning is None else self._learning.text()

    def _end_trial(self, state: str, reason: str) -> None:
        trial, self._trial = self._trial, None
        if trial is None:
            return
        trial.store_pictures(shadow_folder(self._path, trial.version))
        report = trial.report("finished" if state == "finished" else "ended", reason)
        if not trial.close():
            log.error("the candidate %s hangs and is left behind", trial.version[:SHORT])
        self._report(report)

    def _report(self, report: ShadowReport) -> None:
        state = f"version {self._live.sha256[:SHORT]}"
        if report.state == "running":
            beside = f"{report.compared} of {report.frames} frames, {report.disagreed} disagreements"
            state = f"{state}, beside it {report.version[:SHORT]}: {beside}"
        self._counters.bundle_state = state
        try:
            write_report(self._path, report)
        except BundleError as error:
            log.warning("the trial cannot be reported: %s", error)


def try_on(frame: Frame | None, inspectors: Sequence[Inspector], times: int = _TRIES) -> None:
    """Have each inspector score a frame that the line saw; a frame that does not fit, or none, tries nothing.

    Raises what the backend raises, ModelError and others.
    """
    for inspector in inspectors:
        if frame is not None:
            inspector.try_on(frame, times)
