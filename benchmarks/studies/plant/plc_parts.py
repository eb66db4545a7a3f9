"""Parts that a PLC asks for, while it makes every mistake on purpose: does a part ever pass on another one's OK?

A line in a process of its own looks at pictures of good and of bad parts in an order drawn by chance. A simulated PLC
takes results late, leaves triggers and acknowledges out, and triggers twice. Which picture was shown after which
trigger is known from the order, so each answer is compared with the verdict that the same line gives that picture
without a PLC. Records are read at the end: each part that was asked for must be there once, under its own number.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Any

from benchmarks.program import BUNDLE, DATA, SEED, Values, option, program
from benchmarks.timing.measure.plc_line import LineFailed, plc_line
from edge.capture.images.image_io import list_pictures
from edge.core.progress import progress_bar
from edge.plant.plc.simulation.program import Habits, PartSeen, Slip
from edge.plant.plc.simulation.run import SimulatedPlc, Simulation
from edge.records.store import RecordStore, VerdictRecord

_LOT = "STUDY"
_ACK_TIMEOUT_MS = 200
_WAIT_S = 120.0
_OF_EACH_KIND = 8


def measure(bundle: Path, data: Path, parts: int, habits: Habits, seed: int, scan_s: float = 0.002) -> dict[str, Any]:
    """What became of the parts, from the PLC's side and from the records."""
    seen_parts: list[PartSeen] = []
    with tempfile.TemporaryDirectory() as folder, progress_bar("parts") as advance:
        place = Path(folder)
        truth = _shown_in_order(bundle, data, parts, place, random.Random(seed))
        settings = {"plc": {"ack_timeout_ms": _ACK_TIMEOUT_MS}, "record": {"max_image_mb": 20}}
        with plc_line(place / "line", bundle, place, settings) as line:

            def note(part: PartSeen) -> None:
                seen_parts.append(part)
                advance(len(seen_parts), parts)

            # a busy machine is no fault of the connection
            simulation = Simulation(
                "127.0.0.1", line.port, habits,
                parts=parts, lot=_LOT, seed=seed, scan_s=scan_s, answer_s=habits.timeout_s, wait_s=_WAIT_S,
            )  # fmt: skip
            seen = SimulatedPlc(simulation, on_part=note).run(Event())
            if seen.never_there:
                raise line.failed("never answered")
            line.end()
        with RecordStore(line.records) as store:
            recorded = store.verdicts("ORDER BY id", ())
    return {
        "habits": {
            "timeout_ms": 1000 * habits.timeout_s,
            "ack_delay_ms": [1000 * each for each in habits.ack_delay_s],
            "drop": habits.drop,
            "double": habits.double,
            "scan_ms": 1000 * scan_s,
        },
        **_against_truth(seen_parts, recorded, truth),
        **seen.as_json(),
    }


def _shown_in_order(bundle: Path, data: Path, parts: int, place: Path, chance: random.Random) -> list[str]:
    """Fill the line's folder; the verdicts that its pictures have without a PLC, in their order."""
    kinds = [list_pictures(data / "test" / kind)[:_OF_EACH_KIND] for kind in ("good", "anomaly")]
    found = [picture for kind in kinds for picture in kind]
    single = place / "single"
    single.mkdir()
    for number, picture in enumerate(found):
        os.link(_beside(picture, place), single / f"{number:03d}{picture.suffix}")
    verdicts = _verdicts(bundle, single, place)
    shown = [chance.randrange(len(found)) for _ in range(parts)]
    line = place / "line"
    line.mkdir()
    for number, which in enumerate(shown):
        os.link(single / f"{which:03d}{found[which].suffix}", line / f"{number:06d}{found[which].suffix}")
    return [verdicts[which] for which in shown]


def _beside(picture: Path, place: Path) -> Path:
    """A copy on the disk of `place`: a hard link cannot leave its disk."""
    copied = place / f"{picture.parent.name}-{picture.name}"
    copied.write_bytes(picture.read_bytes())
    return copied


def _verdicts(bundle: Path, folder: Path, place: Path) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-m", "edge", "--camera", str(folder), "--bundle", str(bundle), "--no-record", "--json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=place, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode:
        raise LineFailed(f"the line ended with code {result.returncode}: {result.stderr.strip()}", fix="see above")
    return [json.loads(line)["decision"] for line in result.stdout.splitlines()]


def _against_truth(seen: Sequence[PartSeen], recorded: Sequence[VerdictRecord], truth: Sequence[str]) -> dict[str, Any]:
    """Pictures are shown in the order of the accepted triggers, and that is the order of the records."""
    numbers = [each.part_number for each in recorded]
    shown = dict(zip(numbers, truth, strict=False))
    asked = [str(part.part_id) for part in seen if part.triggered_s is not None and part.slip is not Slip.TOO_EARLY]
    passed = {str(part.part_id) for part in seen if part.passed}
    in_time = {str(part.part_id) for part in seen if part.by_result}
    return {
        "asked_for": len(asked),
        "passed_without_an_own_good_picture": sum(shown.get(number) != "OK" for number in passed),
        "good_but_not_passed": sum(shown.get(number) == "OK" for number in in_time - passed),
        "not_on_record": len(set(asked) - set(numbers)),
        "on_record_twice": len(numbers) - len(set(numbers)),
        "on_record_without_being_asked_for": len(set(numbers) - set(asked)),
        "recorded_in_another_order": int(numbers != asked),
        "recorded_with_another_verdict": sum(
            str(each.decision) != of_picture for each, of_picture in zip(recorded, truth, strict=False)
        ),
        "recorded_with_another_lot": sum(each.lot != _LOT for each in recorded),
    }


def wrong(values: Values) -> bool:
    """Something of what must never be was seen. A time-out is none: the PLC rejects, and a busy machine may be slow."""
    never = (
        "passed_without_an_own_good_picture", "good_but_not_passed", "not_on_record", "on_record_twice",
        "on_record_without_being_asked_for", "recorded_in_another_order", "recorded_with_another_verdict",
        "recorded_with_another_lot",
    )  # fmt: skip
    unexplained = values["missed_triggers"] > values["wrong_triggers_sent"]
    return unexplained or bool(values["violations"]) or any(values[each] for each in never)


@program(
    BUNDLE,
    DATA,
    SEED,
    option("--parts", type=int, default=10_000, help="how many (default: 10000)"),
    option("--drop", type=float, default=0.02, help="share whose trigger or acknowledge is left out (default: 0.02)"),
    option("--double", type=float, default=0.02, help="share that is triggered twice (default: 0.02)"),
    option("--ack-delay", type=float, default=20, help="most milliseconds before an acknowledge (default: 20)"),
    option("--timeout", type=float, default=1000, help="milliseconds of a part (default: 1000)"),
    failed=wrong,
)
def main(options: argparse.Namespace) -> Values:
    """Ask for parts and compare."""
    habits = Habits(
        timeout_s=options.timeout / 1000,
        ack_delay_s=(0.0, options.ack_delay / 1000),
        drop=options.drop,
        double=options.double,
    )
    return measure(options.bundle, options.data, options.parts, habits, options.seed)


if __name__ == "__main__":
    raise SystemExit(main())
