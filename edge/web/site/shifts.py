"""Shifts: stretches of a day in the plant's own time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, date, datetime, time, timedelta, timezone

# no record is older, and the shift before the first one of all would have no date
_FIRST_YEAR = 1970


@dataclass(frozen=True)
class Shift:
    """One shift, from start to end (exclusive), in UTC. number: of its day, from 0; day: on which it began."""

    start: datetime
    end: datetime
    number: int
    day: date

    @property
    def name(self) -> str:
        """As it stands in an address: 2026-03-14-2 is the second shift of that day."""
        return f"{self.day:%Y-%m-%d}-{self.number + 1}"

    @property
    def title(self) -> str:
        """For people, in local time: Saturday 14 March 2026, 14:00 to 22:00."""
        start, end = self.start.astimezone(), self.end.astimezone()
        return f"{start:%A} {start.day} {start:%B %Y}, {start:%H:%M} to {end:%H:%M}"


class Shifts:
    """The shifts of every day. starts: such as 06:00, in the order of the day; the last one goes on to the next day."""

    def __init__(self, starts: Sequence[str]) -> None:
        self._starts = [time.fromisoformat(start) for start in starts]

    def at(self, moment: datetime) -> Shift:
        """The shift that this moment lies in."""
        day = moment.astimezone().date()
        for back in (0, 1):
            for number in reversed(range(len(self._starts))):
                shift = self._shift(day - timedelta(days=back), number)
                if shift.start <= moment:
                    return shift
        raise AssertionError("a shift began on one of two days")

    def before(self, shift: Shift) -> Shift:
        """The shift before this one."""
        return self.at(shift.start - timedelta(seconds=1))

    def after(self, shift: Shift) -> Shift:
        """The shift after this one."""
        return self.at(shift.end)

    def named(self, name: str) -> Shift | None:
        """The shift of this name; None where there is none."""
        try:
            day, number = date.fromisoformat(name[:10]), int(name[11:]) - 1
            if name[10:11] == "-" and 0 <= number < len(self._starts) and _FIRST_YEAR <= day.year < MAXYEAR:
                return self._shift(day, number)
        except (ValueError, OverflowError):
            pass
        return None

    def _shift(self, day: date, number: int) -> Shift:
        last = number == len(self._starts) - 1
        following = (day + timedelta(days=1), self._starts[0]) if last else (day, self._starts[number + 1])
        return Shift(_utc(day, self._starts[number]), _utc(*following), number, day)


def _utc(day: date, at: time) -> datetime:
    """Of a local time; a night in which clocks change has a shift that is an hour shorter or longer."""
    return datetime.combine(day, at).astimezone(timezone.utc)
