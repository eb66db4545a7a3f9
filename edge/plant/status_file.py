"""status.json: the line's state for pages and programs of the same machine, replaced whole four times a second."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from edge import __version__
from edge.core.counters import worth_a_line
from edge.core.files.atomic_file import write_atomic
from edge.core.files.private_files import FILE_MODE, make_folder
from edge.plant.state import LineState

log = logging.getLogger("edge.plant")

STATUS_NAME = "status.json"
STATUS_VERSION = 1
# a status that is older says nothing about the line any more
FRESH_S = 2.0
_WRITE_EVERY_S = 0.25
_CLOSE_S = 0.3
_LARGEST_BYTES = 1_000_000


class StatusFile:
    """Writes what `state` gives into the folder, in a thread of its own, until `close`.

    A folder that cannot be written is logged and tried again. Raises nothing.
    """

    def __init__(self, directory: Path, state: Callable[[], LineState], every_s: float = _WRITE_EVERY_S) -> None:
        self._directory, self._state, self._every_s = directory, state, every_s
        self._failures = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="status file", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write the last state; a disk that hangs is not waited for."""
        self._stop.set()
        self._thread.join(_CLOSE_S)

    def _work(self) -> None:
        while True:
            # before the wait, so that a state that `close` finds is written
            last = self._stop.wait(self._every_s)
            self._write()
            if last:
                return

    def _write(self) -> None:
        try:
            make_folder(self._directory)
            write_atomic(self._directory / STATUS_NAME, status_bytes(self._state()), FILE_MODE, sync=False)
            self._failures = 0
        except OSError as error:
            self._failures += 1
            if worth_a_line(self._failures):
                log.warning("%s cannot be written (%d times): %s", self._directory / STATUS_NAME, self._failures, error)


def status_bytes(state: LineState) -> bytes:
    """The state as JSON. Words, numbers and times in UTC; `version` changes when a key changes its meaning."""
    values = {"version": STATUS_VERSION, "software": __version__, **asdict(state)}
    return json.dumps(values, default=_plain).encode()


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def read_status(directory: Path) -> dict[str, Any] | None:
    """What the line says of itself; None where it has never said anything that can be read."""
    try:
        with (directory / STATUS_NAME).open("rb") as file:
            values = json.loads(file.read(_LARGEST_BYTES))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) and values.get("version") == STATUS_VERSION else None


def is_live(status: dict[str, Any] | None, now_s: float | None = None) -> bool:
    """Whether the line runs and gives verdicts: the status is young, and inspection came round lately.

    now_s: of `time.monotonic`, which starts anew with the machine: a status from before is not live.
    """
    if status is None or not status.get("running"):
        return False
    age_s = (time.monotonic() if now_s is None else now_s) - float(status["monotonic_s"])
    beat_s = status["beat_age_s"]
    return 0 <= age_s < FRESH_S and beat_s is not None and beat_s + age_s < FRESH_S
