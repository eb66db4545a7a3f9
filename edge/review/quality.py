"""Escapes and overkill of a stretch of time, from the records and from what people said of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

from edge.core.datatypes import Decision
from edge.records.store import RecordStore
from edge.review.database import Review, VerdictKey
from edge.review.estimates import Estimate, Stratum, escape_estimate, overkill_estimate
from edge.review.labels import Label
from edge.review.sample import WANTED, Drawn, Group, Scope, drawn_parts, group_of, is_counted, looked_at

_WRONG = {Label.ESCAPE, Label.FALSE_REJECT}


# parts by the group and the probability with which they were drawn; 0: none was
Counts = Counter[tuple[Group, float]]


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
    """What estimates of a stretch of time are made of. drawn: as `drawn_parts` gives them."""

    counts: Counts
    drawn: Sequence[Drawn]

    def total(self) -> Quality:
        return _quality(self.counts, list(looked_at(self.drawn)))


def quality_records(store: RecordStore, labels: dict[VerdictKey, Review], scope: Scope) -> QualityRecords:
    """labels: as ReviewDatabase has them. Raises RecordError."""
    return QualityRecords(_counts(store, scope), drawn_parts(store, labels, scope))


def quality_by_day(
    store: RecordStore, labels: dict[VerdictKey, Review], since: datetime, until: datetime
) -> tuple[QualityRecords, dict[date, Quality]]:
    """All of the time, and each local day with inspected parts, oldest first. Raises RecordError."""
    counts, day = dict[date, Counts](), since.astimezone().date()
    while day <= until.astimezone().date():
        after = day + timedelta(days=1)
        # a naive midnight is the local one, also on the days that have 23 or 25 hours
        begin, end = (datetime(each.year, each.month, each.day).astimezone() for each in (day, after))
        if of_day := _counts(store, Scope(max(begin, since), min(end, until))):
            counts[day] = of_day
        day = after
    whole = QualityRecords(sum(counts.values(), Counts()), drawn_parts(store, labels, Scope(since, until)))
    seen: dict[date, list[Drawn]] = {}
    # what counts of a day depends on all of the time: the queue has one order
    for each in looked_at(whole.drawn):
        seen.setdefault(datetime.fromisoformat(each.utc).astimezone().date(), []).append(each)
    return whole, {day: _quality(of_day, seen.get(day, [])) for day, of_day in counts.items()}


def _counts(store: RecordStore, scope: Scope) -> Counts:
    where, values = scope.condition()
    rows = store.query(
        "SELECT decision, review, ifnull(sample_p, 0), count(*) FROM verdicts "
        f"{where} AND decision <> '{Decision.INVALID.value}' GROUP BY 1, 2, 3",
        values,
    )
    counts: Counts = Counter()
    for decision, band, sample_p, count in rows:
        counts[group_of(decision, band), sample_p] += count
    return counts


def _quality(counts: Counts, seen: Sequence[Drawn]) -> Quality:
    sure = [each for each in seen if each.review is not None and is_counted(each.review)]
    strata = [
        _stratum(count, (each for each in sure if (each.group, each.sample_p) == which))
        for which, count in counts.items()
        if which[0] is not Group.NG and which[1]
    ]
    rejected = sum(count for (group, _), count in counts.items() if group is Group.NG)
    return Quality(
        escape=escape_estimate(strata),
        overkill=overkill_estimate(
            sum(counts.values()), _stratum(rejected, (each for each in sure if each.group is Group.NG))
        ),
        undrawn=sum(count for (group, sample_p), count in counts.items() if group is not Group.NG and not sample_p),
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
