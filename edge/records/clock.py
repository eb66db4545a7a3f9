"""Jumps of the wall clock on record: ages are counted anew from there, and reports say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from edge.records.store import RecordStore


@dataclass(frozen=True)
class ClockJump:
    """One row of `clock_jumps`. before: what the clock should have said, after: what it said.

    last_verdict_id: verdicts up to it were recorded before. put_right: when the clock was where it should be again.
    """

    run_id: int
    before: datetime
    after: datetime
    last_verdict_id: int
    put_right: datetime | None = None

    def touches(self, since: datetime | None, until: datetime | None) -> bool:
        """Whether times of this range may mean something else because of it."""
        first, last = min(self.before, self.after), max(self.before, self.after, self.put_right or self.after)
        return (since is None or last >= since) and (until is None or first < until)

    def text(self) -> str:
        """One sentence, times in UTC."""
        ending = "and was not put right in that run"
        if self.put_right is not None:
            ending = f"and was right again at {self.put_right:%Y-%m-%d %H:%M}"
        return (
            f"the clock jumped {jump_text(self.after - self.before)} in run {self.run_id}, from "
            f"{self.before:%Y-%m-%d %H:%M} to {self.after:%Y-%m-%d %H:%M} UTC, {ending}"
        )


def jump_text(jump: timedelta) -> str:
    """`31.0 days forward`, `5 minutes back`."""
    seconds = abs(jump.total_seconds())
    direction = "forward" if jump > timedelta() else "back"
    for unit, size in (("days", 86400), ("hours", 3600)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit} {direction}"
    return f"{seconds / 60:.0f} minutes {direction}"


def clock_jumps(store: RecordStore, runs: Sequence[int]) -> list[ClockJump]:
    """Those noticed in these runs, oldest first."""
    rows: list[tuple[Any, ...]] = store.query(
        "SELECT run_id, before_utc, after_utc, last_verdict_id, put_right_utc FROM clock_jumps ORDER BY id"
    )
    return [
        ClockJump(
            run_id,
            datetime.fromisoformat(before),
            datetime.fromisoformat(after),
            last_verdict_id,
            None if put_right is None else datetime.fromisoformat(put_right),
        )
        for run_id, before, after, last_verdict_id, put_right in rows
        if run_id in runs
    ]
