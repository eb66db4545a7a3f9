"""replay: a recorded picture is judged again, and must give the recorded verdict."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from edge.cli.options import BACKENDS, records_directory, share
from edge.core.config import Settings

# STORE/images/DAY/PICTURE
_STORE_ABOVE = 2


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "verdict",
        type=_verdict_name,
        metavar="VERDICT",
        help="its number (12-004711), as JSON, `report --ng` and the names of pictures show it; or its picture",
    )
    share(parser, "--record-dir", "--json", "--bundle")
    parser.add_argument("--backend", choices=BACKENDS, help="default: the recorded one")
    share(parser, "--uncalibrated")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """1 when the verdict or the score differs."""
    from edge.capture.freshness import FreshnessCheck
    from edge.core.files.text_names import storable
    from edge.core.local_time import local_iso, local_text
    from edge.inspection.inspectors import recorded_inspector
    from edge.inspection.replay import Outcome, replay
    from edge.records.store import RecordStore

    check = FreshnessCheck(settings.freshness, live=False)
    with RecordStore(_store_of(options, settings)) as store:
        result = replay(
            store,
            options.verdict,
            lambda run, recorded: recorded_inspector(run, recorded, settings, options.backend),
            check.fault,
        )
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


def _store_of(options: argparse.Namespace, settings: Settings) -> Path:
    """The store that the picture lies in, where one is given and no other store."""
    from edge.records.schema import DATABASE_NAME

    above = Path(options.verdict).absolute().parents
    inside = options.record_dir is None and "." in options.verdict and len(above) > _STORE_ABOVE
    if inside and (above[_STORE_ABOVE] / DATABASE_NAME).is_file():
        return above[_STORE_ABOVE]
    return records_directory(settings)


def _verdict_name(text: str) -> str:
    """A verdict's number, row id or picture."""
    # the name of a picture has an end
    if not re.fullmatch(r"[1-9]\d{0,17}(-\d{1,18})?", text) and "." not in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, a number such as 12-004711, or a picture")
    return text
