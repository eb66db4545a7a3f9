"""Two reports beside each other: what changed, how sure that is, and whether it is worse than allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.timing.measure.samples import F64
from benchmarks.timing.report.figures import block_bootstrap
from edge.core.errors import UsageError

RESAMPLES = 1000
# what must be alike for a change to be the software's: key of the report, then what a person calls it
_SAME = {
    ("machine", "processor"): "processor",
    ("machine", "usable_cores"): "usable cores",
    ("machine", "gpus"): "GPUs",
    ("run", "bundle_sha256"): "bundle",
    ("run", "backend"): "backend",
    ("run", "precision"): "precision",
    ("run", "frame_px"): "frame size",
    ("run", "source"): "source",
    ("run", "cadence"): "cadence",
    ("run", "streams"): "streams",
    ("run", "records"): "records",
}
# what may explain a change without forbidding the comparison
_NOTED = {
    ("machine", "power"): "power settings",
    ("machine", "versions"): "versions",
    ("machine", "system"): "system",
    ("machine", "commit"): "commit",
}


@dataclass(frozen=True)
class Change:
    """One figure of both reports. ratio is B over A with its 95 % interval; worse: beyond the limit, and surely up."""

    name: str
    before: float
    after: float
    ratio: float
    low: float
    high: float
    worse: bool

    def as_json(self) -> dict[str, Any]:
        return vars(self).copy()


@dataclass(frozen=True)
class Comparison:
    """differences: what is not alike but was asked to be compared all the same. notes: what else differs."""

    limit: float
    changes: tuple[Change, ...]
    differences: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def regressed(self) -> bool:
        return any(change.worse for change in self.changes)

    def as_json(self) -> dict[str, Any]:
        return {
            "limit": self.limit,
            "regressed": self.regressed,
            "changes": [change.as_json() for change in self.changes],
            "differences": list(self.differences),
            "notes": list(self.notes),
        }


def compare_reports(before: dict[str, Any], after: dict[str, Any], limit: float, *, across: bool) -> Comparison:
    """How B (`after`) differs from A. Raises UsageError for reports of different things, unless `across`.

    A figure is worse when its ratio is above the limit and the whole interval above 1: slower than allowed, and surely
    slower. Intervals come from a bootstrap of stretches of both runs, drawn apart.
    """
    differences = tuple(_differences(before, after, _SAME))
    if differences and not across:
        raise UsageError(
            f"these are not two runs of the same thing: {'; '.join(differences)}",
            fix="measure both on one machine with the same options, or give --across to compare them all the same",
        )
    random = np.random.default_rng(0)
    drawn_a, drawn_b = _resampled(before, random), _resampled(after, random)
    plain_a, plain_b = _figures(*_times(before)), _figures(*_times(after))
    changes = []
    for name, value_a in plain_a.items():
        low, high = np.percentile(drawn_b[name] / drawn_a[name], (2.5, 97.5))
        ratio = plain_b[name] / value_a
        worse = ratio > limit and low > 1
        changes.append(Change(name, value_a, plain_b[name], ratio, float(low), float(high), bool(worse)))
    return Comparison(limit, tuple(changes), differences, tuple(_differences(before, after, _NOTED)))


def explanation(comparison: Comparison) -> str:
    """What the ratios say together, in a sentence or two."""
    by_name = {change.name: change for change in comparison.changes}
    whole, engine = by_name["end_to_end_p50_ms"], by_name["engine_p50_ms"]
    if not comparison.regressed:
        unsure = [change.name for change in comparison.changes if change.ratio > comparison.limit]
        if unsure:
            return (
                f"No regression is sure: {', '.join(unsure)} rose, but so much also happens by chance. Measure longer."
            )
        return f"No figure is more than {comparison.limit:g} times what it was."
    if engine.worse and abs(whole.ratio / engine.ratio - 1) < 0.02:
        return "Slower, and the bare engine as much: the network, its runtime or the machine, not what is around it."
    if engine.worse:
        return "Slower; the bare engine too, so part of it is the network, its runtime or the machine."
    return "Slower while the bare engine is not: the loop around it, or what runs beside it."


def _differences(a: dict[str, Any], b: dict[str, Any], keys: dict[tuple[str, str], str]) -> list[str]:
    found = []
    for (section, key), name in keys.items():
        one, other = a.get(section, {}).get(key), b.get(section, {}).get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            parts = [part for part in {**one, **other} if one.get(part) != other.get(part)]
            found += [f"{name} {part}: {one.get(part)} and {other.get(part)}" for part in parts]
        elif one != other:
            found.append(f"{name}: {one} and {other}")
    return found


def _times(report: dict[str, Any]) -> tuple[F64, F64]:
    try:
        samples = report["samples"]
        whole, engine = np.array(samples["end_to_end_ms"], float), np.array(samples["engine_ms"], float)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            "a report to compare holds no times of single frames",
            fix="give two files written by `edge-inspect benchmark --out`, not of --throughput or --curves",
        ) from error
    if min(whole.size, engine.size) < 20 or not min(whole.min(), engine.min()) > 0:
        raise UsageError(f"a report of {whole.size} frames is too short to compare", fix="measure at least 20 frames")
    return whole, engine


def _figures(whole: F64, engine: F64) -> dict[str, float]:
    middle, tail = np.percentile(whole, (50, 99))
    bare = float(np.median(engine))
    return {
        "end_to_end_p50_ms": float(middle),
        "end_to_end_p99_ms": float(tail),
        "engine_p50_ms": bare,
        "overhead_ratio_p50": float(middle) / bare,
    }


def _resampled(report: dict[str, Any], random: np.random.Generator) -> dict[str, F64]:
    whole, engine = _times(report)
    # the same stretches of time for both where they are as many: what slowed one slowed the other
    drawn = []
    for _ in range(RESAMPLES):
        rows = block_bootstrap(min(whole.size, engine.size), random)
        drawn.append(_figures(whole[rows], engine[rows]))
    return {name: np.array([figures[name] for figures in drawn]) for name in drawn[0]}
