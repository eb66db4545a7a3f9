"""review: a person says what a recorded part is; without that, which parts to look at next and what is known so far."""

from __future__ import annotations

import argparse
import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from edge.cli.options import records_directory, share
from edge.core.config import Settings
from edge.core.errors import UsageError

if TYPE_CHECKING:
    from edge.records.store import RecordStore
    from edge.review.database import ReviewDatabase
    from edge.review.sample import Scope

_LISTED = 10
_UNDO = "undo"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("verdict", nargs="?", metavar="VERDICT", help="its number (12-004711), or its picture")
    parser.add_argument(
        "answer",
        nargs="?",
        choices=("good", "defect", "unsure", _UNDO),
        help=f"what the part is, whatever the verdict says; {_UNDO} takes back what was said",
    )
    parser.add_argument("--note", default="", metavar="TEXT", help="what there is to say about it")
    parser.add_argument("--who", metavar="NAME", help="who says it (default: the user and the machine)")
    parser.add_argument(
        "--since", default="30d", metavar="TIME", help="which parts to look at: ISO time, or an age (default: 30d)"
    )
    share(parser, "--line", "--record-dir", "--json")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    from edge.records.store import RecordStore
    from edge.review.database import ReviewDatabase

    if (options.verdict is None) != (options.answer is None):
        raise UsageError(
            "a label is a verdict and what the part is", fix="give both, such as `edge-inspect review 12-004711 good`"
        )
    with RecordStore(records_directory(settings)) as store, ReviewDatabase(store.directory) as reviews:
        if options.verdict is None:
            return _show(options, store, reviews)
        return _label(options, store, reviews, settings)


def _label(options: argparse.Namespace, store: RecordStore, reviews: ReviewDatabase, settings: Settings) -> int:
    from edge.bundles.history import whoever_runs_this
    from edge.records.verdict_search import find_verdict
    from edge.review.labelling import Reviewer, give_label, take_back
    from edge.review.labels import Answer
    from edge.review.sample import drawn_parts, next_parts

    verdict = find_verdict(store, options.verdict)
    by, now = Reviewer(options.who or whoever_runs_this(), settings.line.name), datetime.now(timezone.utc)
    if options.answer == _UNDO:
        given = take_back(store, reviews, verdict, by, now)
    else:
        drawn = drawn_parts(store, reviews.labels(), _scope(options))
        asked = verdict.id in {each.id for each in next_parts(store, drawn, _LISTED)}
        given = give_label(
            store, reviews, verdict, Answer(options.answer), by, now, asked=asked, note=options.note
        )  # fmt: skip
    if options.json:
        picture = None if given.picture is None else str(store.directory / given.picture)
        print(json.dumps({"id": verdict.number, "label": given.label.value, "asked": given.asked, "picture": picture}))
        return 0
    print(f"{verdict.number}: the verdict was {verdict.decision}, the label is {given.label.value}")
    if given.picture is None and options.answer != _UNDO:
        print("its picture is gone, or was never kept: nothing can learn from it")
    return 0


def _show(options: argparse.Namespace, store: RecordStore, reviews: ReviewDatabase) -> int:
    from edge.core.local_time import local_iso, local_text
    from edge.review.quality import quality_records
    from edge.review.sample import WANTED, next_parts

    records = quality_records(store, reviews.labels(), _scope(options))
    quality, coming = records.total(), next_parts(store, records.drawn, _LISTED)
    if options.json:
        listed = [
            {"id": each.number, "time": local_iso(each.utc), "picture": str(store.directory / str(each.image))}
            for each in coming
        ]
        print(json.dumps({"next": listed, **quality.as_json()}, indent=1))
        return 0
    for each in coming:
        print(f"{each.number}  {local_text(each.utc)}  {store.directory / str(each.image)}")
    if not coming:
        print("there is nothing to look at: every picture that was drawn has a label")
    counts = [f"{group.value} {quality.looked_at[group]} of {wanted}" for group, wanted in WANTED.items()]
    print("\n".join(["", f"looked at   {', '.join(counts)}", *quality.lines()]))
    return 0


def _scope(options: argparse.Namespace) -> Scope:
    from edge.records.report import moment_from_text
    from edge.review.sample import Scope

    return Scope(since=moment_from_text(options.since, datetime.now(timezone.utc)))
