"""What the terminal view and the summary at the end say beyond the run's counters."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime

from edge.core.counters import RunCounters
from edge.core.datatypes import STAGES, Decision, Frame, Part, Reason, Verdict
from edge.core.latency import LatencyWindow

_RATE_OVER_S = 5.0


class RunStatistics:
    """A sink that remembers what `RunCounters` does not count. One thread writes, any thread may read.

    invalid: INVALID verdicts by reason. latency: per stage, of inspected frames only. last: the newest verdict,
    last_utc: when its frame was taken; last_part: which part it shows. last_invalid: source and detail of the newest
    frame that could not be judged.
    """

    def __init__(self, window: int = 2048, now: Callable[[], float] = time.monotonic) -> None:
        self.invalid: Counter[Reason] = Counter()
        self.latency = {stage: LatencyWindow(window) for stage in STAGES}
        self.last: Verdict | None = None
        self.last_utc: datetime | None = None
        self.last_part: Part | None = None
        self.last_invalid = ""
        self._now = now
        self._started = now()
        self._moments: deque[float] = deque(maxlen=4096)

    def write(self, frame: Frame, verdict: Verdict) -> None:
        self._moments.append(self._now())
        if verdict.decision is not Decision.INVALID:
            for stage, window in self.latency.items():
                window.add(getattr(verdict.times, stage))
        else:
            self.invalid[verdict.reason] += 1
            named = frame.source in verdict.detail
            self.last_invalid = verdict.detail if named else f"{frame.source}: {verdict.detail}"
        self.last_utc, self.last_part = frame.utc, frame.part
        self.last = verdict

    def close(self) -> None: ...

    def frames_per_second(self) -> float:
        """Over the last seconds, so that it falls to 0 when frames stop."""
        now = self._now()
        span = min(_RATE_OVER_S, max(now - self._started, 1e-3))
        moments = list(self._moments)
        recent = sum(1 for moment in moments if now - moment <= span)
        if recent == len(moments) == self._moments.maxlen:
            # more frames than the window holds: the time it covers is what counts
            span = max(now - moments[0], 1e-3)
        return recent / span


def run_summary(statistics: RunStatistics, counters: RunCounters, records: str | None) -> str:
    """A few lines of plain text for the end of a run.

    records: the record directory, None when nothing was recorded.
    """
    why = ", ".join(f"{reason} {count}" for reason, count in statistics.invalid.most_common())
    review = f" ({counters.review} for review)" if counters.review else ""
    lines = [
        f"{counters.counted:<12}{counters.frames}: {counters.ok} OK{review}, {counters.ng} NG, "
        f"{counters.invalid} INVALID" + (f" ({why})" if why else ""),
        *([f"            last INVALID: {statistics.last_invalid}"] if statistics.last_invalid else []),
        *([_between(counters)] if counters.trigger_state else []),
        f"camera      {counters.dropped} dropped, {counters.reconnects} reconnects, {counters.stalls} stalls"
        + (f", {counters.skipped} skipped after opening" if counters.skipped else ""),
    ]
    kept = statistics.latency["total"].count
    if kept:
        p50, p95, p99, worst = statistics.latency["total"].percentiles((50, 95, 99, 100))
        lines.append(
            f"latency     p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f}, max {worst:.1f} ms from grab to verdict"
        )
        stages = (
            f"{stage} {window.percentile(50):.1f}" for stage, window in statistics.latency.items() if stage != "total"
        )
        lines.append(f"            p50 per stage in ms: {', '.join(stages)}")
        if kept < counters.ok + counters.ng and kept == statistics.latency["total"].size:
            lines[-1] += f" (the last {kept} inspected frames)"
    alarms = [alarm.text() for alarm in counters.alarms.all()]
    if counters.alarms.left_out:
        alarms.insert(0, f"{counters.alarms.left_out} older ones are left out here, not in `edge-inspect report`")
    lines += [f"{'alarms' if place == 0 else '':<12}{text}" for place, text in enumerate(alarms)]
    if counters.unmeasured:
        lines.append(f"drift       {counters.unmeasured} pictures not measured: the ones before took too long")
    if records is None:
        lines.append("records     none: recording is off")
    else:
        unrecorded = max(counters.records_lost, counters.frames - counters.recorded)
        lost = [f"{unrecorded} verdicts NOT RECORDED"] if unrecorded else []
        lost += [f"{counters.images_skipped} pictures skipped"] if counters.images_skipped else []
        lost += [f"{counters.alarms_lost} alarms NOT RECORDED"] if counters.alarms_lost else []
        lines.append(
            f"records     {counters.recorded} verdicts and {counters.images_stored} pictures in {records}"
            + (f"; {', '.join(lost)}" if lost else "")
        )
        if counters.images_stored:
            lines.append(f"pictures    {records}/images")
        if counters.record_state not in ("closed", "recording"):
            lines.append(f"            {counters.record_state}")
    if counters.undelivered:
        lines.append(f"json        {counters.undelivered} verdicts not delivered: standard output took no more")
    return "\n".join(lines)


def _between(counters: RunCounters) -> str:
    """What was seen and is no verdict, where parts are waited for."""
    if counters.triggers is not None:
        missed = f", {counters.missed_triggers} more missed" if counters.missed_triggers else ""
        return f"trigger     {counters.triggers} triggers{missed}, {counters.between_parts} pictures between them"
    return (
        f"trigger     {counters.between_parts} pictures between parts, {counters.short_stops} stops too short, "
        f"{counters.empty_places} rests without a part"
    )
