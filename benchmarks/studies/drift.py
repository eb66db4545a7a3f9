"""Is a drift named rightly, how soon, and how often is nothing taken for one? Simulated runs of good parts.

Every picture of a folder of good parts is measured a few times, with the noise and the flicker of a camera, and again
under each change. A run draws half of the parts as the calibration, shows the other half in random order, and changes
after a while. The watch is the one that the line runs; only the pictures are drawn from a pool.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.program import DATA, SEED, Values, option, program
from edge.core.config import DriftSettings
from edge.core.datatypes import U8
from edge.monitoring.alarm_log import Moment
from edge.monitoring.drift.causes import SCORES, effects_on
from edge.monitoring.drift.charts import BLOCK_PARTS, Charts, Known
from edge.monitoring.drift.measures import F64, Placement, Profiles, measure
from edge.monitoring.drift.reference import DriftReference
from edge.monitoring.drift.watch import DriftWatch, MeasuredPart
from edge.preprocessing.normal_samples import read_normal_samples
from edge.preprocessing.regions import FieldOfView

NOISE_LEVELS, FLICKER = 0.3, 0.003
CLEAN_PARTS, CHANGED_PARTS = (100, 600), 800
# scores of a network that knows the parts: what they are does not matter here, that they do not change does
_SCORES, _SCORES_RAISED, _THRESHOLD = (3.0, 12.0), (5.0, 10.0), 0.7
# simulated charts beside each other, and the rate that they are to keep
_CHARTS, _STATED_BLOCKS = 1000, 2000.0
_START = datetime(2026, 1, 1, tzinfo=timezone.utc)

Change = Callable[[U8], U8]


@dataclass(frozen=True)
class Case:
    """A change, and the kind of drift that it must be called."""

    name: str
    kind: str
    change: Change


def _gain(*channels: float) -> Change:
    return lambda picture: _bytes(picture * np.array(channels))


def _blur(sigma_px: float) -> Change:
    return lambda picture: np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma_px), np.uint8)


def _shift(right: float, down: float) -> Change:
    matrix = np.array([[1, 0, right], [0, 1, down]], np.float64)
    return lambda picture: np.asarray(
        cv2.warpAffine(picture, matrix, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _noise(levels: float) -> Change:
    random = np.random.default_rng(5)
    return lambda picture: _bytes(picture + random.normal(0, levels, picture.shape))


def _veil(share: float) -> Change:
    return lambda picture: _bytes((1 - share) * picture + share * 180)


def _bytes(values: np.ndarray[Any, Any]) -> U8:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


CASES = (
    Case("light -6 %", "light down", _gain(0.94, 0.94, 0.94)),
    Case("light -12 %", "light down", _gain(0.88, 0.88, 0.88)),
    Case("light -30 %", "light down", _gain(0.7, 0.7, 0.7)),
    Case("light +10 %", "light up", _gain(1.1, 1.1, 1.1)),
    Case("blur of 0.8 px", "focus", _blur(0.8)),
    Case("blur of 2 px", "focus", _blur(2.0)),
    Case("shift 6 px right", "position", _shift(6, 0)),
    Case("shift 16 px right", "position", _shift(16, 0)),
    Case("shift 12 px left, 12 px up", "position", _shift(-12, -12)),
    Case("blue -5 %", "colour", _gain(0.95, 1, 1)),
    Case("red -5 %", "colour", _gain(1, 1, 0.95)),
    Case("noise of 2 levels", "noise", _noise(2)),
    Case("noise of 6 levels", "noise", _noise(6)),
    Case("veil of 15 %", "contrast", _veil(0.15)),
    Case("scores raised", SCORES, lambda picture: picture),
)


class Pool:
    """Measures of parts, before and under every change: (cases, parts, repeats, measures)."""

    def __init__(self, pictures: Sequence[U8], repeats: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        height, width = pictures[0].shape[:2]
        self.view = FieldOfView(0, 0, width, height)
        profiles = [measure(picture, self.view).profiles for picture in pictures]
        across = np.mean([profile.across for profile in profiles], axis=0)
        down = np.mean([profile.down for profile in profiles], axis=0)
        self.profiles = Profiles(across.astype(np.float32), down.astype(np.float32))
        placement = Placement(self.profiles)

        def shown(picture: U8, change: Change) -> F64:
            seen = change(picture) * random.normal(1, FLICKER) + random.normal(0, NOISE_LEVELS, picture.shape)
            return measure(_bytes(seen), self.view).values(placement)

        changes: list[Change] = [lambda picture: picture, *(case.change for case in CASES)]
        self.values = np.array(
            [[[shown(picture, change) for _ in range(repeats)] for picture in pictures] for change in changes]
        )
        self.effects = np.asarray(effects_on(pictures[:8], self.view, placement), np.float32)

    def run(self, random: np.random.Generator, every: float) -> Run:
        """A run with a calibration of its own."""
        parts = random.permutation(self.values.shape[1])
        half = len(parts) // 2
        calibration = self.values[0, parts[:half], random.integers(self.values.shape[2])]
        reference = DriftReference(
            calibration.astype(np.float32), self.profiles.across, self.profiles.down, self.effects
        )
        watch = DriftWatch(reference, random.beta(*_SCORES, size=max(half // 2, 5)), _THRESHOLD, self.view, every)
        return Run(watch, self.values[:, parts[half:]], random)


class Run:
    """Parts that pass a watch. values: of the parts shown."""

    def __init__(self, watch: DriftWatch, values: F64, random: np.random.Generator) -> None:
        self.watch, self._values, self._random = watch, values, random
        self.shown = 0

    def show(self, case: int) -> None:
        """One part, case 0 being unchanged."""
        _, parts, repeats, _ = self._values.shape
        values = self._values[case, self._random.integers(parts), self._random.integers(repeats)]
        raised = case > 0 and CASES[case - 1].kind == SCORES
        score = self._random.beta(*(_SCORES_RAISED if raised else _SCORES))
        seen = Moment(_START + timedelta(seconds=self.shown), self.shown)
        self.watch.add(MeasuredPart(values, float(score), seen))
        self.shown += 1


def changed_runs(pool: Pool, case: int, runs: int, every: float, seed: int) -> dict[str, Any]:
    """What the first alarm of each run calls one change."""
    random = np.random.default_rng((seed, case))
    named: Counter[str] = Counter()
    delays: list[int] = []
    dated: list[int] = []
    named_changes: list[str] = []
    early = 0
    for _ in range(runs):
        run = pool.run(random, every)
        clean = int(random.integers(*CLEAN_PARTS))
        while run.shown < clean and run.watch.drift is None:
            run.show(0)
        if run.watch.drift is not None:
            early += 1
            continue
        while run.shown < clean + CHANGED_PARTS and run.watch.drift is None:
            run.show(case)
        drift = run.watch.drift
        named["nothing" if drift is None else drift.change.kind] += 1
        if drift is not None:
            delays.append(run.shown - clean)
            dated.append(abs(drift.since.seen.frame_index - clean))
            named_changes.append(drift.change.what)
    kind, changed = CASES[case - 1].kind, sum(named.values())
    return {
        "must_be_called": kind,
        "runs": runs,
        "false_alarms_before": early,
        "named": dict(named),
        "found": 1 - named["nothing"] / max(1, changed),
        # of those found
        "named_rightly": None if changed == named["nothing"] else named[kind] / (changed - named["nothing"]),
        "delay_parts": None if not delays else {"p50": float(np.median(delays)), "max": int(max(delays))},
        "onset_error_parts_p50": None if not dated else float(np.median(dated)),
        "for_example": named_changes[0] if named_changes else None,
    }


def quiet_runs(pool: Pool, runs: int, parts: int, every: float, seed: int) -> dict[str, Any]:
    """False alarms of long runs without a change."""
    random = np.random.default_rng((seed, 1000))
    alarms, shown = 0, 0
    for _ in range(runs):
        run = pool.run(random, every)
        while run.shown < parts:
            run.show(0)
            if run.watch.drift is not None:
                alarms += 1
                break
        shown += run.shown
    return {"stated_every_parts": every, "parts": shown, "runs": runs, "alarms": alarms, "allowed": shown / every}


def chart_rates(blocks: int, seed: int) -> list[dict[str, Any]]:
    """Alarms of single charts without tolerance, per those stated, for references and parts of several kinds."""
    rows = []
    for likeness in (0.0, 0.5, 0.8):
        for parts in (5, 8, 39, 400):
            random = np.random.default_rng((seed, parts, int(10 * likeness)))
            charts = Charts(Known.of(random.normal(size=(parts, _CHARTS))), np.zeros(_CHARTS), _STATED_BLOCKS)
            state, silent, passed = random.normal(size=_CHARTS), np.ones(_CHARTS, bool), 0
            for _ in range(blocks):
                block = np.empty((BLOCK_PARTS, _CHARTS))
                for row in block:
                    state = likeness * state + np.sqrt(1 - likeness**2) * random.normal(size=_CHARTS)
                    row[:] = state
                passed += int(silent.sum())
                silent &= ~charts.add(block)
            alarms, stated = int((~silent).sum()), 2 * passed / _STATED_BLOCKS
            rows.append(
                {
                    "reference_parts": parts,
                    "correlation_of_neighbours": likeness,
                    "alarms": alarms,
                    "per_stated": round(alarms / stated, 3),
                }
            )
    return rows


def cost(pictures: Sequence[U8], pool: Pool, rounds: int) -> dict[str, float]:
    """Microseconds that one part takes: measuring it, and the tests."""
    placement = Placement(pool.profiles)
    measured = []
    for _ in range(rounds):
        for picture in pictures:
            started = time.perf_counter_ns()
            measure(picture, pool.view).values(placement)
            measured.append((time.perf_counter_ns() - started) / 1e3)
    run = pool.run(np.random.default_rng(0), DriftSettings().false_alarm_every)
    parts = [
        MeasuredPart(pool.values[0, index % len(pictures), 0], 0.2, Moment(_START, index))
        for index in range(BLOCK_PARTS * 250)
    ]
    blocks = []
    for start in range(0, len(parts), BLOCK_PARTS):
        started = time.perf_counter_ns()
        for part in parts[start : start + BLOCK_PARTS]:
            run.watch.add(part)
        blocks.append((time.perf_counter_ns() - started) / 1e3 / BLOCK_PARTS)
    return {
        "measure_us_p50": round(float(np.median(measured)), 1),
        "measure_us_min": round(min(measured), 1),
        "tests_us_p50": round(float(np.median(blocks)), 1),
        "tests_us_min": round(min(blocks), 1),
    }


def simulate(
    data: Path, runs: int, quiet: tuple[int, int, float], repeats: int, chart_blocks: int, seed: int
) -> dict[str, Any]:
    """Everything; quiet: runs without a change, their parts each, and the false-alarm rate stated for them."""
    pictures = [part.picture for part in read_normal_samples(data)]
    pool = Pool(pictures, repeats, seed)
    every = DriftSettings().false_alarm_every
    cases = {case.name: changed_runs(pool, at + 1, runs, every, seed) for at, case in enumerate(CASES)}
    named = [row["named_rightly"] for row in cases.values() if row["named_rightly"] is not None]
    return {
        "data": data.name,
        "parts": len(pictures),
        "calibrated_on": len(pictures) // 2,
        "false_alarm_every": every,
        "found": sum(row["found"] for row in cases.values()) / len(cases),
        "named_rightly": sum(named) / len(named) if named else None,
        "cases": cases,
        "without_change": quiet_runs(pool, *quiet, seed),
        "charts": chart_rates(chart_blocks, seed),
        "cost": cost(pictures, pool, 5),
    }


def text(values: dict[str, Any]) -> str:
    """A line for each change, then the rates."""
    lines = [f"{'change':<28}{'found':>8}{'named rightly':>15}{'delay p50':>11}{'max':>6}  for example"]
    for name, row in values["cases"].items():
        delay = row["delay_parts"] or {"p50": float("nan"), "max": 0}
        lines.append(
            f"{name:<28}{row['found']:>8.1%}{row['named_rightly'] or 0:>15.1%}"
            f"{delay['p50']:>11.0f}{delay['max']:>6}  {row['for_example']}"
        )
    quiet = values["without_change"]
    lines.append(f"{'all':<28}{values['found']:>8.1%}{values['named_rightly'] or 0:>15.1%}")
    lines.append(f"without a change: {quiet['alarms']} alarms in {quiet['parts']} parts, {quiet['allowed']:.1f} stated")
    lines += [
        f"charts, {row['reference_parts']} parts known, correlation {row['correlation_of_neighbours']}: "
        f"{row['per_stated']:.2f} of the stated rate"
        for row in values["charts"]
    ]
    lines.append(", ".join(f"{name} {value}" for name, value in values["cost"].items()))
    return "\n".join(lines)


@program(
    DATA,
    option("--runs", type=int, default=60, help="runs of every change (default: 60)"),
    option("--quiet-runs", type=int, default=150, help="runs without a change (default: 150)"),
    option("--quiet-parts", type=int, default=4000, help="parts of each (default: 4000)"),
    option("--every", type=float, default=20_000, help="the rate stated for them (default: 20000)"),
    option("--repeats", type=int, default=4, help="measurements of each picture (default: 4)"),
    option("--chart-blocks", type=int, default=1000, help="blocks of single charts (default: 1000)"),
    SEED,
    show=text,
)
def main(options: argparse.Namespace) -> Values:
    """Simulate every change."""
    quiet = options.quiet_runs, options.quiet_parts, options.every
    return simulate(options.data, options.runs, quiet, options.repeats, options.chart_blocks, options.seed)


if __name__ == "__main__":
    raise SystemExit(main())
