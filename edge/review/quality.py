"""Escapes and overkill of a stretch of time, from the records and from what people said of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from edge.core.datatypes import Decision
from edge.records.report import condition
from edge.records.store import RecordStore
from edge.review.database import Review, VerdictKey
from edge.review.estimates import Estimate, Stratum, escape_estimate, overkill_estimate
from edge.review.labels import Label
from edge.review.sample import WANTED, Drawn, Group, drawn_parts, group_of, is_counted, looked_at

_WRONG = {Label.ESCAPE, Label.FALSE_REJECT}


@dataclass(frozen=True)
class _Cell:
    """Parts of one day that were judged alike, and drawn with one probability."""

    day: str
    group: Group
    sample_p: float


@dataclass(frozen=True)
class Quality:
    """escape: of accepted parts; overkill: of all inspected ones. Both are of parts that could be drawn.

    undrawn: accepted parts that nobody could ask for, because record.keep_ok_share was 0. unsure: parts of the sample
    that count nowhere, because the person was not sure. looked_at: parts of the sample, by group.
    """

    escape: Estimate
    overkill: Estimate
    undrawn: int
    unsure: int
    looked_at: dict[Group, int]

    def as_json(self) -> dict[str, Any]:
        """For `report --json`; rates 0..1."""
        return {
            "escape": asdict(self.escape),
            "overkill": asdict(self.overkill),
            "ok_undrawn": self.undrawn,
            "unsure": self.unsure,
            "looked_at": {group.value: count for group, count in self.looked_at.items()},
            "wanted": {group.value: count for group, count in WANTED.items()},
        }

    def lines(self) -> list[str]:
        """What a person reads, a sentence each."""
        made = [f"escapes     {_escape_text(self)}", f"overkill    {_overkill_text(self.overkill)}"]
        if self.unsure:
            made.append(f"            {self.unsure} more that somebody was not sure of count in neither")
        return made


@dataclass(frozen=True)
class QualityRecords:
    """Counts of a stretch of time, from which estimates of all of it and of each day are made."""

    counts: Counter[_Cell]
    drawn: Sequence[Drawn]

    def total(self) -> Quality:
        return _quality(self.counts, list(looked_at(self.drawn)))

    def by_day(self) -> dict[str, Quality]:
        """Local day, such as 2026-03-14, → what is known of it, oldest first."""
        seen = list(looked_at(self.drawn))
        days = sorted({cell.day for cell in self.counts})
        return {
            day: _quality(
                Counter({cell: count for cell, count in self.counts.items() if cell.day == day}),
                [each for each in seen if each.day == day],
            )
            for day in days
        }


def quality_records(
    store: RecordStore,
    labels: dict[VerdictKey, Review],
    since: datetime | None = None,
    until: datetime | None = None,
    runs: tuple[int, ...] | None = None,
) -> QualityRecords:
    """labels: as ReviewDatabase has them. runs: only these; None: all. Raises RecordError."""
    where, values = condition(since, until, runs)
    rows = store.query(
        "SELECT date(utc, 'localtime'), decision, review, ifnull(sample_p, 0), count(*) FROM verdicts "
        f"{where} AND decision <> '{Decision.INVALID.value}' GROUP BY 1, 2, 3, 4",
        values,
    )
    counts: Counter[_Cell] = Counter()
    for day, decision, band, sample_p, count in rows:
        counts[_Cell(day, group_of(decision, band), sample_p)] += count
    return QualityRecords(counts, drawn_parts(store, labels, since, until, runs))


def _quality(counts: Counter[_Cell], seen: Sequence[Drawn]) -> Quality:
    sure = [each for each in seen if each.review is not None and is_counted(each.review)]
    accepted = Counter[tuple[Group, float]]()
    rejected = undrawn = 0
    for cell, count in counts.items():
        if cell.group is Group.NG:
            rejected += count
        elif cell.sample_p:
            accepted[cell.group, cell.sample_p] += count
        else:
            undrawn += count
    strata = [
        _stratum(count, (each for each in sure if (each.group, each.sample_p) == which))
        for which, count in accepted.items()
    ]
    rejects = _stratum(rejected, (each for each in sure if each.group is Group.NG))
    return Quality(
        escape=escape_estimate(strata),
        overkill=overkill_estimate(sum(counts.values()), rejects),
        undrawn=undrawn,
        unsure=len(seen) - len(sure),
        looked_at={group: sum(each.group is group for each in seen) for group in Group},
    )


def _stratum(parts: int, looked_at: Iterable[Drawn]) -> Stratum:
    labels = [each.review.label for each in looked_at if each.review is not None]
    return Stratum(parts, len(labels), sum(label in _WRONG for label in labels))


def _escape_text(quality: Quality) -> str:
    estimate = quality.escape
    if estimate.value is None:
        if not estimate.parts:
            return "not known: no picture of an accepted part was drawn (record.keep_ok_share)"
        return "not known: nobody has looked at an accepted part (`edge-inspect review`)"
    outside = f"; {quality.undrawn} more were accepted while none was drawn" if quality.undrawn else ""
    return (
        f"{_rate_text(estimate)} of accepted parts are defective; {estimate.wrong} of {estimate.looked_at} looked at"
        f"{outside}"
    )


def _overkill_text(estimate: Estimate) -> str:
    if estimate.value is None:
        return "not known: nobody has looked at a rejected part (`edge-inspect review`)"
    return (
        f"{_rate_text(estimate)} of inspected parts are good and were rejected; "
        f"{estimate.wrong} of {estimate.looked_at} rejects looked at are good"
    )


def _rate_text(estimate: Estimate) -> str:
    if not estimate.wrong:
        return f"at most {percent(estimate.at_most)} (95 % confidence)"
    return f"{percent(estimate.value)} (95 % interval {percent(estimate.low)} to {percent(estimate.high)})"


def percent(rate: float | None) -> str:
    """Two digits that say something: 0.0123 → 1.2 %."""
    if rate is None:
        return "not known"
    share = 100 * rate
    return f"{share:.0f} %" if share >= 10 or share == 0 else f"{float(f'{share:.2g}'):g} %"
