"""Do the intervals of escapes and overkill hold the true rates? Many simulated lines whose rates are known."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.program import Values, program
from edge.core.progress import say
from edge.review.database import Review, VerdictKey
from edge.review.estimates import Estimate, Stratum, escape_estimate, overkill_estimate
from edge.review.labels import Label
from edge.review.sample import Drawn, Group, looked_at, queue

Counts = NDArray[np.int64]
SEED, RUNS = 0, 1000
RATES, SAMPLES = (0.001, 0.01, 0.05), (100, 300, 1000)


@dataclass(frozen=True)
class Stretch:
    """A time in which the line stayed as it was. keep_share: of accepted parts, drawn. factor: of its escape rate."""

    accepted: int
    keep_share: float
    factor: float = 1.0


@dataclass(frozen=True)
class Line:
    """band: share of accepted parts in the unsure band, where `band_factor` times as many are defective.

    band_sample: how many of those are looked at.
    """

    name: str
    stretches: tuple[Stretch, ...]
    band: float = 0.0
    band_factor: float = 10.0
    band_sample: int = 100


LINES = (
    Line("one probability", (Stretch(100_000, 0.05),)),
    Line("probability changed", (Stretch(60_000, 0.02), Stretch(40_000, 0.1))),
    Line(
        "probability and rate changed",
        (Stretch(60_000, 0.02, 0.5), Stretch(30_000, 0.1, 1.0), Stretch(10_000, 1.0, 4.0)),
    ),
    Line("unsure band", (Stretch(100_000, 0.05),), band=0.02),
    Line(
        "unsure band, probability and rate changed",
        (Stretch(60_000, 0.02, 0.5), Stretch(40_000, 0.1, 2.0)),
        band=0.02,
    ),
)  # fmt: skip


def true_escapes(line: Line, rate: float) -> float:
    """The share of accepted parts that are defective, on average over runs of the line."""
    accepted = sum(each.accepted for each in line.stretches)
    plain = sum(each.accepted * each.factor for each in line.stretches) / accepted * rate
    return (1 - line.band) * plain + line.band * min(1.0, line.band_factor * rate)


def simulated_strata(line: Line, rate: float, sample: int, runs: int, seed: int = SEED) -> Counts:
    """(runs, strata, 3): parts, looked at and wrong of each stratum; the unsure band is the last one, if there is one.

    Of the parts drawn, those at the lowest places are looked at: every part of the line has the same chance, as long as
    there are drawn ones left.
    """
    random = np.random.default_rng((seed, sample, int(1e6 * rate)))
    accepted = np.array([each.accepted for each in line.stretches])
    plain = np.round(accepted * (1 - line.band)).astype(np.int64)
    drawn = random.binomial(plain, [each.keep_share for each in line.stretches], (runs, len(plain)))
    looked = np.minimum(random.multinomial(sample, plain / plain.sum(), runs), drawn)
    wrong = random.binomial(looked, rate * np.array([each.factor for each in line.stretches]))
    strata = [np.stack([np.broadcast_to(plain, looked.shape), looked, wrong], axis=2)]
    if line.band:
        parts = int((accepted - plain).sum())
        seen = min(line.band_sample, parts)
        found = random.binomial(seen, min(1.0, line.band_factor * rate), runs)
        strata.append(np.stack([np.full(runs, parts), np.full(runs, seen), found], axis=1)[:, None])
    return np.concatenate(strata, axis=1)


def held(truth: float, runs: Counts, estimate: Callable[[Counts], Estimate]) -> dict[str, float]:
    """How often the interval and the bound of runs of a line held the truth; runs: (runs, …)."""
    # runs with equal counts have equal estimates
    distinct, which = np.unique(runs, axis=0, return_inverse=True)
    made = [estimate(each) for each in distinct]
    ends = np.array([(each.low, each.high, each.at_most, each.value) for each in made], float)[which.ravel()]
    return {
        "interval_held": float(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1]))),
        "bound_held": float(np.mean(truth <= ends[:, 2])),
        "mean": float(ends[:, 3].mean()),
        "width": float(np.median(ends[:, 1] - ends[:, 0])),
    }


def escapes(line: Line, rate: float, sample: int, runs: int = RUNS) -> dict[str, Any]:
    """How often the estimate of escapes held the truth, for lines of which about `sample` accepted parts are seen."""
    truth = true_escapes(line, rate)
    strata = simulated_strata(line, rate, sample, runs)

    def estimate(counts: Counts) -> Estimate:
        return escape_estimate([Stratum(*map(int, each)) for each in counts])

    return {"line": line.name, "sample": sample, "rate": truth, **held(truth, strata, estimate)}


def overkill(
    reject_rate: float, good_share: float, sample: int, inspected: int = 20_000, runs: int = RUNS
) -> dict[str, Any]:
    """The same of overkill, for lines that reject `reject_rate` of their parts, of which `good_share` are good."""
    random = np.random.default_rng((SEED, sample, int(1e6 * reject_rate), int(1e6 * good_share)))
    rejects = random.binomial(inspected, reject_rate, runs)
    seen = np.minimum(rejects, sample)
    wrong = random.binomial(seen, good_share)
    truth = reject_rate * good_share

    def estimate(counts: Counts) -> Estimate:
        return overkill_estimate(inspected, Stratum(*map(int, counts)))

    counts = np.stack([rejects, seen, wrong], axis=1)
    return {
        "reject_rate": reject_rate,
        "good_share": good_share,
        "sample": sample,
        "rate": truth,
        **held(truth, counts, estimate),
    }


def looked_up(runs: int = 300, sample: int = 150, found: int = 30) -> dict[str, Any]:
    """Somebody looks for escapes and labels `found` of them, before `sample` parts of the queue are looked at.

    Through the queue itself. all_labels, asked_only: the shares that are found without asking how far the queue came.
    """
    random, rate = np.random.default_rng(SEED), 0.05
    parts, changed = 4000, 2500
    share = np.where(np.arange(parts) < changed, 0.1, 0.4)
    rates = np.where(np.arange(parts) < changed, rate, 2 * rate)
    rows = []
    for run in range(runs):
        bad = random.random(parts) < rates
        first = run * parts
        drawn = {
            first + int(each): Drawn(VerdictKey("", first + int(each)), Group.OK, float(share[each]), "", True, None)
            for each in np.flatnonzero(random.random(parts) < share)
        }
        escapes = [number for number in drawn if bad[number - first]]
        for number in escapes[:found]:
            drawn[number] = _labelled(drawn[number], bool(bad[number - first]), asked=False)
        asked = [each.key.verdict_id for each in islice(queue(list(drawn.values())), sample)]
        for number in asked:
            drawn[number] = _labelled(drawn[number], bool(bad[number - first]), asked=True)
        seen = list(looked_at(list(drawn.values())))
        estimate = escape_estimate(
            [_stratum_of(seen, 0.1, changed), _stratum_of(seen, 0.4, parts - changed)]
        )  # fmt: skip
        assert estimate.low is not None and estimate.high is not None
        labelled = [each.key.verdict_id for each in drawn.values() if each.review is not None]
        shares = [float(np.mean([bad[each - first] for each in some])) for some in (labelled, asked)]
        truth = float(rates.mean())
        rows.append((estimate.value, estimate.low <= truth <= estimate.high, *shares, truth))
    mean = np.array(rows, float).mean(axis=0)
    names = ("mean", "interval_held", "all_labels", "asked_only", "rate")
    return {"runs": runs, "sample": sample, "found": found, **dict(zip(names, map(float, mean), strict=True))}


def _labelled(part: Drawn, bad: bool, *, asked: bool) -> Drawn:
    label = Label.ESCAPE if bad else Label.OK_CONFIRMED
    return replace(part, review=Review("", part.key, label, asked, "", datetime.now(timezone.utc)))


def _stratum_of(seen: Sequence[Drawn], sample_p: float, parts: int) -> Stratum:
    labels = [each.review.label for each in seen if each.sample_p == sample_p and each.review is not None]
    return Stratum(parts, len(labels), labels.count(Label.ESCAPE))


@program(show=lambda values: "\n\n".join(table(values[name]) for name in ("escapes", "overkill", "looked_up")))
def main(options: argparse.Namespace) -> Values:
    """Simulate every line with every rate and sample."""
    found = []
    for line in LINES:
        say(f"escapes of lines with {line.name}")
        found += [escapes(line, rate, sample) for rate in RATES for sample in SAMPLES]
    say("overkill")
    rejected = [
        overkill(rate, share, sample)
        for rate in (0.001, 0.01, 0.05)
        for share in (0.02, 0.3, 0.9)
        for sample in (50, 200)
    ]
    say("escapes that somebody looked up")
    return {"runs": RUNS, "escapes": found, "overkill": rejected, "looked_up": [looked_up()]}


def table(cases: Sequence[dict[str, Any]]) -> str:
    """A line for each case."""
    return "\n".join("  ".join(f"{name} {value}" for name, value in case.items()) for case in cases)


if __name__ == "__main__":
    raise SystemExit(main())
