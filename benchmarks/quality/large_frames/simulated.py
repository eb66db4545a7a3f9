"""Thresholds of frames that are scored once, and of tiles that are scored each: many draws, judged by many more frames.

Evidence of a tile is drawn, and that of a frame is its largest tile's. Tiles of one frame may have something in common.
A threshold for tiles is fitted to the tiles of the same frames for the same budget; a frame is then rejected when one
of its tiles is.

With --bundle the scores are those of real good frames, each by a memory that has not seen it, as the bundle's
calibration keeps them: a threshold is fitted to two thirds of them, drawn, and judges the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.program import Values, option, program
from calibration.threshold import fitted_threshold
from edge.bundles.bundle import load_bundle
from edge.core.datatypes import F32
from edge.core.progress import say
from edge.preprocessing.tiling import tiling_of

Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]

DISTRIBUTIONS: dict[str, Draw] = {
    "gamma": lambda random, shape: random.gamma(6.0, 0.02, shape),
    "exponential": lambda random, shape: random.exponential(0.1, shape),
    "lognormal": lambda random, shape: 0.1 * np.exp(random.normal(0, 0.5, shape)),
}
TILES, COUNTS, COMMON = (42, 266), (30, 60, 200), (0.0, 0.5)
DRAWS, POPULATION, SEED = 200, 20_000, 0


def frame_tiles(draw: Draw, common: float, random: np.random.Generator, frames: int, tiles: int) -> F32:
    """Scores (frames, tiles), 0..1; common: share of the evidence that all tiles of a frame have alike."""
    alike = draw(random, (frames, 1))
    evidence = common * alike + (1 - common) * draw(random, (frames, tiles))
    return -np.expm1(-evidence).astype(np.float32)


def simulated(name: str, tiles: int, count: int, common: float) -> dict[str, Any]:
    """Realised false rejects of frames, by a threshold for frames and by one for tiles, of `count` frames each."""
    random, draw = np.random.default_rng((SEED, tiles, count)), DISTRIBUTIONS[name]
    # few at a time: a population of 266 tiles each is large
    truth = np.concatenate([frame_tiles(draw, common, random, 2000, tiles).max(1) for _ in range(POPULATION // 2000)])
    by_frame, by_tile, held, budget = [], [], [], 0.0
    for _ in range(DRAWS):
        taught = frame_tiles(draw, common, random, count, tiles)
        fitted = fitted_threshold(taught.max(1), None, None)
        budget = fitted.false_reject_budget
        rate = float(np.mean(truth > fitted.threshold))
        by_frame.append(rate)
        held.append(rate <= fitted.false_reject_bound)
        by_tile.append(float(np.mean(truth > fitted_threshold(taught.ravel(), budget, None).threshold)))
    return {
        "distribution": name,
        "tiles": tiles,
        "frames_taught": count,
        "alike_in_a_frame": common,
        "budget": round(budget, 4),
        "rejected_by_frame": round(float(np.mean(by_frame)), 4),
        "stated_bound_held": float(np.mean(held)),
        "rejected_by_tile": round(float(np.mean(by_tile)), 4),
    }


def split(scores: F32) -> dict[str, Any]:
    """Rejects of the frames that are left out, by thresholds of the others, over many draws of who is left out."""
    random, count = np.random.default_rng(SEED), len(scores)
    taught = 2 * count // 3
    # those that stand apart set no threshold, and are rejected: the command says so, and the budget is of the others
    odd = int(fitted_threshold(scores, None, None).odd_parts)
    ordinary = scores <= np.sort(scores)[count - 1 - odd]
    rejected, rejected_ordinary, budgets = [], [], []
    for _ in range(DRAWS):
        order = random.permutation(count)
        fitted = fitted_threshold(scores[order[:taught]], None, None)
        budgets.append(fitted.false_reject_budget)
        left_out = order[taught:]
        above = scores[left_out] > fitted.threshold
        rejected.append(float(np.mean(above)))
        rejected_ordinary.append(float(np.mean(above[ordinary[left_out]])))
    return {
        "frames": count,
        "frames_taught": taught,
        "budget": round(float(np.mean(budgets)), 4),
        "odd_frames": odd,
        "rejected": round(float(np.mean(rejected)), 4),
        "rejected_beside_odd_frames": round(float(np.mean(rejected_ordinary)), 4),
    }


@program(option("--bundle", type=Path, help="of tiles; draw from the scores of its good frames"))
def main(options: argparse.Namespace) -> Values:
    """Simulate every distribution, number of tiles and number of frames; or draw from a bundle's good frames."""
    if options.bundle is not None:
        bundle = load_bundle(options.bundle)
        precision = bundle.precision("auto")
        known = {"tiles": len(tiling_of(bundle.manifest) or ()), "precision": precision}
        return {"draws": DRAWS, **known, **split(bundle.calibration(precision).scores)}
    cases = []
    for name in DISTRIBUTIONS:
        say(f"evidence of tiles that is distributed as {name}")
        cases += [simulated(name, t, count, common) for t in TILES for count in COUNTS for common in COMMON]
    return {"draws": DRAWS, "population": POPULATION, "cases": cases}


if __name__ == "__main__":
    raise SystemExit(main())
