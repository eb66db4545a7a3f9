"""A timed run as figures: a JSON-able dict, from which table, page and comparison are made."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.timing.measure.interleaved import INSIDE, JUDGED, UNFIT, Stopwatch
from benchmarks.timing.measure.run import Measured
from benchmarks.timing.measure.samples import F64
from benchmarks.timing.report.figures import deadline_misses, histogram, percentiles, slope
from edge.core.errors import UsageError

# in the order of a frame's way
STAGES = ("grab", *INSIDE, "sink")
MOST_SAMPLES = 5000
OUTLIERS = 20
# buffers and the recorder's queue fill first; a slope of memory is of what follows
SETTLING_SHARE = 0.2

Columns = dict[str, F64]


def latency_report(measured: Measured, deadline_ms: float | None = None) -> dict[str, Any]:
    """All figures of a run; raises UsageError when no frame of it was judged.

    deadline_ms: what each frame may take; None: the time to the next one, where that is known.
    """
    warm_up = measured.plan.warm_up
    streams = [_settled(stream, warm_up) for stream in measured.streams]
    frames = _joined([frames for frames, _ in streams])
    engine = _joined([engine for _, engine in streams])
    seen = _only(frames, frames["fate"] != UNFIT)
    judged = _only(frames, frames["fate"] == JUDGED)
    invalid = _summed([stream.invalid for stream in measured.streams])
    if not judged["at_s"].size or not engine["at_s"].size:
        why = ", ".join(f"{name} {count}" for name, count in invalid.items()) or "none came in time"
        raise UsageError(f"no frame was judged after the warm-up: {why}", fix="check the source, or give more --frames")
    whole, bare = seen["end_to_end"], engine["engine"]
    loop = judged["end_to_end"] - judged["infer"]
    # from the time stamp of the decoded frame to the verdict, before sinks hear it
    verdict = judged["end_to_end"] - np.nan_to_num(judged["grab"]) - judged["sink"]
    dropped = sum(stream.dropped for stream in measured.streams)
    order = np.argsort(whole)[::-1][:OUTLIERS]
    return {
        "frames": int(seen["at_s"].size),
        "frame_px": measured.streams[0].frame_px,
        "overhead_ratio_p50": round(float(np.median(whole) / np.median(bare)), 4),
        "overhead_ratio_paired": _paired([_pairs(frames, engine) for frames, engine in streams]),
        "frames_per_s": round(sum(1000 / float(frames["end_to_end"].mean()) for frames, _ in streams), 2),
        "end_to_end_ms": percentiles(whole),
        "verdict_ms": percentiles(verdict),
        "verdict_ratio_p50": round(float(np.median(verdict) / np.median(bare)), 4),
        "engine_ms": percentiles(bare),
        "loop_ms": percentiles(loop),
        "loop_over_engine_p50": round(float(np.median(loop) / np.median(bare)), 4),
        "stages_ms": {name: percentiles(judged[name]) for name in STAGES if not np.isnan(judged[name]).any()},
        "histograms": {"end_to_end": histogram(whole), "engine": histogram(bare)},
        "deadline": _deadline(seen, deadline_ms, dropped),
        "dropped": dropped,
        "invalid": invalid,
        "rejected_share": round(sum(s.rejected for s in measured.streams) / max(1, judged["at_s"].size), 4),
        "warm_up": _warm_up(measured.streams, warm_up),
        "cpu": {
            "cores_busy": round(measured.usage.cores_busy, 3),
            # of the whole process, so it means a frame only while there is one stream
            "ms_per_frame": percentiles(judged["cpu"]) if len(streams) == 1 else None,
            "ms_per_engine_call": percentiles(engine["cpu"]) if len(streams) == 1 else None,
            "page_faults": measured.usage.page_faults,
        },
        "memory": memory_figures(measured.streams[0].memory.columns()),
        "slopes_per_hour": {
            name: slope(columns["at_s"] / 3600, columns[column], statistic)
            for name, columns, column, statistic in (
                ("end_to_end_p50_ms", seen, "end_to_end", _median),
                ("end_to_end_p99_ms", seen, "end_to_end", _p99),
                ("engine_p50_ms", engine, "engine", _median),
            )
        },
        "outliers": [_outlier(seen, int(row)) for row in order],
        "samples": {
            "at_s": _thinned(seen["at_s"], 3), "end_to_end_ms": _thinned(whole),
            "engine_at_s": _thinned(engine["at_s"], 3), "engine_ms": _thinned(bare),
        },
        "wall_s": round(measured.usage.wall_s, 2),
        "before": measured.before,
        "after": measured.after,
    }  # fmt: skip


def _settled(stream: Stopwatch, warm_up: int) -> tuple[Columns, Columns]:
    """Frames and engine calls of a stream, after the warm-up."""
    frames, engine = stream.frames.columns(), stream.engine.columns()
    pairs = min(warm_up, frames["at_s"].size, engine["at_s"].size)
    return {n: v[pairs:] for n, v in frames.items()}, {n: v[pairs:] for n, v in engine.items()}


def _joined(parts: list[Columns]) -> Columns:
    """Of several streams one table, in the order of time."""
    table = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(table["at_s"], kind="stable")
    return {name: values[order] for name, values in table.items()}


def _only(columns: Columns, rows: Any) -> Columns:
    return {name: values[rows] for name, values in columns.items()}


def _summed(counts: list[dict[str, int]]) -> dict[str, int]:
    names = dict.fromkeys(name for count in counts for name in count)
    return {name: sum(count.get(name, 0) for count in counts) for name in names}


def _pairs(frames: Columns, engine: Columns) -> F64:
    """Ratios of neighbours: the supply gives frames and calls in pairs, but for frames that nobody judged."""
    whole = frames["end_to_end"][frames["fate"] != UNFIT]
    count = min(whole.size, engine["engine"].size)
    ratios: F64 = whole[:count] / engine["engine"][:count]
    return ratios


def _paired(ratios: list[F64]) -> float:
    return round(float(np.median(np.concatenate(ratios))), 4)


def _deadline(seen: Columns, deadline_ms: float | None, dropped: int) -> dict[str, Any] | None:
    if deadline_ms is not None:
        return deadline_misses(seen["end_to_end"], np.full(seen["at_s"].size, deadline_ms), dropped)
    known = ~np.isnan(seen["gap"])
    return deadline_misses(seen["end_to_end"][known], seen["gap"][known], dropped) if known.any() else None


def _warm_up(streams: list[Stopwatch], count: int) -> dict[str, Any] | None:
    first = [stream.frames.columns()["end_to_end"][:count] for stream in streams]
    times = np.concatenate(first)
    if not times.size:
        return None
    return {
        "frames": int(times.size),
        "first_ms": round(max(float(values[0]) for values in first), 3),
        "end_to_end_ms": percentiles(times),
    }


def memory_figures(columns: Columns) -> dict[str, Any] | None:
    """Of at_s, frames and resident_mb: what a process took, and how that grew; None without a reading."""
    resident = columns["resident_mb"]
    if not resident.size:
        return None
    rest = _only(columns, slice(int(resident.size * SETTLING_SHARE), None))
    return {
        "start_mb": round(float(resident[0]), 1),
        "end_mb": round(float(resident[-1]), 1),
        "max_mb": round(float(resident.max()), 1),
        "slope_mb_per_hour": slope(rest["at_s"] / 3600, rest["resident_mb"], _median),
        "slope_kb_per_1000_frames": slope(rest["frames"] / 1e6, rest["resident_mb"], _median),
    }


def _outlier(seen: Columns, row: int) -> dict[str, Any]:
    """One of the slowest frames, and the stage that took most above its usual time."""
    stages = {name: float(seen[name][row]) for name in STAGES if not np.isnan(seen[name][row])}
    excess = {name: value - float(np.nanmedian(seen[name])) for name, value in stages.items()}
    return {
        "at_s": round(float(seen["at_s"][row]), 3),
        "end_to_end_ms": round(float(seen["end_to_end"][row]), 3),
        "most_in": max(excess, key=lambda name: excess[name]),
        "stages_ms": {name: round(value, 3) for name, value in stages.items()},
    }


def _thinned(values: F64, digits: int = 4) -> list[float]:
    """At most MOST_SAMPLES, evenly spaced in time, for pictures and bootstrap; percentiles were taken of all."""
    if values.size > MOST_SAMPLES:
        values = values[np.linspace(0, values.size - 1, MOST_SAMPLES).astype(int)]
    return [round(float(value), digits) for value in values]


def _median(values: F64) -> float:
    return float(np.median(values))


def _p99(values: F64) -> float:
    return float(np.percentile(values, 99))
