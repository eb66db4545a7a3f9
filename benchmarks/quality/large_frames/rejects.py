"""Do bundles of tiles keep their false-reject budget on frames? Sheets are drawn, taught, and judged, several times.

Every round draws good sheets, trains a bundle with --tiles as the command does, and judges fresh sheets. The same maps
also say what a threshold for each tile would do: fitted to the scores of tiles for the same budget, a frame is rejected
when one of its tiles is.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.program import Values, option, program
from benchmarks.quality.large_frames.sheets import KINDS, drawn_sheet, with_defect
from calibration.threshold import fitted_threshold
from edge.backends import open_backend
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.cli import main as command_line
from edge.core.datatypes import F32, U8
from edge.core.errors import UsageError
from edge.core.latency import StageClock
from edge.core.progress import say
from edge.kernels.cpu import top_k_mean
from edge.metrics.intervals import rate_interval
from edge.preprocessing.tiling import Tiling, tiling_of
from edge.system.extras import require


def taught(
    folder: Path, frames: int, size: tuple[int, int], smallest_px: float, seed: int, variant: str
) -> ModelBundle:
    """A bundle of tiles from so many drawn sheets of `size` (height, width), made as `train --tiles` makes it."""
    good = folder / "train" / "good"
    good.mkdir(parents=True)
    for number in range(frames):
        # no compression: a large PNG takes longer to pack than to draw
        cv2.imwrite(str(good / f"{number:03}.png"), drawn_sheet(seed + number, *size), [cv2.IMWRITE_PNG_COMPRESSION, 0])
    made = command_line([
        "train", "--data", str(folder), "--out", str(folder / "bundle"), "--tiles", f"{smallest_px:g}px",
        "--method", "memory", "--variant", variant, "--layout", "free",
    ])  # fmt: skip
    if made != 0:
        raise UsageError("no bundle was made, as told above", fix="give other options")
    return load_bundle(folder / "bundle")


def tile_scores(values: F32, tiling: Tiling, k: int) -> list[float]:
    """What each tile of a finished map (rows, columns) would score by itself: the mean of its own k largest values."""
    scale = tiling.field[0] / values.shape[0]
    kept = [
        tuple(slice(int(span.first / scale), int(span.end / scale)) for span in (tile.down, tile.across))
        for tile in tiling
    ]
    return [top_k_mean(np.ascontiguousarray(values[rows, columns]), k) for rows, columns in kept]


def _judged(bundle: ModelBundle, frames: Iterator[U8]) -> tuple[list[float], list[list[float]]]:
    """The score of each frame, and of each of its tiles."""
    tiling, k = tiling_of(bundle.manifest), bundle.manifest.score.image_score.k
    assert tiling is not None, "taught with tiles"
    backend = open_backend(bundle, precision=bundle.precision("auto"))
    scores, tiles = [], []
    for frame in frames:
        found = backend.score(frame, StageClock(0))
        scores.append(found.score)
        tiles.append(tile_scores(found.values, tiling, k))
    backend.close()
    return scores, tiles


def one_round(options: argparse.Namespace, number: int) -> dict[str, Any]:
    """Teach, then judge fresh sheets: rejects by frame, rejects by tile, and defects found."""
    size, seed = (options.height, options.width), options.seed + 1_000_000 * number
    with tempfile.TemporaryDirectory() as place:
        bundle = taught(Path(place), options.frames, size, options.smallest, seed, options.variant)
        calibration = bundle.calibration(bundle.precision("auto"))
        fresh = (drawn_sheet(seed + 10_000 + each, *size) for each in range(options.fresh))
        good, good_tiles = _judged(bundle, fresh)
        lengths = [options.smallest * factor for factor in (1, 2, 4)]
        found = {}
        for length in lengths:
            bad = (
                with_defect(drawn_sheet(seed + 20_000 + each, *size), KINDS[each % len(KINDS)], length, each)
                for each in range(options.defective)
            )
            scores, _ = _judged(bundle, bad)
            found[f"{length:g} px"] = int(np.sum(np.array(scores) > calibration.threshold))
    # half of the fresh frames stand in for the good parts of a threshold for tiles, the other half are judged by it
    half = len(good_tiles) // 2
    by_tile = fitted_threshold(np.array(good_tiles[:half], np.float32).ravel(), calibration.false_reject_budget, None)
    rejected_by_tile = int(np.sum(np.array(good_tiles[half:]).max(1) > by_tile.threshold))
    return {
        "round": number,
        "tiles": len(good_tiles[0]),
        "budget": round(calibration.false_reject_budget, 4),
        "stated_bound": round(calibration.false_reject_bound, 4),
        "rejected": int(np.sum(np.array(good) > calibration.threshold)),
        "fresh": len(good),
        "rejected_by_tile_threshold": rejected_by_tile,
        "judged_by_tile_threshold": len(good_tiles) - half,
        "found": found,
        "defective_of_each_length": options.defective,
    }


@program(
    option("--rounds", type=int, default=6),
    option("--frames", type=int, default=30, help="good sheets that are taught in each round"),
    option("--fresh", type=int, default=60, help="good sheets that are judged in each round"),
    option("--defective", type=int, default=12, help="sheets with a defect of each length"),
    option("--height", type=int, default=1024),
    option("--width", type=int, default=1536),
    option("--smallest", type=float, default=12.0, help="pixels of the frame"),
    option("--variant", default="light"),
    option("--seed", type=int, default=0),
)
def main(options: argparse.Namespace) -> Values:
    """Rounds of teaching and judging, and their sum."""
    require("train")
    rounds = []
    for number in range(options.rounds):
        rounds.append(one_round(options, number))
        say(f"round {number + 1} of {options.rounds}: {rounds[-1]}")
    return {"frame_px": [options.width, options.height], "rounds": rounds, **summed(rounds)}


def summed(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Over all rounds: shares rejected, with the 95 % interval of the frames' own."""
    rejected, fresh = (sum(each[name] for each in rounds) for name in ("rejected", "fresh"))
    by_tile, judged = (
        sum(each[name] for each in rounds) for name in ("rejected_by_tile_threshold", "judged_by_tile_threshold")
    )
    budgets: NDArray[np.float64] = np.array([each["budget"] for each in rounds])
    interval = rate_interval(rejected, fresh)
    return {
        "budget_mean": round(float(budgets.mean()), 4),
        "rejected_share": round(rejected / fresh, 4),
        "rejected_share_95": [round(interval.low, 4), round(interval.high, 4)],
        "rejected_share_by_tile_threshold": round(by_tile / judged, 4),
        "found": {
            length: [sum(each["found"][length] for each in rounds), sum(e["defective_of_each_length"] for e in rounds)]
            for length in rounds[0]["found"]
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
