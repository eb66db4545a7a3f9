"""What the records say about a stretch of time: counts, defect rate with its interval, latency percentiles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.core.datatypes import STAGES, Part
from edge.core.errors import UsageError
from edge.core.local_time import local_text
from edge.core.redact import redact
from edge.metrics import rate_interval
from edge.records.alarms import AlarmRecord, alarm_values, alarms_between
from edge.records.clock import ClockJump, clock_jumps
from edge.records.recipe_changes import RecipeChange, change_values, recorded_changes
from edge.records.store import RecordStore, utc_text

if TYPE_CHECKING:
    from rich.console import Group

_PERCENTILES = (50, 90, 95, 99)
_WHAT_A_JUMP_DOES = (
    "--since and --until go by the time that was recorded, so verdicts recorded while the clock was wrong are counted "
    "where their time says; --run counts a run whole, and numbers keep the order of recording"
)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Rate:
    """A share of `total` with its 95 % Clopper-Pearson interval; all None when the total is 0."""

    count: int
    total: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Latency:
    """Percentiles of one stage in milliseconds over the inspected verdicts."""

    p50: float
    p90: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True)
class Report:
    """decisions and reasons: how many verdicts each. inspected = OK + NG; latency is empty when it is 0.

    review: OK parts in the unsure band, of those inspected. chosen_runs: those that were asked for; None: all.
    clock_jumps: those that touch the range. part: the number and lot that were asked for, where not empty.
    """

    since: datetime | None
    until: datetime | None
    first: datetime | None
    last: datetime | None
    runs: tuple[int, ...]
    sources: tuple[str, ...]
    verdicts: int
    decisions: dict[str, int]
    reasons: dict[str, int]
    review: Rate
    defect_rate: Rate
    latency: dict[str, Latency]
    alarms: tuple[AlarmRecord, ...]
    chosen_runs: tuple[int, ...] | None
    clock_jumps: tuple[ClockJump, ...]
    part: Part
    recipe_changes: tuple[RecipeChange, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The object that `report --json` prints; times in UTC, latencies in milliseconds."""

        def moment(value: datetime | None) -> str | None:
            return utc_text(value) if value is not None else None

        return {
            "since": moment(self.since),
            "until": moment(self.until),
            "first": moment(self.first),
            "last": moment(self.last),
            "part_number": self.part.number or None,
            "lot": self.part.lot or None,
            "runs": list(self.runs),
            "sources": list(self.sources),
            "verdicts": self.verdicts,
            "decisions": self.decisions,
            "reasons": self.reasons,
            "review": {
                "parts": self.review.count,
                "inspected": self.review.total,
                "rate": self.review.value,
                "low_95": self.review.low,
                "high_95": self.review.high,
            },
            "defect_rate": {
                "defective": self.defect_rate.count,
                "inspected": self.defect_rate.total,
                "rate": self.defect_rate.value,
                "low_95": self.defect_rate.low,
                "high_95": self.defect_rate.high,
            },
            "alarms": [{"id": entry.id, "run": entry.run_id, **alarm_values(entry.alarm)} for entry in self.alarms],
            "recipe_changes": [{**change_values(change), "changed": change.changed} for change in self.recipe_changes],
            "clock_jumps": [
                {
                    "run": jump.run_id,
                    "before": moment(jump.before),
                    "after": moment(jump.after),
                    "last_verdict_id": jump.last_verdict_id,
                    "put_right": moment(jump.put_right),
                }
                for jump in self.clock_jumps
            ],
            "latency_ms": {stage: vars(latency).copy() for stage, latency in self.latency.items()},
        }


def moment_from_text(text: str, now: datetime) -> datetime:
    """`8h`, `30m`, `7d`, `90s` before now, or an ISO 8601 time; without a zone it is local time. Raises UsageError."""
    duration = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip().lower())
    try:
        if duration:
            return now - timedelta(**{_UNITS[duration[2]]: float(duration[1])})
        # fromisoformat reads a final Z only since Python 3.11
        return datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text.strip())).astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"`{text}` is not a time",
            fix="give a duration such as 30m, 8h or 7d, or a time such as 2026-03-14T08:00",
        ) from error


