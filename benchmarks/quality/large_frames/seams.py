"""What seams do to the map of a bundle of tiles: as it is stitched, against every place seen from a tile's middle.

The reference runs the same network on tiles that overlap as far as they can, and takes their middles alone. It costs as
many runs as a hundred frames and more. Differences are told by the distance from the nearest seam.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.program import Values, option, program
from edge.backends.cpu_openvino import OpenVinoTiles
from edge.backends.tiled import TiledNetwork
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.capture.images.image_reader import PLAIN
from edge.core.datatypes import F32, U8, AnomalyMap
from edge.core.errors import UsageError
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


@program(
    option("--bundle", type=Path, required=True, help="made with `train --tiles`"),
    option("--data", type=Path, required=True, help="good parts"),
    option("--frames", type=int, default=2),
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
    rows, scores = [], []
    with progress_bar("maps from the middles of tiles") as advance:
        for number, path in enumerate(paths):
            field = bundle.preprocess.field(PLAIN.read(path))
            stitched, middles = (map_of(bundle, precision, each, field) for each in (tiling, widest))
            rows.append(compared(stitched.values, middles.values, seam_distances(tiling, stitched.values.shape[:2])))
            scores.append({"stitched": round(stitched.score, 4), "from_middles": round(middles.score, 4)})
            advance(number + 1, len(paths))
    return {
        "precision": precision,
        "tiles": len(tiling),
        "tiles_of_the_reference": len(widest),
        "halo_px": [tiling.halo, most],
        "threshold": round(bundle.calibration(precision).threshold, 4),
        "by_distance_from_a_seam": [
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
