"""Many rejects in a row are one event, not many: something happened to the line."""

from __future__ import annotations

from collections import deque


class BurstWatch:
    """rejects: this many NG among the last `of` inspected parts are a burst; it is over at half as many or fewer."""

    def __init__(self, rejects: int, of: int) -> None:
        self._rejects = rejects
        self._last: deque[bool] = deque(maxlen=of)
        self.active = False

    @property
    def count(self) -> int:
        """Rejects among the parts remembered."""
        return sum(self._last)

    def add(self, rejected: bool) -> bool:
        """Take a verdict; whether a burst is under way."""
        self._last.append(rejected)
        self.active = self.count > self._rejects // 2 if self.active else self.count >= self._rejects
        return self.active

    def parts_since_first_reject(self) -> int:
        """How many of the remembered parts, the newest included, came since their first reject."""
        return len(self._last) - next((place for place, rejected in enumerate(self._last) if rejected), len(self._last))
