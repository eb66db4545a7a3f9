"""replay: recorded pictures are judged again, and must give the recorded verdicts."""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli.options import BACKENDS, records_directory, share
from edge.core.config import Settings
from edge.core.errors import BundleError, CalibrationMismatch, RecordError, UsageError

if TYPE_CHECKING:
    from edge.inspection.inspector import Inspector
    from edge.inspection.replay import ReplayResult
    from edge.records.store import RecordStore, RunRecord, VerdictRecord

# STORE/images/DAY/PICTURE
_STORE_ABOVE = 2


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "verdict",
        type=_verdict_name,
        nargs="?",
        metavar="VERDICT",
        help="its number (12-004711), as JSON, `report --ng` and the names of pictures show it; or its picture",
    )
    share(parser, "--part", "--lot", "--record-dir", "--json", "--bundle")
    parser.add_argument("--backend", choices=BACKENDS, help="default: the recorded one")
    share(parser, "--uncalibrated")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """1 when a verdict or a score differs."""
    if (options.verdict is None) == (not options.part and not options.lot):
        raise UsageError(
            "what is replayed is not clear", fix="give either a VERDICT, or --part NUMBER, --lot LOT or both"
        )
    return _replay_parts(options, settings) if options.verdict is None else _replay_one(options, settings)


def _replay_one(options: argparse.Namespace, settings: Settings) -> int:
    from edge.inspection.replay import Outcome
    from edge.records.store import RecordStore

    with RecordStore(_store_of(options, settings)) as store:
        result = _Replay(store, options, settings).of(options.verdict)
    if options.json:
        print(json.dumps(_answer(store, result), indent=1))
    else:
        # a plain number is taken for a frame's by whoever reads names of earlier versions
        row = f" (row {result.recorded.id} of the database)" if options.verdict.isdecimal() else ""
        _show(result, row)
    return 1 if result.outcome is Outcome.DIFFERENT else 0


def _replay_parts(options: argparse.Namespace, settings: Settings) -> int:
    """Every verdict of a part, or of a lot; what cannot be replayed is said, and the others are."""
    from edge.core.datatypes import Part
    from edge.core.local_time import local_iso
    from edge.inspection.replay import Outcome
    from edge.records.store import RecordStore
    from edge.records.verdict_search import verdicts_of_part

    part, answers = Part.told(options.part, options.lot), []
    outcomes: Counter[str] = Counter()
    with RecordStore(records_directory(settings)) as store:
        replays = _Replay(store, options, settings)
        for recorded in verdicts_of_part(store, part):
            try:
                result = replays.of(str(recorded.id))
            except (RecordError, BundleError, CalibrationMismatch) as error:
                outcomes["not possible"] += 1
                time = local_iso(recorded.utc)
                answers.append({"id": recorded.number, "time": time, "outcome": None, "explanation": error.message})
                if not options.json:
                    print(f"verdict {recorded.number}: {error.message}")
                continue
            outcomes[result.outcome.value] += 1
            answers.append(_answer(store, result))
            if not options.json:
                _show(result)
    if not outcomes:
        raise RecordError(
            f"no verdict of {' of '.join(part.words)} is on record",
            fix="`edge-inspect report --ng` shows the numbers and lots of rejected parts",
        )
    if options.json:
        print(json.dumps(answers, indent=1))
    else:
        print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))
    return 1 if outcomes[Outcome.DIFFERENT.value] else 0


class _Replay:
    """Replays verdicts of one store. Loading a model takes longer than running it, so the last one is kept."""

    def __init__(self, store: RecordStore, options: argparse.Namespace, settings: Settings) -> None:
        from edge.capture.freshness import FreshnessCheck

        self._store, self._backend, self._settings = store, options.backend, settings
        self._check = FreshnessCheck(settings.freshness, live=False)
        self._kept: tuple[tuple[int, str, str], Inspector] | None = None

    def of(self, name: str) -> ReplayResult:
        from edge.inspection.replay import replay

        return replay(self._store, name, self._inspector, self._check.fault)

    def _inspector(self, run: RunRecord, recorded: VerdictRecord) -> Inspector:
        from edge.inspection.inspectors import recorded_inspector

        made_by = run.id, recorded.bundle_sha256, recorded.model_sha256
        if self._kept is None or self._kept[0] != made_by:
            if self._kept is not None:
                self._kept[1].backend.close()
            self._kept = made_by, recorded_inspector(run, recorded, self._settings, self._backend)
        return self._kept[1]


def _answer(store: RecordStore, result: ReplayResult) -> dict[str, Any]:
    from edge.core.files.text_names import storable
    from edge.core.local_time import local_iso

    recorded, now = result.recorded, result.verdict
    return {
        "id": recorded.number,
        "time": local_iso(recorded.utc),
        "part_number": recorded.part_number,
        "lot": recorded.lot,
        "picture": None if recorded.image is None else storable(str(store.directory / recorded.image)),
        "outcome": result.outcome.value,
        "explanation": result.explanation,
        "recorded": {"decision": str(recorded.decision), "reason": str(recorded.reason), "score": recorded.score},
        "now": None if now is None else now.as_json(result.run.info.source, recorded.part),
    }


def _show(result: ReplayResult, row: str = "") -> None:
    from edge.core.local_time import local_text

    recorded, now = result.recorded, result.verdict
    seen = ", ".join([result.run.info.source, *recorded.part.words])
    print(f"verdict {recorded.number}{row} of {local_text(recorded.utc)}, {seen}")
    print(f"recorded  {recorded.decision}  {recorded.reason}  {recorded.detail}")
    if now is not None:
        print(f"now       {now.decision}  {now.reason}  {now.detail}")
    print(f"{result.outcome.value}: {result.explanation}")


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
