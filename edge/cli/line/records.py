"""replay, report: the commands that read the records."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import get_args

from edge.backends import target_of
from edge.bundles.bundle import CPU, ModelBundle, calibration_key, load_bundle
from edge.bundles.versions import kept_versions
from edge.capture.freshness import FreshnessCheck
from edge.cli.console import show
from edge.cli.line.run import make_inspector
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.core.files.storable import path_of_stored, storable
from edge.core.local_time import local_iso, local_text
from edge.core.manifest import Precision
from edge.inspection.inspector import Inspector
from edge.inspection.replay import Outcome
from edge.inspection.replay import replay as replay_verdict
from edge.records.disk_outlook import disk_outlook
from edge.records.report import build_report, moment_from_text, report_table
from edge.records.store import DATABASE_NAME, RecordStore, RunRecord, VerdictRecord
from edge.records.verdict_search import rejected_verdicts, verdict_json, verdict_line
from edge.records.writer.clock_watch import JUMP

# STORE/images/DAY/PICTURE
_STORE_ABOVE = 2


def replay(options: argparse.Namespace, settings: Settings) -> int:
    """Judge a recorded picture again; 1 when the verdict or the score differs."""

    def inspector_of(run: RunRecord, recorded: VerdictRecord) -> Inspector:
        path = Path(settings.inspection.bundle or path_of_stored(run.info.bundle_path))
        bundle = _version_of(path, recorded.bundle_sha256)
        backend = options.backend or run.info.backend
        target = target_of(backend)
        # a version that was switched to during the run may have run in another precision than the one it began with
        precisions = (name for name in get_args(Precision) if _network(bundle, name, target) == recorded.engine_sha256)
        inspection = settings.inspection.model_copy(
            update={
                "precision": next(precisions, run.info.precision),
                "backend": backend,
            }
        )
        return make_inspector(bundle, settings.model_copy(update={"inspection": inspection}))

    check = FreshnessCheck(settings.freshness, live=False)
    with RecordStore(_store_of(options, settings)) as store:
        result = replay_verdict(store, options.verdict, inspector_of, check.fault)
    recorded, now = result.recorded, result.verdict
    if options.json:
        answer = {
            "id": recorded.number,
            "time": local_iso(recorded.utc),
            "picture": None if recorded.image is None else storable(str(store.directory / recorded.image)),
            "outcome": result.outcome.value,
            "explanation": result.explanation,
            "recorded": {"decision": str(recorded.decision), "reason": str(recorded.reason), "score": recorded.score},
            "now": None if now is None else now.as_json(result.run.info.source),
        }
        print(json.dumps(answer, indent=1))
    else:
        # a plain number is taken for a frame's by whoever reads names of earlier versions
        row = f" (row {recorded.id} of the database)" if options.verdict.isdecimal() else ""
        print(f"verdict {recorded.number}{row} of {local_text(recorded.utc)}, {result.run.info.source}")
        print(f"recorded  {recorded.decision}  {recorded.reason}  {recorded.detail}")
        if now is not None:
            print(f"now       {now.decision}  {now.reason}  {now.detail}")
        print(f"{result.outcome.value}: {result.explanation}")
    return 1 if result.outcome is Outcome.DIFFERENT else 0


def report(options: argparse.Namespace, settings: Settings) -> int:
    """Counts, defect rate and latency of a time range."""
    now = datetime.now(timezone.utc)
    since = moment_from_text(options.since, now) if options.since else None
    until = moment_from_text(options.until, now) if options.until else None
    with RecordStore(_directory(settings)) as store:
        summary = build_report(store, since, until, options.source, options.run)
        rejected = rejected_verdicts(store, summary) if options.ng else ()
        outlook = disk_outlook(store, settings.record, now)
        newest = store.newest_utc()
        if newest is not None and newest > now + JUMP:
            print(
                f"edge-inspect: the clock says {local_text(now)}, which is before the newest record of "
                f"{local_text(newest)}: it is wrong, or was wrong then, and a --since such as 8h counts from it",
                file=sys.stderr,
            )
        if options.json:
            disk = {"disk": None if outlook is None else outlook.as_json()}
            listed = {"ng": [verdict_json(store, each) for each in rejected]} if options.ng else {}
            print(json.dumps({**summary.as_json(), **disk, **listed}, indent=1))
            return 0
        show(report_table(summary))
        if outlook is not None:
            print(f"\ndisk: {outlook.text()}")
        # line by line: a table would break the paths, and a year of rejects is long
        for each in rejected:
            print(verdict_line(store, each))
    return 0


def _version_of(path: Path, sha256: str) -> ModelBundle:
    """The version that judged, while it is kept; else the live one, which the comparison then refuses by name."""
    live = load_bundle(path)
    kept = (version.bundle for version in kept_versions(path) if version.bundle.sha256 == sha256)
    return live if live.sha256 == sha256 else next(kept, live)


def _network(bundle: ModelBundle, precision: str, target: str) -> str | None:
    key = f"model_{precision}" if target == CPU else calibration_key(precision, target)
    return bundle.engine_sha256(precision, target) if key in bundle.manifest.files else None


def _store_of(options: argparse.Namespace, settings: Settings) -> Path:
    """The store that the picture lies in, where one is given and no other store."""
    above = Path(options.verdict).absolute().parents
    inside = options.record_dir is None and "." in options.verdict and len(above) > _STORE_ABOVE
    if inside and (above[_STORE_ABOVE] / DATABASE_NAME).is_file():
        return above[_STORE_ABOVE]
    return _directory(settings)


def _directory(settings: Settings) -> Path:
    if settings.record.directory is None:
        raise UsageError("record.directory is null: there are no records", fix="give --record-dir")
    return Path(settings.record.directory)
