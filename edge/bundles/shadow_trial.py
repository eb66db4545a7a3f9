"""A candidate on trial: ask a running edge-inspect for it, wait, and tell what came out."""

from __future__ import annotations

import time
from pathlib import Path

from edge.bundles.bundle import ModelBundle
from edge.bundles.candidate import (
    Candidate,
    ShadowReport,
    read_reports,
    shadow_folder,
    withdraw_candidate,
    write_candidate,
)
from edge.core.errors import TrialNotRun, UsageError
from edge.core.progress import progress_bar, say

# a running edge-inspect looks four times a second, and then loads the candidate
_TAKEN_UP_S = 30.0
# one that is alive reports every second
_SILENT_S = 30.0
_LOOK_EVERY_S = 0.5
_NAMED = 8


def passes_trial(live: ModelBundle, staged: ModelBundle, frames: int, limit: float) -> bool:
    """Whether no more than the share `limit` of frames was judged differently, in every process that tried it.

    Raises UsageError when no edge-inspect takes the candidate up, or one stops before the end.
    """
    path, version = live.path, staged.sha256
    reports = run_trial(staged, frames)
    compared, disagreed = (sum(getattr(report, name) for report in reports) for name in ("compared", "disagreed"))
    say(
        f"trial: {compared} frames judged by both, {disagreed} differently: "
        f"{sum(report.new_rejects for report in reports)} rejected by the new version only, "
        f"{sum(report.fewer_rejects for report in reports)} by the live one only"
    )
    for report in reports:
        for each in report.disagreements[:_NAMED]:
            where = f", {shadow_folder(path, version) / each.picture}" if each.picture else ""
            say(f"  frame {each.frame_index} of {each.utc}: {each.live.decision} to {each.candidate.decision}{where}")
    if disagreed <= limit * compared:
        return True
    say(f"that is more than the {limit:.1%} allowed (--shadow-limit)")
    return False


def run_trial(staged: ModelBundle, frames: int, silent_s: float = _SILENT_S) -> list[ShadowReport]:
    """Have every running edge-inspect of the bundle judge so many frames with this version too; their reports.

    silent_s: without a frame for so long the trial is given up. Raises TrialNotRun when nothing was learned of the
    version, UsageError when an edge-inspect refuses it.
    """
    path, version = staged.path, staged.sha256
    # what an earlier trial of this version left says nothing about this one
    for file in shadow_folder(path, version).glob("*.json"):
        file.unlink(missing_ok=True)
    write_candidate(path, Candidate(version=version, frames=frames))
    try:
        return _finished(path, version, frames, silent_s)
    finally:
        withdraw_candidate(path)


def _finished(path: Path, version: str, frames: int, silent_s: float) -> list[ShadowReport]:
    """The reports, once all processes that took the candidate up are through."""
    began = changed = time.monotonic()
    seen: list[ShadowReport] = []
    with progress_bar("beside the live version") as advance:
        while True:
            time.sleep(_LOOK_EVERY_S)
            now = time.monotonic()
            reports = read_reports(path, version)
            _refuse_failed(reports)
            if not reports and now - began > _TAKEN_UP_S:
                raise TrialNotRun(
                    f"no running edge-inspect took the candidate up within {_TAKEN_UP_S:.0f} s",
                    fix=f"start one with --bundle {path}, or leave --shadow out",
                )
            if reports and all(report.state == "finished" for report in reports):
                return reports
            changed = now if reports != seen else changed
            if reports and now - changed > silent_s:
                raise TrialNotRun(
                    f"no frame was compared for {silent_s:.0f} s, after {sum(report.compared for report in reports)}",
                    fix="see whether the line is moving and edge-inspect is running, then repeat",
                )
            seen = reports
            if reports:
                slowest = min(reports, key=lambda report: report.compared)
                advance(min(slowest.compared, frames), frames, f"{slowest.disagreed} disagreements")


def _refuse_failed(reports: list[ShadowReport]) -> None:
    for report in reports:
        if report.state in ("refused", "ended"):
            refused = report.state == "refused"
            raise (UsageError if refused else TrialNotRun)(
                f"the trial {'was refused' if refused else 'ended early'}: {report.reason}",
                fix="mend that, then repeat; the live version goes on as before",
            )