def rate_of(count: int, total: int) -> Rate:
    """A share with its 95 % Clopper-Pearson interval (edge/metrics), sound at 0 % and for few parts."""
    if total == 0:
        return Rate(count, total, None, None, None)
    interval = rate_interval(count, total)
    return Rate(count, total, count / total, interval.low, interval.high)


def build_report(
    store: RecordStore,
    since: datetime | None = None,
    until: datetime | None = None,
    source: str | None = None,
    run_id: int | None = None,
    part: Part = Part(),  # noqa: B008 - frozen
) -> Report:
    """Summarise the verdicts with since <= utc < until, of one source, run, part number or lot if given.

    Raises UsageError for an empty range or an unknown source, RecordError for an unknown run.
    """
    if since is not None and until is not None and since >= until:
        raise UsageError(f"--since {local_text(since)} is not before --until {local_text(until)}", fix="swap them")
    runs = [store.run(run_id)] if run_id is not None else store.runs()
    source = None if source is None else redact(source)
    known_sources = {run.info.source for run in runs}
    if source is not None and source not in known_sources:
        listed = ", ".join(sorted(known_sources)) or "none"
        raise UsageError(f"no run of the source `{source}` is on record", fix=f"recorded sources: {listed}")
    chosen = {run.id: run for run in runs if source is None or run.info.source == source}
    asked_for = None if source is None and run_id is None else tuple(chosen)
    where, values = condition(since, until, asked_for, part)
    grouped = store.query(
        "SELECT decision, reason, run_id, count(*), min(utc), max(utc), sum(review) "
        f"FROM verdicts {where} GROUP BY 1, 2, 3",
        values,
    )
    decisions = {"OK": 0, "NG": 0, "INVALID": 0}
    reasons: dict[str, int] = {}
    for decision, reason, _, count, *_ in grouped:
        decisions[decision] += count
        reasons[reason] = reasons.get(reason, 0) + count
    inspected = decisions["OK"] + decisions["NG"]
    seen = sorted({row[2] for row in grouped})
    return Report(
        since=since,
        until=until,
        first=datetime.fromisoformat(min(row[4] for row in grouped)) if grouped else None,
        last=datetime.fromisoformat(max(row[5] for row in grouped)) if grouped else None,
        runs=tuple(seen),
        sources=tuple(sorted({chosen[run].info.source for run in seen if run in chosen})),
        verdicts=sum(decisions.values()),
        decisions=decisions,
        reasons=dict(sorted(reasons.items(), key=lambda item: -item[1])),
        review=rate_of(sum(row[6] for row in grouped), inspected),
        defect_rate=rate_of(decisions["NG"], inspected),
        latency=_latency(store, where, values),
        alarms=alarms_between(store, since, until, tuple(chosen)),
        chosen_runs=asked_for,
        recipe_changes=_recipe_changes(store, since, until, tuple(chosen)),
        clock_jumps=tuple(jump for jump in clock_jumps(store, tuple(chosen)) if jump.touches(since, until)),
        part=part,
    )


def _recipe_changes(
    store: RecordStore, since: datetime | None, until: datetime | None, runs: tuple[int, ...]
) -> tuple[RecipeChange, ...]:
    where, values = condition(since, until, runs, Part())
    return tuple(recorded_changes(store, where.removeprefix("WHERE "), values))


def condition(
    since: datetime | None, until: datetime | None, runs: tuple[int, ...] | None, part: Part
) -> tuple[str, list[Any]]:
    """WHERE with its values, for verdicts with since <= utc < until of these runs; None: all. part: see Report."""
    parts, values = of_part(part)
    if since is not None:
        parts.append("utc >= ?")
        values.append(utc_text(since))
    if until is not None:
        parts.append("utc < ?")
        values.append(utc_text(until))
    if runs is not None:
        parts.append(f"run_id IN ({', '.join('?' * len(runs))})")
        values.extend(runs)
    return f"WHERE {' AND '.join(parts)}", values


