"""rules check, rules list, rules show: what an expert wrote, as the program understands it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.options import NORMAL_SAMPLES
from edge.cli.standard_streams import show
from edge.core.config import Settings
from edge.core.errors import UsageError

if TYPE_CHECKING:
    from training.labelling.trial import Trial


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("check", "list", "show"), help="check a file, list the starters, print one")
    parser.add_argument("rules", nargs="?", metavar="FILE", help="rules file, or the name of a starter")
    parser.add_argument(
        "--data", type=Path, help=f"also try the rules on good parts: {NORMAL_SAMPLES}; and on train/weak/"
    )


def execute(options: argparse.Namespace, settings: Settings) -> int:
    from training.labelling import load_rules
    from training.rules.starters import starter_names, starter_path

    if options.action == "list":
        for name in starter_names():
            book = load_rules(starter_path(name))
            print(f"{name:16}{len(book.rules)} rules: {', '.join(rule.name for rule in book.rules)}")
    elif options.rules is None:
        raise UsageError(
            f"`rules {options.action}` needs a rules file or the name of a starter",
            fix="see `edge-inspect rules list` for the names",
        )
    elif options.action == "show":
        print(starter_path(options.rules).read_text(encoding="utf-8"), end="")
    else:
        _check(options, settings)
    return 0


def _check(options: argparse.Namespace, settings: Settings) -> None:
    from edge.capture.images.image_reader import line_reader
    from training.labelling import load_rules
    from training.labelling.describe import description
    from training.labelling.trial import try_rules_on
    from training.rules.starters import rules_path

    book = load_rules(rules_path(options.rules))
    if options.data is None:
        print(description(book))
        return
    trial = try_rules_on(book, options.data, settings.roi, line_reader(settings))
    print(description(book, trial.reference))
    if trial.rules:
        _show_trial(trial)


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
