"""What seams do: defects on them against defects beside them, and the map against one seen from the tiles' middles.

Spots of one size are drawn on good parts, as many near seams as far from them, and the frame's score is told by the
distance. The other map runs the same network on tiles that overlap as far as they can, and takes their middles alone.
It differs far from seams as well: a memory of good parts is one for each place of a tile.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.program import Values, option, program
from benchmarks.quality.large_frames.sheets import with_spot
from edge.backends import open_backend
from edge.backends.cpu_openvino import OpenVinoTiles
from edge.backends.tiled import TiledNetwork
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.capture.images.image_reader import PLAIN
from edge.core.datatypes import F32, U8, AnomalyMap
from edge.core.errors import UsageError
from edge.core.latency import StageClock
from edge.core.manifest import TILE_STEP
from edge.core.progress import progress_bar
from edge.kernels.cpu import CpuScorePath, planes_from_field
from edge.preprocessing.normal_samples import normal_samples_folder
from edge.preprocessing.tiling import Tiling, tiling_of

_BANDS_PX = (0, 16, 32, 64, 1 << 20)


def seam_distances(tiling: Tiling, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Of each place of a map (rows, columns), pixels of the field to the nearest seam."""
    scale = tiling.field[0] / shape[0]
    nearest = []
    for side, count, name in ((0, shape[0], "down"), (1, shape[1], "across")):
        seams = {getattr(tile, name).first for tile in tiling} - {0}
        at = (np.arange(count) + 0.5) * scale
        gaps = [np.abs(at - seam) for seam in seams] or [np.full(count, np.inf)]
        nearest.append(np.min(gaps, 0)[:, None] if side == 0 else np.min(gaps, 0)[None])
    distances: NDArray[np.float64] = np.minimum(nearest[0], nearest[1])
    return distances


def map_of(bundle: ModelBundle, precision: str, tiling: Tiling, field: U8) -> AnomalyMap:
    """The map of one field by a tiling of one's own."""
    manifest, calibration = bundle.manifest, bundle.calibration(precision)
    network = TiledNetwork(OpenVinoTiles(bundle.read(f"model_{precision}"), manifest, None), tiling)
    planes_from_field(field, network.image)
    path = CpuScorePath(manifest.score, manifest.field, calibration.statistics, calibration.pixel_threshold)
    found = path.score(network.image, network.run())
    network.close()
    return found


def compared(stitched: F32, middles: F32, distances: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Mean absolute difference in each band of distances, as a share of the map's own deviation over places."""
    difference, spread = np.abs(stitched - middles), float(middles.std())
    rows = []
    for near, far in pairwise(_BANDS_PX):
        there = (distances >= near) & (distances < far)
        if there.any():
            rows.append(
                {"from_px": near, "difference_in_deviations": round(float(difference[there].mean()) / spread, 4)}
            )
    return rows


def scored_spots(
    bundle: ModelBundle, precision: str, tiling: Tiling, frames: list[U8], each: int, length_px: float
) -> list[dict[str, Any]]:
    """Scores of frames with a spot, by its distance from the nearest seam: `each` a band and frame."""
    distances, threshold = seam_distances(tiling, tiling.field), bundle.calibration(precision).threshold
    backend, random = open_backend(bundle, "auto", precision), np.random.default_rng(0)
    bands: list[tuple[int, int]] = [(0, 16), (16, 64), (64, 1 << 20)]
    scores: dict[int, list[float]] = {near: [] for near, _ in bands}
    with progress_bar("spots at seams and beside them") as advance:
        for number, frame in enumerate(frames):
            scale = np.array(frame.shape[:2]) / tiling.field
            for near, far in bands:
                places = np.flatnonzero((distances >= near) & (distances < far))
                for place in random.choice(places, each) if len(places) else ():
                    y, x = np.array(np.unravel_index(place, tiling.field)) * scale
                    scores[near].append(backend.score(with_spot(frame, x, y, length_px), StageClock(0)).score)
            advance(number + 1, len(frames))
    backend.close()
    return [
        {
            "from_px": near,
            "spots": len(found),
            "found": int(np.sum(np.array(found) > threshold)),
            "score_mean": round(float(np.mean(found)), 4),
            "score_lowest_tenth": round(float(np.quantile(found, 0.1)), 4),
        }
        for near, found in scores.items()
        if found
    ]


@program(
    option("--bundle", type=Path, required=True, help="made with `train --tiles`"),
    option("--data", type=Path, required=True, help="good parts"),
    option("--frames", type=int, default=2),
    option("--spots", type=int, default=8, help="of each frame and band of distances"),
    option("--length", type=float, default=12.0, help="of a spot, in pixels of the frame"),
    option("--precision", choices=("auto", "int8", "fp32"), default="auto"),
)
def main(options: argparse.Namespace) -> Values:
    """Compare some frames."""
    bundle = load_bundle(options.bundle)
    tiling = tiling_of(bundle.manifest)
    if tiling is None:
        raise UsageError(f"{bundle.path} inspects no tiles", fix="give a --bundle made with `train --tiles`")
    most = (min(tiling.tile) // 2 - 1) // TILE_STEP * TILE_STEP
    widest = Tiling(tiling.field, tiling.tile, most)
    precision = bundle.precision(options.precision)
    paths = PLAIN.pictures_in(normal_samples_folder(options.data))[: options.frames]
    frames = [PLAIN.read(path) for path in paths]
    spots = scored_spots(bundle, precision, tiling, frames, options.spots, options.length)
    rows, scores = [], []
    with progress_bar("maps from the middles of tiles") as advance:
        for number, frame in enumerate(frames):
            field = bundle.preprocess.field(frame)
            stitched, middles = (map_of(bundle, precision, each, field) for each in (tiling, widest))
            rows.append(compared(stitched.values, middles.values, seam_distances(tiling, stitched.values.shape[:2])))
            scores.append({"stitched": round(stitched.score, 4), "from_middles": round(middles.score, 4)})
            advance(number + 1, len(paths))
    clean = [row["stitched"] for row in scores]
    return {
        "precision": precision,
        "tiles": len(tiling),
        "tiles_of_the_reference": len(widest),
        "halo_px": [tiling.halo, most],
        "threshold": round(bundle.calibration(precision).threshold, 4),
        "spot_px": options.length,
        "score_mean_without_spots": round(float(np.mean(clean)), 4),
        "spots_by_distance_from_a_seam": spots,
        "map_by_distance_from_a_seam": [
            {
                "from_px": row[0]["from_px"],
                "difference_in_deviations": round(float(np.mean([e["difference_in_deviations"] for e in row])), 4),
            }
            for row in zip(*rows, strict=True)
        ],
        "scores": scores,
    }


if __name__ == "__main__":
    raise SystemExit(main())