def of_part(part: Part) -> tuple[list[str], list[Any]]:
    """Conditions with their values, for verdicts of this number and lot, where not empty."""
    parts, values = ["1"], []
    for name, text in (("part_number", part.number), ("lot", part.lot)):
        if text:
            # said once more, since the index holds no empty ones
            parts += [f"{name} <> ''", f"{name} = ?"]
            values.append(text)
    return parts, values


def _latency(store: RecordStore, where: str, values: list[Any]) -> dict[str, Latency]:
    """Per stage; of inspected verdicts only, since the others skip stages and would pull the numbers down."""
    columns = ", ".join(f"{stage}_ms" for stage in STAGES)
    sql = f"SELECT {columns} FROM verdicts {where} AND score IS NOT NULL"
    # in blocks of float32: a day of verdicts as Python tuples would take gigabytes
    blocks = [np.empty((0, len(STAGES)), np.float32)]
    blocks += [np.array(rows, np.float32) for rows in store.query_blocks(sql, values)]
    times = np.concatenate(blocks)
    if not len(times):
        return {}
    levels = np.percentile(times, _PERCENTILES, axis=0)
    return {
        stage: Latency(*(round(float(level), 3) for level in (*levels[:, column], times[:, column].max())))
        for column, stage in enumerate(STAGES)
    }


def _rate_text(rate: Rate) -> str:
    interval = f"95 % interval {rate.low:.3%} to {rate.high:.3%}"
    return f"{rate.value:.3%}  ({interval}; {rate.count} of {rate.total} inspected)"


def report_table(report: Report) -> Group:
    """The report for a terminal."""
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

    span = "no verdicts in this range"
    if report.first is not None and report.last is not None:
        span = f"{local_text(report.first)} to {local_text(report.last)}"
    asked_for = "".join(f"   {words}" for words in report.part.words)
    head = Text.assemble(
        (f"{report.verdicts} verdicts{asked_for}", "bold"), f"   {span}\n", ", ".join(report.sources)
    )  # fmt: skip
    counts = Table(box=None, pad_edge=False)
    for name in ("decision", "reason"):
        counts.add_column(name)
    counts.add_column("verdicts", justify="right")
    counts.add_column("share", justify="right")
    for reason, count in report.reasons.items():
        decision = {"below_threshold": "OK", "above_threshold": "NG"}.get(reason, "INVALID")
        style = {"OK": "green", "NG": "red"}.get(decision, "yellow")
        counts.add_row(Text(decision, style), reason, str(count), f"{count / report.verdicts:.2%}")
    rates = Text("defect rate: nothing was inspected")
    if report.defect_rate.total:
        rates = Text.assemble("defect rate ", (_rate_text(report.defect_rate), "bold"))
    if report.review.count:
        rates.append(f"\nOK, for review {_rate_text(report.review)}")
    alarms = Table(box=None, pad_edge=False)
    for name in ("alarm since", "until", "run", "what", "what to do"):
        alarms.add_column(name)
    for entry in report.alarms:
        alarm = entry.alarm
        until = "not over" if alarm.ended is None else local_text(alarm.ended)
        what, advice = Text(alarm.what, "bold"), Text(alarm.advice)
        alarms.add_row(local_text(alarm.since), until, str(entry.run_id), what, advice)
    latency = Table(box=None, pad_edge=False)
    latency.add_column("ms per inspected frame")
    for name in Latency.__dataclass_fields__:
        latency.add_column(name, justify="right")
    for stage, level in report.latency.items():
        latency.add_row(stage, *(f"{value:.2f}" for value in vars(level).values()), end_section=stage == STAGES[-2])
    parts: list[RenderableType] = [head, Text(), counts, Text(), rates]
    for jump in report.clock_jumps:
        parts.append(Text(f"\n{jump.text()}: {_WHAT_A_JUMP_DOES}", "yellow"))
    parts += [Text(), alarms] if report.alarms else []
    if report.recipe_changes:
        parts.append(Text("\nrecipes", "bold"))
        parts += [Text(change.text()) for change in report.recipe_changes]
    return Group(*parts, Text(), latency) if report.latency else Group(*parts)
