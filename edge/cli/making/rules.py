"""rules check, rules list, rules show: what an expert wrote, as the program understands it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge.capture.images.image_io import class_folders
from edge.cli.console import show
from edge.cli.image_readers import reader_of
from edge.cli.regions import region_of_interest
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.preprocessing.normal_samples import read_normal_samples
from edge.preprocessing.preprocess import Preprocess

if TYPE_CHECKING:
    from edge.capture.images.image_reader import ImageReader
    from edge.core.datatypes import U8
    from training.labelling.trial import Trial

# the field of the default variant
_SIDE_PX = 256
# enough to see how often a rule fires, and done within a minute
_MOST_PARTS = 100


def rules(options: argparse.Namespace, settings: Settings) -> int:
    """Check a rules file, list the starters, or print one."""
    if options.action == "list":
        return _list()
    if options.rules is None:
        raise UsageError(
            f"`rules {options.action}` needs a rules file or the name of a starter",
            fix="see `edge-inspect rules list` for the names",
        )
    return _show(options) if options.action == "show" else _check(options, settings)


def _list() -> int:
    from training.labelling import load_rules
    from training.rules.starters import starter_names, starter_path

    for name in starter_names():
        book = load_rules(starter_path(name))
        print(f"{name:16}{len(book.rules)} rules: {', '.join(rule.name for rule in book.rules)}")
    return 0


def _show(options: argparse.Namespace) -> int:
    from training.rules.starters import starter_path

    print(starter_path(options.rules).read_text(encoding="utf-8"), end="")
    return 0


def _check(options: argparse.Namespace, settings: Settings) -> int:
    from training.labelling import load_rules
    from training.labelling.describe import description
    from training.labelling.trial import try_rules
    from training.rules.starters import rules_path

    book = load_rules(rules_path(options.rules))
    if options.data is None:
        print(description(book))
        return 0
    good, weak, roi = _parts(options.data, settings, reader_of(options, settings))
    trial = try_rules(book, good, weak, roi)
    print(description(book, trial.reference))
    if trial.rules:
        _show_trial(trial)
    return 0


def _parts(data: Path, settings: Settings, reader: ImageReader) -> tuple[U8, list[U8], np.ndarray | None]:
    """Fields of good parts and of defective ones (train/weak/KIND/, if there are any), and the inspected polygon."""
    from training.data.dataset import load_normals

    preprocess = Preprocess(_SIDE_PX, *region_of_interest(settings.roi))
    fields = load_normals(data, preprocess, reader=reader).fields
    good = fields[np.unique(np.linspace(0, len(fields) - 1, _MOST_PARTS).round().astype(int))]
    folder = data / "train" / "weak"
    kinds = class_folders(folder)
    weak = [_field(path, reader.read(path), preprocess) for kind in kinds for path in reader.pictures_in(kind)]
    polygon = preprocess.weight(*next(read_normal_samples(data, reader)).picture.shape[:2])
    return good, weak[:_MOST_PARTS], None if polygon is None else polygon > 0


def _field(path: Path, picture: U8, preprocess: Preprocess) -> U8:
    if preprocess.field_of_view(*picture.shape[:2]) is None:
        height, width = picture.shape[:2]
        raise UsageError(
            f"{path} is {width}x{height} px; the region {preprocess.rectangle} does not lie inside",
            fix="change roi.rectangle, or remove the picture",
        )
    return preprocess.field(picture)


def _show_trial(trial: Trial) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"tried on {trial.normal_samples} good parts, by their difference to the mean good part")
    table.add_column("rule")
    for heading in ("fires on good", "would label good", *(("fires on defective",) if trial.weak_parts else ())):
        table.add_column(heading, justify="right")
    table.add_column("remark")
    for rule in trial.rules:
        labels = f"{rule.labels_good:.0%}" if rule.conclusion == "anomalous" else "–"
        weak = [] if rule.weak is None else [f"{rule.weak:.0%}"]
        word = "suspicious: it labels good parts" if rule.suspicious else ""
        table.add_row(Text(rule.rule), f"{rule.good:.0%}", labels, *weak, word)
    print()
    show(table)
