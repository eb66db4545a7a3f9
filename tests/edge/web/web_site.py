"""A site of real lines in folders, for the tests of the pages."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the extra `web` is not installed")
pytest.importorskip("httpx", reason="httpx, by which the pages are asked, is not installed")

import uvicorn
from starlette.testclient import TestClient

from edge.cli.teach.page_samples import PageSamples
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision
from edge.core.files.atomic_file import write_atomic
from edge.monitoring.sink import Filed
from edge.plant.state import LineInfo, LineStateKeeper
from edge.plant.status_file import STATUS_NAME, status_bytes
from edge.web.serve import app_from
from tests.edge.records.records_fakes import look, wait_for

HOST = "127.0.0.1:8080"
HERE = {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}


def settings_of(place: Path, *names: str, **web: object) -> Settings:
    """Lines with these names, each with run directory and records below the folder."""
    lines = [
        {"name": name, "run_directory": str(place / name / "run"), "records": str(place / name / "records")}
        for name in names or ("left",)
    ]
    return Settings.model_validate({"web": {"lines": lines, **web}})


@contextmanager
def browser(settings: Settings):
    """A client that asks for the pages as a browser of this machine does."""
    with TestClient(
        app_from(settings, PageSamples), base_url=f"http://{HOST}", headers=HERE, follow_redirects=False
    ) as client:
        client.headers["accept"] = "text/html"
        yield client


@contextmanager
def server(settings: Settings):
    """The address of a real server on a port of its own."""
    config = uvicorn.Config(app_from(settings, PageSamples), log_config=None, ws="none", timeout_graceful_shutdown=1)
    running, listening = uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=running.run, args=([listening],), daemon=True)
    thread.start()
    wait_for(lambda: running.started)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join(8)
        listening.close()


def csrf_of(page: str) -> str:
    """The token that a page's forms bring along."""
    return page.split('name="csrf" value="')[1].split('"')[0]


def write_status(place: Path, name: str = "left", decisions=(Decision.OK, Decision.NG), **changes: object) -> None:
    """What a running line says, with these verdicts; changes: to its state."""
    counters = RunCounters(beat_ns=time.perf_counter_ns())
    keeper = LineStateKeeper(
        LineInfo(name, "fake camera", "plate", "openvino", "int8"), counters, lambda: Filed("1-000001", None), 3600.0
    )
    now = datetime.now(timezone.utc)
    for index, decision in enumerate(decisions):
        keeper.write(*look(index, decision, utc=now))
    keeper.close()
    state = replace(keeper.state, running=True, **changes)
    (place / name / "run").mkdir(parents=True, exist_ok=True)
    write_atomic(place / name / "run" / STATUS_NAME, status_bytes(state), sync=False)
