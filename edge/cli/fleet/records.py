"""records: a line's verdicts and labels as Parquet files, for many boxes."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.cli.options import share
from edge.core.config import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("export",), help="export: write what was not written yet")
    parser.add_argument(
        "--parquet", type=Path, required=True, metavar="OUT", help="folder of the tables, for this line and others"
    )
    share(parser, "--line", "--record-dir")
    parser.add_argument(
        "--from-beginning",
        action="store_true",
        help="write everything again that is still on record, into a folder that has nothing of this line",
    )


def execute(options: argparse.Namespace, settings: Settings) -> int:
    from edge.fleet.export.export import export_records

    made = export_records(settings, options.parquet, from_beginning=options.from_beginning)
    where = f"site={made.partitions.site}/line={made.partitions.line}"
    print(f"{made.verdicts} verdicts and {made.labels} labels to {options.parquet}, {where}")
    if made.gone:
        print(f"{made.gone} verdicts were deleted by record.max_verdict_age_days before they could be exported")
    return 0
