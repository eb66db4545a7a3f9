"""A candidate version beside the live one, as files in the bundle's folder.

`edge-inspect recalibrate --shadow N` writes candidate.json. Every running edge-inspect of the bundle takes the
candidate up (inspection/shadow.py) and reports in shadow-<version>/<host>-<pid>.json, with pictures of disagreements.
"""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.bundles.bundle import write_atomically
from edge.core.datatypes import Decision
from edge.core.errors import BundleError
from edge.core.files.safe_file import read_safe
from edge.core.manifest import Sha256

log = logging.getLogger("edge.bundles.candidate")

CANDIDATE = "candidate.json"
_MAXIMUM_BYTES = 4_000_000

State = Literal["running", "finished", "refused", "ended"]


class Candidate(BaseModel):
    """candidate.json: which staged version shall run beside the live one, for how many frames."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Sha256
    frames: int


class JudgedByVersion(BaseModel):
    """What one version gave for a frame."""

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
    live: JudgedByVersion
    candidate: JudgedByVersion
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
        return Candidate.model_validate_json(read_safe(path, CANDIDATE, _MAXIMUM_BYTES))
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
            reports.append(ShadowReport.model_validate_json(read_safe(file.parent, file.name, _MAXIMUM_BYTES)))
        except (OSError, ValidationError) as error:
            log.warning("%s cannot be read: %s", file, error)
    return reports
