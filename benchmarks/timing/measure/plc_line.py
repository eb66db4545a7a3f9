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
    """port: of its Modbus server. records: their folder. log: what it says on standard error."""

    port: int
    records: Path
    process: subprocess.Popen[bytes]
    log: Path

    def end(self) -> None:
        """Stop it, with everything on record. Raises LineFailed."""
        self.process.send_signal(signal.SIGINT)
        if self.process.wait(_ENDS_S) not in (0, 130):
            raise self.failed(f"ended with code {self.process.returncode}")

    def failed(self, how: str) -> LineFailed:
        """With its own last words."""
        said = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return LineFailed(f"the line {how}: {' '.join(said[-3:])}", fix="try the same line by itself")


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
    # a file: a pipe that nobody reads would stop the line in time
    log = place / "line.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "edge", "--config", str(config), "--camera", str(camera),
                "--bundle", str(bundle), "--record-dir", str(records),
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
        )  # fmt: skip
    try:
        yield PlcLine(port, records, process, log)
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
