"""The sample line with its pages: a recorded shift, a line that runs, a server; in a folder that goes afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from edge.core.config import Settings
from edge.core.sections import LineSettings, WebSettings
from edge.samples import sample_bundle
from edge.web.demo.shift import record_demo_shift
from edge.web.engineer.teaching import SamplesOf
from edge.web.serve import serve

_LINE = "demo"
# parts a second, slow enough to be looked at
_RATE = "0.5"
_END_S = 10


def serve_demo(settings: Settings, say: Callable[[str], None], samples_of: SamplesOf) -> None:
    """Show the sample line in a browser until a signal. say: told what is done, and where the pages are.

    Raises what `record_demo_shift` and `serve` raise.
    """
    with tempfile.TemporaryDirectory(prefix="edge-inspect-demo-") as folder:
        place = Path(folder)
        own = _settings(settings, place)
        say("a shift of the sample line is inspected, so that there is something to see; this takes some seconds")
        record_demo_shift(own, datetime.now(timezone.utc))
        with _running_line(place, own):
            serve(own, say, samples_of, _open_browser)


def _settings(settings: Settings, place: Path) -> Settings:
    """As given, but for what would touch a line of this machine: its names, its folders, its bundle, its tokens."""
    bundle = place / "bundle"
    shutil.copytree(settings.inspection.bundle or sample_bundle(), bundle)
    inspection = settings.inspection.model_copy(update={"bundle": str(bundle)})
    records = settings.record.model_copy(update={"directory": str(place / "records"), "keep_ok_share": 0.1})
    web = WebSettings(port=settings.web.port, shifts=settings.web.shifts)
    line = LineSettings(name=_LINE, run_directory=str(place / "run"))
    return settings.model_copy(update={"record": records, "line": line, "web": web, "inspection": inspection})


@contextmanager
def _running_line(place: Path, settings: Settings) -> Iterator[None]:
    """The line as a program of its own, as in a plant."""
    bundle, own = str(settings.inspection.bundle), place / "line.yaml"
    # what is recorded, and where, as of the shift before
    own.write_text(json.dumps(settings.model_dump(mode="json", include={"line", "record"})))
    words = [sys.executable, "-m", "edge", "run", "--config", str(own)]
    words += ["--camera", "demo", "--fps", _RATE, "--bundle", bundle]
    with (place / "line.log").open("wb") as log:
        # from a folder without settings: those of a line must not be its own
        line = subprocess.Popen(words, cwd=place, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield
        finally:
            line.terminate()
            try:
                line.wait(_END_S)
            except subprocess.TimeoutExpired:
                line.kill()
                line.wait()


def _open_browser(address: str) -> None:
    """Where there is a screen; elsewhere a browser of the terminal would take it."""
    if os.name == "nt" or sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(address)
