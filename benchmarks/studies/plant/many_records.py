"""How long the pages of records take, with a great many verdicts in one shift and a line that goes on recording.

The server is a process of its own, as in a plant. Times are those of one client on the same machine, one request after
the other.
"""

from __future__ import annotations

import argparse
import http.client
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.program import Values, option, program
from benchmarks.timing.measure.plc_line import free_port
from edge.core.config import Settings
from edge.core.errors import EdgeInspectError
from edge.records.schema import DATABASE_NAME
from edge.records.store import utc_text

_NG_EVERY, _INVALID_EVERY = 20, 997
_SEED_PARTS = 120
_LINE_EVERY_S = 0.14


def measure(records: int, requests: int) -> dict[str, Any]:
    """Milliseconds of each page, cold and warm, over `requests` requests."""
    from edge.web.demo.shift import record_demo_shift

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        settings = Settings.model_validate({"record": {"directory": str(place / "records")}})
        now = datetime.now(timezone.utc)
        record_demo_shift(settings, now, _SEED_PARTS)
        newest = _multiply(place / "records" / DATABASE_NAME, records, now)
        port = free_port()
        (place / "config.yaml").write_text(
            f'record: {{directory: records}}\nweb: {{port: {port}, shifts: ["00:00", "08:00", "16:00"]}}\n'
        )
        with _server(place, port), _recording(place / "records" / DATABASE_NAME):
            pages = {
                "gallery": lambda: f"/gallery?before_id={random.randrange(1, newest)}",
                "gallery, NG": lambda: f"/gallery?decision=NG&before_id={random.randrange(1, newest)}",
                "gallery, a rare reason": lambda: "/gallery?reason=frozen",
                "report of this shift": lambda: "/report",
                "line": lambda: "/line/line",
                "drift, a week": lambda: "/engineer/drift?span=week",
                "threshold": lambda: f"/engineer/threshold?value={random.uniform(0.2, 0.6):.4f}",
            }
            times = {name: _times(port, address, requests) for name, address in pages.items()}
    return {"records": records, "requests": requests, "pages": times}


def _multiply(file: Path, records: int, now: datetime) -> int:
    """Copies of the recorded rows, so many that there are `records`, spread over the last eight hours; the last id."""
    connection = sqlite3.connect(file)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(verdicts)")]
    kinds = {
        decision: connection.execute(f"SELECT * FROM verdicts WHERE decision = '{decision}' LIMIT 1").fetchone()
        for decision in ("OK", "NG", "INVALID")
    }
    first = connection.execute("SELECT max(id) FROM verdicts").fetchone()[0] + 1
    step = timedelta(hours=8) / records
    at, frame, score, own = (columns.index(name) for name in ("utc", "frame_index", "score", "id"))
    rng = np.random.default_rng(0)

    def rows() -> Iterator[list[Any]]:
        for index in range(records):
            kind = "NG" if index % _NG_EVERY == 0 else "INVALID" if index % _INVALID_EVERY == 0 else "OK"
            row = list(kinds[kind] or kinds["NG"])
            row[own], row[frame] = first + index, 100_000 + index
            row[at] = utc_text(now - timedelta(hours=8) + step * index)
            if row[score] is not None:
                row[score] = float(np.clip(row[score] + rng.normal(0, 0.02), 0.01, 0.99))
            yield row

    with connection:
        connection.executemany(f"INSERT INTO verdicts VALUES ({', '.join('?' * len(columns))})", rows())
    connection.close()
    return int(first + records)


@contextmanager
def _recording(file: Path) -> Iterator[None]:
    """A line that goes on: a row each seventh of a second, committed durably."""
    ended = threading.Event()

    def work() -> None:
        connection = sqlite3.connect(file, timeout=10)
        connection.execute("PRAGMA synchronous = FULL")
        columns = [row[1] for row in connection.execute("PRAGMA table_info(verdicts)") if row[1] != "id"]
        named = ", ".join(columns)
        values = ", ".join({"utc": "?", "frame_index": "?"}.get(name, name) for name in columns)
        frame = 1_000_000
        while not ended.wait(_LINE_EVERY_S):
            frame += 1
            with connection:
                connection.execute(
                    f"INSERT INTO verdicts ({named}) SELECT {values} FROM verdicts WHERE decision = 'OK' LIMIT 1",
                    [frame if name == "frame_index" else utc_text(datetime.now(timezone.utc))
                     for name in columns if name in ("utc", "frame_index")],
                )  # fmt: skip
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _server(place: Path, port: int) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "web"], cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )  # fmt: skip
    try:
        for _ in range(200):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def _times(port: int, address: Any, requests: int) -> dict[str, float]:
    """Milliseconds: of the first request, and percentiles of the others."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    taken = []
    for _ in range(requests + 1):
        path = address()
        began = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        taken.append((time.perf_counter() - began) * 1000)
        if answer.status != 200:
            raise EdgeInspectError(f"{path}: {answer.status}: {body[-300:].decode()}", fix="see the server's log")
    connection.close()
    levels = np.percentile(taken[1:], (50, 95, 99))
    named = {"first_ms": taken[0], **dict(zip(("p50_ms", "p95_ms", "p99_ms"), levels, strict=True))}
    return {name: round(float(value), 1) for name, value in named.items()}


def text(values: dict[str, Any]) -> str:
    """A line for each page."""
    return "\n".join(
        f"{name:<24} " + ", ".join(f"{level[:-3]} {value:.0f} ms" for level, value in times.items())
        for name, times in values["pages"].items()
    )


@program(
    option("--records", type=int, default=200_000, help="verdicts on record (default: 200000)"),
    option("--requests", type=int, default=200, help="requests of each page (default: 200)"),
    show=text,
)
def main(options: argparse.Namespace) -> Values:
    """Measure the pages."""
    return measure(options.records, options.requests)


if __name__ == "__main__":
    raise SystemExit(main())
