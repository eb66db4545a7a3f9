"""What a second camera on the same part costs: judging a part by one picture, and by two joined side by side.

The calls take turns, part by part, so that both meet the same machine; each pair of neighbours is one ratio. Joining is
timed alone, too. Both cameras have the shipped bundle, whose network they share; the pictures are the sample line's.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import numpy as np

from benchmarks.program import BUNDLE, DATA, option, program
from edge.bundles.bundle import load_bundle
from edge.capture.group.joined import Joiner
from edge.capture.images.image_io import list_pictures
from edge.capture.images.image_reader import read_image
from edge.core.config import Settings
from edge.core.datatypes import Decision, Frame
from edge.inspection.group.inspector import group_inspector
from edge.inspection.inspectors import make_inspector

_WARM = 10


@program(BUNDLE, DATA, option("--parts", type=int, default=400, help="parts to judge in each way (default: 400)"))
def main(options: argparse.Namespace) -> dict[str, Any]:
    pictures = [read_image(path) for path in list_pictures(options.data / "test" / "good")]
    inspector = make_inspector(load_bundle(options.bundle), Settings())
    group = group_inspector([("left", inspector), ("right", inspector)])
    joiner = Joiner(("left", "right"))
    one_ms, two_ms, join_ms, ratios = [], [], [], []
    for number in range(_WARM + options.parts):
        shown = [pictures[(number + place) % len(pictures)] for place in range(2)]
        frames = [Frame(number, 0, datetime.now(timezone.utc), "sample", picture) for picture in shown]
        took: dict[str, float] = {}
        # who comes first finds the caches as the other left them
        for way in ("one", "two")[:: 1 if number % 2 else -1]:
            began = time.perf_counter_ns()
            if way == "one":
                verdict = inspector.inspect(replace(frames[0], captured_ns=began))
            else:
                joined = joiner.joined(number, [replace(frame, captured_ns=began) for frame in frames])
                took["join"] = (time.perf_counter_ns() - began) / 1e6
                verdict = group.inspect(joined)
            took[way] = (time.perf_counter_ns() - began) / 1e6
            assert verdict.decision is not Decision.INVALID, verdict.detail
        if number >= _WARM:
            one_ms.append(took["one"])
            two_ms.append(took["two"])
            join_ms.append(took["join"])
            ratios.append(took["two"] / took["one"])
    inspector.backend.close()
    height, width = pictures[0].shape[:2]
    return {
        "parts": options.parts,
        "frame_px": [width, height],
        "one_camera": _times(one_ms),
        "two_cameras": _times(two_ms),
        "of_it_joining": _times(join_ms),
        "ratio": {"median_of_pairs": round(float(np.median(ratios)), 3), "quartiles": _quartiles(ratios)},
    }


def _times(milliseconds: list[float]) -> dict[str, float]:
    return {f"p{level}_ms": round(float(np.percentile(milliseconds, level)), 3) for level in (10, 50, 95)}


def _quartiles(values: list[float]) -> list[float]:
    return [round(float(np.percentile(values, level)), 3) for level in (25, 75)]


if __name__ == "__main__":
    raise SystemExit(main())
