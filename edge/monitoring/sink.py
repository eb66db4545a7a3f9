"""What a sink is: somewhere a verdict goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge.core.datatypes import Frame, Verdict


@dataclass(frozen=True)
class Filed:
    """Where a verdict is kept: its number, and its picture's file, None when no picture is kept of it."""

    number: str
    picture: str | None


class Sink(Protocol):
    """Takes every verdict in order. `write` returns at once: a slow sink drops or spools, never blocks the loop.

    Calls never overlap, but come from the inspection thread and, while the model hangs, from the watchdog's.
    """

    def write(self, frame: Frame, verdict: Verdict) -> None: ...

    def close(self) -> None:
        """Flush what was taken; returns within a second or says what it could not save."""
