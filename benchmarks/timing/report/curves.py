"""How times grow: with the side of the frame, with the number of streams, and with the side of the network's field."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from benchmarks.timing.measure.bare_engine import BareEngine, open_bare_engines, open_sized_engine
from benchmarks.timing.measure.run import Plan, measure
from benchmarks.timing.report.report import latency_report
from edge.bundles.bundle import ModelBundle
from edge.core.datatypes import U8
from edge.inspection.inspector import Inspector

FRAME_SIDES = (128, 256, 512, 1024, 2048)
NETWORK_SIDES = (128, 192, 256, 320, 384, 512)
_POINT_KEYS = ("frames", "overhead_ratio_p50", "frames_per_s")


def measure_curves(
    bundle: ModelBundle,
    backend: str,
    precision: str,
    threads: int | None,
    plan: Plan,
    inspectors: Callable[[int], Sequence[Inspector]],
    stream_counts: Sequence[int],
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """One short run per point, as `plan` says; the bare engine takes turns in each.

    network_sides: the bundle's network stretched to other sides, bare, all sides in turn; empty where that cannot be.
    """
    total = len(FRAME_SIDES) + len(stream_counts) + 1
    done = 0

    def point(pictures: Sequence[U8], streams: int) -> dict[str, Any]:
        nonlocal done
        opened = inspectors(streams)
        engines = open_bare_engines(bundle, backend, precision, threads, streams)
        try:
            report = latency_report(measure(replace(plan, pictures=pictures), opened, engines))
        finally:
            for engine in engines:
                engine.close()
            for inspector in opened:
                inspector.backend.close()
        done += 1
        advance(done, total)
        return {
            **{key: report[key] for key in _POINT_KEYS},
            "end_to_end_p50_ms": report["end_to_end_ms"]["p50"],
            "end_to_end_p99_ms": report["end_to_end_ms"]["p99"],
            "engine_p50_ms": report["engine_ms"]["p50"],
            "preprocess_p50_ms": report["stages_ms"]["preprocess"]["p50"],
        }

    sides = [{"side_px": side, **point([_squared(p, side) for p in plan.pictures], 1)} for side in FRAME_SIDES]
    streams = [{"streams": count, **point(plan.pictures, count)} for count in stream_counts]
    stretched = network_sides(bundle, backend, precision, threads, plan.frames or 100)
    advance(total, total)
    return {"frame_sides": sides, "streams": streams, "network_sides": stretched}


def network_sides(
    bundle: ModelBundle, backend: str, precision: str, threads: int | None, calls: int
) -> list[dict[str, Any]]:
    """Median time of a bare call for each side, all sides in turn, so that each meets the same machine."""
    engines: dict[int, BareEngine] = {}
    for side in NETWORK_SIDES:
        engine = open_sized_engine(bundle, backend, precision, threads, side)
        if engine is not None:
            engines[side] = engine
    spent: dict[int, list[float]] = {side: [] for side in engines}
    for _ in range(calls):
        for side, engine in engines.items():
            # once unwatched: what the size before left in the caches is not this size's business
            engine.run()
            started = time.perf_counter_ns()
            engine.run()
            spent[side].append((time.perf_counter_ns() - started) / 1e6)
    for engine in engines.values():
        engine.close()
    return [
        {
            "side_px": side,
            "engine_p50_ms": round(float(np.median(times)), 4),
            "ms_per_megapixel": round(float(np.median(times)) / (side * side / 1e6), 3),
        }
        for side, times in spent.items()
    ]


def _squared(picture: U8, side: int) -> U8:
    shrinks = side < min(picture.shape[:2])
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (side, side), interpolation=interpolation), np.uint8)
