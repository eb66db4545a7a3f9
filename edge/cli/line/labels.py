"""labels: labelled defects to where a network learns from them, escapes to where the line is challenged."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from edge.cli.options import records_directory, share
from edge.core.config import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="the product's folder with train/good/: defects go to train/weak/reviewed/ (default: none)",
    )
    parser.add_argument(
        "--challenge",
        type=Path,
        metavar="FOLDER",
        help="folder of a challenge, such as challenge.pictures: escapes go to escapes/ (default: none)",
    )
    share(parser, "--bundle", "--record-dir")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """Without folders: how many labels there are."""
    from edge.inspection.inspectors import live_bundle
    from edge.records.store import RecordStore
    from edge.review.labelling import labels_in
    from edge.review.uses import export_defects, export_escapes

    with RecordStore(records_directory(settings)) as store:
        if options.data is None and options.challenge is None:
            counts = Counter(review.label.value for review in labels_in(store.directory).values())
            print("\n".join(f"{label:<13} {count}" for label, count in sorted(counts.items())) or "no labels")
            return 0
        bundle = live_bundle(settings).path
        for folder, export in ((options.data, export_defects), (options.challenge, export_escapes)):
            if folder is not None:
                made = export(store, bundle, folder)
                print(f"{made.folder}: {made.held} pictures, {made.added} of them new, {made.removed} removed")
    return 0
