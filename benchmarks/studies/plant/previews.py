"""What browsers that watch a line cost it: time to the verdict with four previews open and with none, block by block.

The line has all that it has in a plant: state, status.json, preview and records. `edge-inspect web` runs throughout, as
a process of its own. In every second block four clients of another process take the moving picture and the events, as
four browsers on the page of the line do. Blocks take turns because other programs' work changes by the minute; each is
compared with the one before.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.program import BUNDLE, Values, option, program
from benchmarks.timing.measure.cadence import cadence_from_text, trigger_for
from benchmarks.timing.measure.plant_cost import SETTLE, compared
from benchmarks.timing.measure.plc_line import free_port
from benchmarks.timing.measure.source import Moments, TriggeredPictures, pictures_of
from edge.capture.capture import Capture
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision, Frame, Verdict
from edge.inspection.inspectors import live_bundle, make_inspector, run_info
from edge.inspection.loop import run_loop
from edge.monitoring.alarm_log import AlarmLog
from edge.plant.outputs import LineOutputs
from edge.plant.preview import PreviewFile, preview_bytes
from edge.plant.state import LineInfo
from edge.records.writer.recorder import Recorder

VIEWERS = 4
_REPEATS = 60
_BROWSERS = """
import sys, threading, time, urllib.request
base, viewers = sys.argv[1], int(sys.argv[2])
open_now = threading.Event()
def read(path):
    while True:
        open_now.wait()
        try:
            with urllib.request.urlopen(base + path, timeout=5) as stream:
                while open_now.is_set() and stream.read1(65536):
                    counts[path] = counts.get(path, 0) + 1
        except OSError:
            time.sleep(0.2)
counts = {}
for path in ("/line/line/preview.mjpg", "/line/line/events"):
    for _ in range(viewers):
        threading.Thread(target=read, args=(path,), daemon=True).start()
for line in sys.stdin:
    (open_now.set if line.strip() == "open" else open_now.clear)()
