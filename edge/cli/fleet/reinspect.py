"""reinspect: recorded pictures are judged again with another bundle; what flips is told."""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path

from edge.cli.options import BACKENDS, positive_int, share
from edge.core.config import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "archive",
        type=Path,
        metavar="ARCHIVE",
        help="folder of records, folder of such folders, or Parquet of `records export`; nothing is written there",
    )
    share(parser, "--bundle", required=True, help="model bundle that judges")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="where results go, a folder for each version of a bundle",
    )
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="FOLDER",
        help="of Parquet: the records folder that its pictures lie in; {site} and {line} stand for those of each row",
    )
    parser.add_argument("--product", metavar="NAME", help="only parts of this recipe or bundle name (default: all)")
    parser.add_argument("--since", type=_day, metavar="DAY", help="first day, in UTC, such as 2026-03-14")
    parser.add_argument("--until", type=_day, metavar="DAY", help="last day, in UTC")
    parser.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="pictures at a time (default: as many as cores)",
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="work on a cluster by Ray Data; without an address Ray is started on this machine",
    )
    parser.add_argument("--backend", choices=BACKENDS, help="network runtime (default: the setting)")
    share(parser, "--precision", "--reference", "--json")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """The words, and where the page and the results are."""
    from edge.cli.options import request_from
    from edge.core.files.text_names import storable
    from edge.fleet.archive.reinspect import Request, reinspected
    from edge.fleet.archive.report import TABLE, write_report
    from edge.system.extras import require

    if options.ray is not None:
        require("fleet")
    with reinspected(request_from(Request, options), settings) as made:
        summary, page = write_report(made)
    folder = made.wanted.results.folder
    if options.json:
        print(json.dumps({
            "bundle_sha256": made.bundle.sha256, "judged_now": made.judged, "kept": made.kept,
            "seconds": round(made.seconds, 3), "results": storable(str(folder)),
            "left_out": [storable(text) for text in made.archive.unusable], **summary.as_json(),
        }, indent=1))  # fmt: skip
        return 0
    for line in summary.lines():
        print(line)
    rate = f", {made.judged / made.seconds:.1f} pictures/s" if made.judged else ""
    earlier = f"; {made.kept} results of earlier runs still hold" if made.kept else ""
    print(f"judged now: {made.judged} pictures in {made.seconds:.1f} s{rate}{earlier}")
    print(f"page     {storable(str(page))}")
    print(f"flips    {storable(str(folder / TABLE))}")
    print(f"results  {storable(str(folder))}")
    return 0


def _day(text: str) -> str:
    try:
        # a month 13 would be later than every day there is
        if date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2026-03-14")
