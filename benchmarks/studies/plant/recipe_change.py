"""How long a running line takes to change its recipe: from the request to the first verdict of the other product.

Copies of one bundle are the recipes of a line that judges its parts at a steady cadence. Requests come at random
moments. First each recipe is loaded anew, since only two stay loaded; then two that are loaded take turns. The times of
verdicts while another recipe is loaded, and between changes, show what loading costs the line.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.program import BUNDLE, SEED, Values, option, program
from benchmarks.timing.measure.cadence import cadence_from_text, trigger_for
from benchmarks.timing.measure.source import Moments, TriggeredPictures, pictures_of
from edge.bundles.recipes import RecipeBook, recipe_book
from edge.capture.capture import Capture
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision, Frame, Verdict
from edge.core.errors import ModelError
from edge.inspection.loop import run_loop
from edge.inspection.recipes.change import Recipes
from edge.inspection.recipes.opening import FirstVerdict, Following, LoadedRecipe, Opening, first_pool
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.poller import Poller

_PRODUCTS, _LOADED = 3, 2
_WAIT_S = 60.0
_LEVELS = (50, 95, 100)


class Times:
    """A sink: (milliseconds to the verdict, whether a recipe was being changed) of each part."""

    def __init__(self, counters: RunCounters) -> None:
        self._counters = counters
        self.times_ms: list[tuple[float, bool]] = []

    def write(self, frame: Frame, verdict: Verdict) -> None:
        if verdict.decision is not Decision.INVALID:
            self.times_ms.append((verdict.times.total, self._counters.recipe_changing))

    def close(self) -> None: ...


def measure(bundle: Path, cadence: str, changes: int, seed: int) -> dict[str, Any]:
    """Change so often to a recipe that is not loaded, and as often to one that is."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipes.yaml"
        lines = []
        for number in range(1, _PRODUCTS + 1):
            shutil.copytree(bundle, Path(folder) / f"product-{number}")
            lines.append(f"{number}: {{name: product-{number}, bundle: '{folder}/product-{number}'}}\n")
        file.write_text("".join(lines))
        settings = Settings.model_validate({"recipes": {"file": str(file), "keep_loaded": _LOADED}})
        book = recipe_book(settings)
        assert book is not None
        return {"cadence": cadence, "changes": changes, **_run(settings, book, cadence, changes, seed)}


def _run(settings: Settings, book: RecipeBook, cadence: str, changes: int, seed: int) -> dict[str, Any]:
    counters, wake = RunCounters(), threading.Event()
    bundle, seen, pool = first_pool(book.start.applied_to(settings), 1, book.start)
    alarms = AlarmLog(counters, lambda alarm: None)
    recipes = Recipes(
        book, LoadedRecipe(book.start, bundle, pool.inspectors, seen), pool, counters, alarms,
        Opening(settings, pool, counters), Following(), keep_loaded=_LOADED, wake=wake,
    )  # fmt: skip
    pictures = pictures_of("demo", None, settings.camera)
    assert pictures is not None
    source = TriggeredPictures(pictures, trigger_for(cadence_from_text(cadence)), Moments(), "demo")
    capture = Capture(lambda: source, settings.camera, settings.freshness, counters)
    times, stop = Times(counters), threading.Event()
    poller = Poller([recipes], alarms, wake=wake)
    line = threading.Thread(
        target=run_loop, args=(capture, pool, [times, recipes], settings, counters), kwargs={"stop": stop}
    )
    line.start()
    draw = random.Random(seed)
    try:
        time.sleep(1.0)
        unloaded = [_changed(recipes, 1 + (number + 1) % _PRODUCTS, draw) for number in range(changes)]
        turns = [int(name.rpartition("-")[2]) for name in recipes.loaded]
        loaded = [_changed(recipes, turns[number % _LOADED], draw) for number in range(changes)]
    finally:
        stop.set()
        line.join()
        poller.close()
        capture.close()
        recipes.close_idle()
    if any(each.loaded for each in unloaded) or not all(each.loaded for each in loaded):
        raise ModelError(
            "a recipe was loaded that should not be, or the other way", fix="raise --changes, and report it"
        )
    during = [ms for ms, changing in times.times_ms if changing]
    between = [ms for ms, changing in times.times_ms if not changing]
    return {
        "invalid": counters.invalid,
        "frames": counters.frames,
        "dropped": counters.dropped,
        "unloaded": _figures(unloaded),
        "loaded": _figures(loaded),
        "verdict_while_changing": _levels(during),
        "verdict_between_changes": _levels(between),
    }


def _changed(recipes: Recipes, number: int, draw: random.Random) -> FirstVerdict:
    """Ask at a random moment between two frames, and wait for the first verdict."""
    time.sleep(draw.uniform(0.2, 0.4))
    before = recipes.first_verdict
    recipes.request(number)
    until = time.monotonic() + _WAIT_S
    while (found := recipes.first_verdict) is before or found is None:
        if time.monotonic() > until:
            raise ModelError(f"recipe {number} did not judge within {_WAIT_S:g} s", fix="see the log above")
        time.sleep(0.001)
    return found


def _figures(changes: list[FirstVerdict]) -> dict[str, Any]:
    frames = [each.frames for each in changes]
    return {
        **_levels([each.ms for each in changes]),
        "frames_before_it": {str(count): frames.count(count) for count in sorted(set(frames))},
    }


def _levels(values_ms: list[float]) -> dict[str, float]:
    return {f"p{level}_ms": round(float(np.percentile(values_ms, level)), 2) for level in _LEVELS} if values_ms else {}


def text(values: dict[str, Any]) -> str:
    """One line for each kind of change, and one for what it costs."""
    lines = [
        f"{name:<8}: first verdict after {values[name]['p50_ms']:.0f} ms (at most {values[name]['p100_ms']:.0f}); "
        f"verdicts of the product before it: {values[name]['frames_before_it']}"
        for name in ("unloaded", "loaded")
    ]
    return "\n".join([*lines, f"verdicts while changing {values['verdict_while_changing']}, between changes "
                              f"{values['verdict_between_changes']}"])  # fmt: skip


@program(
    BUNDLE,
    option("--cadence", default="10/s", help="parts per time (default: 10/s)"),
    option("--changes", type=int, default=40, help="changes of each kind (default: 40)"),
    SEED,
    show=text,
)
def main(options: argparse.Namespace) -> Values:
    """Measure changes to recipes that are loaded, and to others."""
    return measure(options.bundle, options.cadence, options.changes, options.seed)


if __name__ == "__main__":
    raise SystemExit(main())
