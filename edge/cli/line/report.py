"""report: counts, defect rate and latency from the records."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime, timezone

from edge.cli.options import positive_int, records_directory, share
from edge.cli.standard_streams import show
from edge.core.config import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    share(parser, "--record-dir", "--json")
    parser.add_argument("--since", metavar="TIME", help="ISO time, or an age such as 8h, 30m, 7d")
    parser.add_argument("--until", metavar="TIME", help="ISO time, or an age")
    parser.add_argument("--run", type=positive_int, metavar="ID", help="only this run")
    share(parser, "--part", "--lot")
    parser.add_argument("--ng", action="store_true", help="also list the NG verdicts: number, time, score, picture")
    parser.add_argument("--source", help="only this camera")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    from edge.core.datatypes import Part
    from edge.core.local_time import local_text
    from edge.records.disk_outlook import disk_outlook
    from edge.records.report import build_report, moment_from_text, report_table
    from edge.records.store import RecordStore
    from edge.records.verdict_search import rejected_verdicts, verdict_json, verdict_line
    from edge.records.writer.clock_watch import JUMP
    from edge.review.labelling import labels_in
    from edge.review.quality import quality_records
    from edge.review.sample import Scope

    now = datetime.now(timezone.utc)
    since = moment_from_text(options.since, now) if options.since else None
    until = moment_from_text(options.until, now) if options.until else None
    with RecordStore(records_directory(settings)) as store:
        summary = build_report(store, since, until, options.source, options.run, Part.told(options.part, options.lot))
        rejected = rejected_verdicts(store, summary) if options.ng else ()
        outlook = disk_outlook(store, settings.record, now)
        labels = labels_in(store.directory)
        scope = Scope(since, until, summary.chosen_runs, summary.part)
        quality = quality_records(store, labels, scope).total() if labels else None
        newest = store.newest_utc()
        if newest is not None and newest > now + JUMP:
            print(
                f"edge-inspect: the clock says {local_text(now)}, which is before the newest record of "
                f"{local_text(newest)}: it is wrong, or was wrong then, and a --since such as 8h counts from it",
                file=sys.stderr,
            )
        if options.json:
            more = {
                "disk": None if outlook is None else outlook.as_json(),
                "quality": None if quality is None else quality.as_json(),
            }
            listed = {"ng": [verdict_json(store, each) for each in rejected]} if options.ng else {}
            print(json.dumps({**summary.as_json(), **more, **listed}, indent=1))
            return 0
        show(report_table(summary))
        for text in [] if quality is None else ["", *quality.lines()]:
            print(text)
        if outlook is not None:
            print(f"\ndisk: {outlook.text()}")
        # line by line: a table would break the paths, and a year of rejects is long
        for each in rejected:
            print(verdict_line(store, each))
    return 0
