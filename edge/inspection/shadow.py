"""A candidate beside the live version: both judge every frame that the candidate has time for; disagreements are kept.

The candidate never delays a verdict. It runs in a thread of its own, and the live version alone judges the frames that
come while the candidate is busy.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from dataclasses import dataclass
from datetime import timezone
from pathlib import Path

import cv2
import numpy as np

from edge.bundles.bundle import write_atomically
from edge.bundles.candidate import Candidate, Disagreement, JudgedByVersion, ShadowReport, State
from edge.core.datatypes import Decision, Frame, Verdict
from edge.core.errors import BundleError
from edge.inspection.inspector import Inspector

log = logging.getLogger("edge.inspection.shadow")

# disagreements that are described, and pictures of them that are kept; all are counted
_DESCRIBED, _PICTURED = 500, 50
_REST_S = 0.5


@dataclass
class _Kept:
    """A disagreement, and its frame until the picture is written."""

    entry: Disagreement
    frame: Frame | None


class Trial:
    """The candidate's side of one process: its thread, its counts. `offer` never waits."""

    def __init__(self, inspector: Inspector, candidate: Candidate, against: str) -> None:
        self._inspector = inspector
        self._candidate = candidate
        self._against = against
        self._offered: queue.Queue[tuple[Frame, Verdict] | None] = queue.Queue(maxsize=1)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._compared = self._new_rejects = self._fewer_rejects = 0
        self._disagreements: list[_Kept] = []
        self._thread = threading.Thread(target=self._work, name="candidate", daemon=True)
        self._thread.start()

    @property
    def version(self) -> str:
        return self._candidate.version

    @property
    def done(self) -> bool:
        return self._compared >= self._candidate.frames

    def offer(self, frame: Frame, verdict: Verdict) -> None:
        """Have a frame judged that the live version has just judged, unless the candidate is busy."""
        if verdict.bundle_sha256 != self._against or verdict.decision is Decision.INVALID or self.done:
            return
        try:
            self._offered.put_nowait((frame, verdict))
        except queue.Full:
            return

    def report(self, state: State = "running", reason: str = "") -> ShadowReport:
        """As things are now."""
        with self._lock:
            return ShadowReport(
                version=self.version,
                against=self._against,
                state=state,
                frames=self._candidate.frames,
                compared=self._compared,
                new_rejects=self._new_rejects,
                fewer_rejects=self._fewer_rejects,
                reason=reason,
                disagreements=tuple(kept.entry for kept in self._disagreements),
            )

    def store_pictures(self, folder: Path) -> None:
        """Write the pictures of disagreements that are not written yet; best effort, counts do not depend on it."""
        with self._lock:
            waiting = [kept for kept in self._disagreements if kept.frame is not None]
        for kept in waiting:
            frame, entry = kept.frame, kept.entry
            assert frame is not None and frame.image is not None
            name = f"{os.getpid()}-{frame.index:09d}-{entry.live.decision}-{entry.candidate.decision}.png"
            encoded = cv2.imencode(".png", frame.image)[1]
            try:
                write_atomically(folder / name, np.asarray(encoded).tobytes())
            except BundleError as error:
                log.warning("a disagreement's picture is not kept: %s", error.message)
                name = ""
            with self._lock:
                kept.entry = entry.model_copy(update={"picture": name or None})
                kept.frame = None

    def close(self, timeout_s: float = 1.0) -> bool:
        """End the thread and free the candidate; False when it hangs, and is left behind."""
        self._closing.set()
        try:
            self._offered.put(None, timeout=timeout_s)
        except queue.Full:
            return False
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        self._inspector.backend.close()
        return True

    def _work(self) -> None:
        while True:
            try:
                offered = self._offered.get(timeout=_REST_S)
            except queue.Empty:
                self._rest()
                continue
            if offered is None:
                return
            if not self.done and not self._closing.is_set():
                self._compare(*offered)

    def _rest(self) -> None:
        """As the loop does with the live version: a candidate must not hold on to a GPU that the line has lost."""
        try:
            self._inspector.rest()
        # the next frame will say what is wrong
        except Exception as error:  # noqa: BLE001
            log.warning("the candidate failed between frames: %s", error)

    def _compare(self, frame: Frame, live: Verdict) -> None:
        try:
            judged = _judged(self._inspector.inspect(frame))
        # a candidate that fails on a frame disagrees; the line does not care
        except Exception as error:  # noqa: BLE001
            log.warning("the candidate failed on frame %d: %s", frame.index, error)
            judged = JudgedByVersion(decision=Decision.INVALID, score=None, threshold=self._inspector.threshold)
        with self._lock:
            self._compared += 1
            if judged.decision is live.decision:
                return
            self._new_rejects += live.decision is Decision.OK
            self._fewer_rejects += live.decision is Decision.NG
            if len(self._disagreements) < _DESCRIBED:
                entry = Disagreement(
                    frame_index=frame.index,
                    utc=frame.utc.astimezone(timezone.utc).isoformat(timespec="milliseconds"),
                    source=frame.source,
                    live=_judged(live),
                    candidate=judged,
                )
                pictured = len(self._disagreements) < _PICTURED
                self._disagreements.append(_Kept(entry, frame if pictured else None))


def _judged(verdict: Verdict) -> JudgedByVersion:
    return JudgedByVersion(decision=verdict.decision, score=verdict.score, threshold=verdict.threshold)
