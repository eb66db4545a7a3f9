"""What one run counts; read by the terminal view, the summary and the records."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class RunCounters:
    """Counts since the start. Every field has exactly one writing thread, so no lock is needed; any thread may read."""

    # the inspection loop
    frames: int = 0
    ok: int = 0
    ng: int = 0
    invalid: int = 0
    # the grab thread
    grabbed: int = 0
    dropped: int = 0
    reconnects: int = 0
    stalls: int = 0
    camera_state: str = "opening"
    # the record writer
    recorded: int = 0
    images_stored: int = 0
    images_skipped: int = 0
    records_lost: int = 0
    record_state: str = "off"
