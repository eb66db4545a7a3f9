"""A line in a process of its own that a PLC may ask for parts, for measurements from the PLC's side."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edge.core.errors import EdgeInspectError

_ENDS_S = 60.0


class LineFailed(EdgeInspectError):
    """The line that was to be measured has ended by itself."""


@dataclass(frozen=True)
class PlcLine:
    """port: of its Modbus server. records: their folder. process: the line."""

    port: int
    records: Path
    process: subprocess.Popen[str]

    def end(self) -> str:
        """Stop it, with everything on record; what it said on standard error. Raises LineFailed."""
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=_ENDS_S)
        if self.process.returncode not in (0, 130):
            raise LineFailed(f"the line ended with code {self.process.returncode}: {said.strip()}", fix="see above")
        return said


@contextmanager
def plc_line(camera: Path | str, bundle: Path, place: Path, settings: Mapping[str, Any]) -> Iterator[PlcLine]:
    """A running line with trigger.mode plc; it answers once its model is loaded. place: a folder for it alone.

    settings: sections beside those of trigger and PLC, or with further keys of theirs.
    """
    port, records = free_port(), place / "records"
    plc = {"port": port, **settings.get("plc", {})}
    trigger = {"mode": "plc", **settings.get("trigger", {})}
    config = place / "line.yaml"
    config.write_text(yaml.safe_dump({**settings, "plc": plc, "trigger": trigger}), encoding="utf-8")
    process = subprocess.Popen(
        [
            sys.executable, "-m", "edge", "--config", str(config), "--camera", str(camera), "--bundle", str(bundle),
            "--record-dir", str(records),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield PlcLine(port, records, process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
