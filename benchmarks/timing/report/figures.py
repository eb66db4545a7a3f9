"""Figures of a list of times: percentiles, histogram, slopes with intervals. Nothing is clipped or left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.timing.measure.samples import F64
from edge.metrics import rate_interval

LEVELS = (50, 90, 95, 99, 99.9)
NAMES = ("p50", "p90", "p95", "p99", "p99.9")
BINS = 48
SLOPE_BLOCKS = 60
RESAMPLES = 1000

Rows = np.ndarray[Any, np.dtype[np.intp]]


def percentiles(values: F64 | Sequence[float]) -> dict[str, float]:
    """p50 to p99.9, the maximum and the mean; a percentile that few values carry lies between the largest of them."""
    levels = np.percentile(values, LEVELS)
    found = {name: _rounded(level) for name, level in zip(NAMES, levels, strict=True)}
    return {**found, "max": _rounded(np.max(values)), "mean": _rounded(np.mean(values))}


def histogram(values: F64) -> list[list[float]]:
    """[from, to, count] of bins that widen with the value, from the smallest to the largest; counts add up to all."""
    low, high = float(values.min()), float(values.max())
    # what was too short to measure has no logarithm
    low = max(low, 1e-4)
    edges = np.geomspace(low, max(high, low * 1.001), BINS + 1)
    counts, _ = np.histogram(np.clip(values, low, edges[-1]), edges)
    return [[_rounded(a), _rounded(b), int(n)] for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)]


def deadline_misses(end_to_end: F64, allowed: F64, dropped: int) -> dict[str, Any]:
    """How many frames were not through in time, with the 95 % interval of their share.

    allowed: milliseconds each frame had. A frame that was replaced before its turn came is a miss.
    """
    missed = int(np.count_nonzero(end_to_end > allowed)) + dropped
    total = end_to_end.size + dropped
    interval = rate_interval(missed, total)
    return {
        "allowed_ms": {"min": _rounded(allowed.min()), "p50": _rounded(np.median(allowed))},
        "missed": missed,
        "of": total,
        "dropped": dropped,
        "share": missed / total,
        "share_low_95": interval.low,
        "share_high_95": interval.high,
    }


def slope(at: F64, values: F64, statistic: Callable[[F64], float]) -> dict[str, Any] | None:
    """How a statistic of the values grows with `at`: per unit, with a 95 % interval; None for less than five blocks.

    The run is cut into up to SLOPE_BLOCKS equal stretches, and a line is fitted through their statistics; the interval
    is that of lines through stretches drawn again with replacement. Trends are told from noise of any distribution, not
    from waves longer than a stretch.
    """
    edges = np.linspace(at[0], at[-1], min(SLOPE_BLOCKS, at.size // 5) + 1) if at.size >= 5 else np.zeros(1)
    blocks = np.digitize(at, edges[1:-1])
    present = [block for block in range(len(edges) - 1) if np.any(blocks == block)]
    if len(present) < 5:
        return None
    x = np.array([at[blocks == block].mean() for block in present])
    y = np.array([statistic(values[blocks == block]) for block in present])
    random = np.random.default_rng(0)
    drawn = random.integers(0, len(x), (RESAMPLES, len(x)))
    # all the same stretch: no line; of some sixty it does not happen
    slopes = [_line(x[rows], y[rows]) for rows in drawn if np.ptp(x[rows]) > 0]
    low, high = np.percentile(slopes, (2.5, 97.5))
    return {"per_unit": float(_line(x, y)), "low_95": float(low), "high_95": float(high), "stretches": len(present)}


def _line(x: F64, y: F64) -> float:
    centred = x - x.mean()
    return float((centred * y).sum() / (centred**2).sum())


def block_bootstrap(count: int, random: np.random.Generator) -> Rows:
    """Rows of a series drawn again in stretches, since neighbours in time are alike: what slows one slows the next."""
    length = max(1, round(count**0.5))
    starts = random.integers(0, count, -(-count // length))
    rows: Rows = ((starts[:, None] + np.arange(length)) % count).ravel()[:count]
    return rows


def _rounded(value: Any) -> float:
    return round(float(value), 4)