print(counts.get("/line/line/preview.mjpg", 0))
"""


class Watched:
    """A sink that lets the browsers look in every second block. times_ms: (to the verdict, watched, block)."""

    def __init__(self, browsers: subprocess.Popen[str], block: int) -> None:
        self._browsers, self._block = browsers, block
        self._seen = 0
        self.times_ms: list[tuple[float, bool, int]] = []

    def write(self, frame: Frame, verdict: Verdict) -> None:
        block, place = divmod(self._seen, self._block)
        self._seen += 1
        watched = block % 2 == 1
        if place == 0:
            assert self._browsers.stdin is not None
            self._browsers.stdin.write("open\n" if watched else "shut\n")
            self._browsers.stdin.flush()
        if place >= SETTLE and verdict.decision is not Decision.INVALID:
            self.times_ms.append((verdict.times.total, watched, block))

    def close(self) -> None:
        """The browsers are ended by who started them."""


def measure(bundle: Path, cadence: str, pairs: int, block: int) -> dict[str, Any]:
    """Time 2 x pairs blocks of parts of the shipped line."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        place, port = Path(folder), free_port()
        settings = Settings.model_validate(
            {
                "inspection": {"bundle": str(bundle)},
                "record": {"directory": str(place / "records")},
                "line": {"run_directory": str(place / "run")},
            }
        )
        (place / "config.yaml").write_text(f"line: {{run_directory: run}}\nweb: {{port: {port}}}\n")
        picture_cpu_ms = _picture_cpu_ms(settings)
        pages = subprocess.Popen([sys.executable, "-m", "edge", "web"], cwd=place, stderr=subprocess.DEVNULL)
        stack.callback(pages.wait)
        stack.callback(pages.terminate)
        time.sleep(3.0)
        # in a plant they are other machines: here they must not take what the line needs
        browsers = subprocess.Popen(
            ["nice", "-n", "19", sys.executable, "-c", _BROWSERS, f"http://127.0.0.1:{port}", str(VIEWERS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        stack.callback(browsers.wait)
        stack.callback(browsers.terminate)
        sink = _run(settings, cadence, 2 * pairs * block, Watched(browsers, block), place)
        pictures = int(browsers.communicate()[0])
    return {
        "cadence": cadence, "blocks": 2 * pairs, "parts_in_a_block": block, "viewers": VIEWERS,
        "pieces_of_pictures_received": pictures, "picture_cpu_ms": picture_cpu_ms, **compared(sink.times_ms),
    }  # fmt: skip


def _picture_cpu_ms(settings: Settings) -> dict[str, float]:
    """Median processor time that the preview's thread takes for one picture, which at most five a second need.

    Of a rejected part of the sample line as it is, and of the same picture with 12 megapixels.
    """
    inspector = make_inspector(live_bundle(settings), settings)
    pictures = pictures_of("demo", None, settings.camera)
    assert pictures is not None
    frames = [Frame(index, time.perf_counter_ns(), datetime.now(timezone.utc), "demo", picture)
              for index, picture in enumerate(pictures)]  # fmt: skip
    judged = [(frame, inspector.inspect(frame)) for frame in frames]
    frame, verdict = next((each for each in judged if each[1].decision is Decision.NG), judged[0])
    assert frame.image is not None
    large = replace(frame, image=np.asarray(cv2.resize(frame.image, (4096, 3072)), np.uint8))
    found = {}
    for name, shown in (("as_it_is", frame), ("12_megapixels", large)):
        assert shown.image is not None
        view, times = inspector.preprocess.field_of_view(*shown.image.shape[:2]), []
        for _ in range(_REPEATS):
            began = time.thread_time()
            preview_bytes(shown, verdict, view)
            times.append((time.thread_time() - began) * 1000)
        found[name] = round(float(np.median(times)), 2)
    inspector.backend.close()
    return found


def _run(settings: Settings, cadence: str, parts: int, sink: Watched, place: Path) -> Watched:
    bundle, counters = live_bundle(settings), RunCounters()
    inspector = make_inspector(bundle, settings)
    pictures = pictures_of("demo", None, settings.camera)
    assert pictures is not None
    source = TriggeredPictures(pictures, trigger_for(cadence_from_text(cadence)), Moments(), "demo")
    capture = Capture(lambda: source, settings.camera, settings.freshness, counters)
    info = run_info(bundle, inspector, "demo", settings)
    field_of_view = inspector.preprocess.field_of_view
    recorder = Recorder(settings.record, info, counters, field_of_view)
    about = LineInfo("line", "demo", bundle.manifest.product, info.backend, info.precision)
    outputs = LineOutputs(settings, about, counters, lambda: recorder.filed, AlarmLog(counters, recorder.note))
    preview = PreviewFile(place / "run", field_of_view)
    run_loop(
        capture, inspector, [recorder, outputs, preview, sink], settings, counters, stop=threading.Event(),
        max_frames=parts,
    )  # fmt: skip
    capture.close()
    for each in (outputs, preview, recorder):
        each.close()
    inspector.backend.close()
    return sink


def text(values: dict[str, Any]) -> str:
    """One line for each state, and the ratio."""
    lines = [
        f"{name:<7} viewers: " + ", ".join(f"{level[:-3]} {value:.2f} ms" for level, value in values[name].items())
        for name in ("without", "with")
    ]
    ratio = values["ratio_of_medians"]
    low, high = ratio["quartiles"]
    cost = ", ".join(f"{name.replace('_', ' ')} {value} ms" for name, value in values["picture_cpu_ms"].items())
    lines.append(f"processor time for one picture: {cost}")
    return "\n".join([*lines, f"with / without, of neighbouring blocks: {ratio['median_of_pairs']} ({low} to {high})"])


@program(
    BUNDLE,
    option("--cadence", default="10/s", help="parts per time (default: 10/s)"),
    option("--pairs", type=int, default=30, help="pairs of blocks, without and with viewers (default: 30)"),
    option("--block", type=int, default=50, help="parts in a block (default: 50)"),
    show=text,
)
def main(options: argparse.Namespace) -> Values:
    """Measure with and without viewers."""
    return measure(options.bundle, options.cadence, options.pairs, options.block)


if __name__ == "__main__":
    raise SystemExit(main())
