"""Which inspectors judge now: all of one bundle version, and replaced by another's between two frames."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from edge.inspection.inspector import Inspector


class InspectorPool:
    """The inspectors of the live version, one for each inspection thread, and how to replace them.

    A frame is judged from beginning to end by the inspectors that were there when it was taken. Nothing is loaded
    here: replacing is one assignment, so no frame waits for it.
    """

    def __init__(self, inspectors: Sequence[Inspector]) -> None:
        self._current = tuple(inspectors)
        self._lock = threading.Lock()
        self._users: dict[tuple[Inspector, ...], int] = {}
        self._retired: list[tuple[Inspector, ...]] = []

    @property
    def inspectors(self) -> tuple[Inspector, ...]:
        """Those that the next frame gets."""
        return self._current

    def enter(self) -> tuple[Inspector, ...]:
        """The inspectors for one frame; they stay usable until `leave`, whatever is switched meanwhile."""
        with self._lock:
            inspectors = self._current
            self._users[inspectors] = self._users.get(inspectors, 0) + 1
        return inspectors

    def leave(self, inspectors: tuple[Inspector, ...]) -> None:
        """The frame is done."""
        with self._lock:
            self._users[inspectors] -= 1

    def in_use(self, inspectors: tuple[Inspector, ...]) -> bool:
        """Whether a frame is with these."""
        with self._lock:
            return bool(self._users.get(inspectors))

    def replace(self, inspectors: Sequence[Inspector], *, keep: bool = False) -> None:
        """From the next frame on these judge; as many as before. keep: those before stay open, until `retire`."""
        following = tuple(inspectors)
        if len(following) != len(self._current):
            raise ValueError(f"{len(following)} inspectors for {len(self._current)} threads")
        with self._lock:
            if not keep:
                self._retired.append(self._current)
            self._current = following

    def retire(self, inspectors: tuple[Inspector, ...]) -> None:
        """Those that were kept are not wanted any more; `close_retired` closes them."""
        with self._lock:
            self._retired.append(inspectors)

    def close_retired(self) -> None:
        """Close those that were replaced and that no frame is with any more, in the order in which they were replaced:
        of groups of cameras a later set may close a network that an earlier one still judges with."""
        idle = []
        with self._lock:
            while self._retired and not self._users.get(self._retired[0]):
                idle.append(self._retired.pop(0))
                self._users.pop(idle[-1], None)
        for inspectors in idle:
            for inspector in inspectors:
                inspector.backend.close()
