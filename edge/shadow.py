"""A candidate beside the live version: every frame it can get is judged by both, and disagreements are kept.

`edge-inspect recalibrate --shadow N` writes candidate.json into the bundle; every running edge-inspect that uses the
bundle takes the candidate up and reports in shadow-<version>/<host>-<pid>.json, with a picture of each disagreement.
Nothing of it is on the way of a verdict: the candidate has a thread of its own, and frames that come while it is busy
are judged by the live version alone.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
from dataclasses import dataclass
from datetime import timezone
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from edge.bundle import write_atomically
from edge.confined_file import read_confined
from edge.datatypes import Decision, Frame, Verdict
from edge.errors import BundleError
from edge.inspector import Inspector
from edge.manifest import Sha256

log = logging.getLogger("edge.shadow")

CANDIDATE = "candidate.json"
_MAXIMUM_BYTES = 4_000_000
# disagreements that are described, and pictures of them that are kept; all are counted
_DESCRIBED, _PICTURED = 500, 50
_REST_S = 0.5

State = Literal["running", "finished", "refused", "ended"]


class Candidate(BaseModel):
    """candidate.json: which staged version shall run beside the live one, for how many frames."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Sha256
    frames: int


class Opinion(BaseModel):
    """What one version said of a frame."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    decision: Decision
    score: float | None
    threshold: float


class Disagreement(BaseModel):
    """A frame that both versions judged differently; picture: a file in the report's folder, where one was kept."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    frame_index: int
    utc: str
    source: str
    live: Opinion
    candidate: Opinion
    picture: str | None = None


class ShadowReport(BaseModel):
    """How a trial goes, or went, in one process.

    compared: frames judged by both. new_rejects: OK by the live version, not by the candidate; fewer_rejects: the other
    way round. reason: why it was refused or ended early.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: str
    against: str
    state: State
    frames: int
    compared: int = 0
    new_rejects: int = 0
    fewer_rejects: int = 0
    reason: str = ""
    disagreements: tuple[Disagreement, ...] = ()

    @property
    def disagreed(self) -> int:
        return self.new_rejects + self.fewer_rejects


def write_candidate(path: Path, candidate: Candidate) -> None:
    """Ask every running edge-inspect of this bundle to take the candidate up."""
    write_atomically(path / CANDIDATE, candidate.model_dump_json().encode())


def withdraw_candidate(path: Path) -> None:
    """End the trials."""
    (path / CANDIDATE).unlink(missing_ok=True)


def read_candidate(path: Path) -> Candidate | None:
    """The candidate asked for, None when there is none; raises BundleError when the file is not one."""
    try:
        return Candidate.model_validate_json(read_confined(path, CANDIDATE, _MAXIMUM_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise BundleError(f"{path / CANDIDATE} cannot be read: {error}", fix="delete it") from error


def shadow_folder(path: Path, version: str) -> Path:
    """Where the reports on a candidate lie."""
    return path / f"shadow-{version[:16]}"


def report_file(path: Path, version: str) -> Path:
    """This process's report."""
    return shadow_folder(path, version) / f"{socket.gethostname()}-{os.getpid()}.json"


def write_report(path: Path, report: ShadowReport) -> None:
    """Raises BundleError where the bundle's directory may not be written."""
    file = report_file(path, report.version)
    try:
        file.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise BundleError(
            f"{file.parent}: {error.strerror}", fix="let this user write the bundle's directory"
        ) from error
    write_atomically(file, report.model_dump_json(indent=1).encode())


def read_reports(path: Path, version: str) -> list[ShadowReport]:
    """The reports of all processes; one that is damaged is left out."""
    reports = []
    for file in sorted(shadow_folder(path, version).glob("*.json")):
        try:
            reports.append(ShadowReport.model_validate_json(read_confined(file.parent, file.name, _MAXIMUM_BYTES)))
        except (OSError, ValidationError) as error:
            log.warning("%s cannot be read: %s", file, error)
    return reports


@dataclass
class _Kept:
    """A disagreement, and its frame until the picture is written."""

    said: Disagreement
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
                disagreements=tuple(kept.said for kept in self._disagreements),
            )

    def store_pictures(self, folder: Path) -> None:
        """Write the pictures of disagreements that are not written yet; best effort, counts do not depend on it."""
        with self._lock:
            waiting = [kept for kept in self._disagreements if kept.frame is not None]
        for kept in waiting:
            frame, said = kept.frame, kept.said
            assert frame is not None and frame.image is not None
            name = f"{os.getpid()}-{frame.index:09d}-{said.live.decision}-{said.candidate.decision}.png"
            encoded = cv2.imencode(".png", frame.image)[1]
            try:
                write_atomically(folder / name, np.asarray(encoded).tobytes())
            except BundleError as error:
                log.warning("a disagreement's picture is not kept: %s", error.message)
                name = ""
            with self._lock:
                kept.said = said.model_copy(update={"picture": name or None})
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
            said = _opinion(self._inspector.inspect(frame))
        # a candidate that fails on a frame disagrees; the line does not care
        except Exception as error:  # noqa: BLE001
            log.warning("the candidate failed on frame %d: %s", frame.index, error)
            said = Opinion(decision=Decision.INVALID, score=None, threshold=self._inspector.threshold)
        with self._lock:
            self._compared += 1
            if said.decision is live.decision:
                return
            self._new_rejects += live.decision is Decision.OK
            self._fewer_rejects += live.decision is Decision.NG
            if len(self._disagreements) < _DESCRIBED:
                entry = Disagreement(
                    frame_index=frame.index,
                    utc=frame.utc.astimezone(timezone.utc).isoformat(timespec="milliseconds"),
                    source=frame.source,
                    live=_opinion(live),
                    candidate=said,
                )
                pictured = len(self._disagreements) < _PICTURED
                self._disagreements.append(_Kept(entry, frame if pictured else None))


def _opinion(verdict: Verdict) -> Opinion:
    return Opinion(decision=verdict.decision, score=verdict.score, threshold=verdict.threshold)
