"""What PLC and outputs cost a line: time to the last sink with and without them, block by block in one run.

In every second block of parts a PLC, a program of its own, asks for each part by Modbus; the line makes its state,
writes status.json and serves metrics, for which a program asks every second; and `edge-inspect publish` sends the
records to a mosquitto on this machine, where that is installed. In the other blocks a thread of the line asks for the
parts, all of this is closed and the programs are stopped; so the publisher has twice its work while it runs. Records
are kept throughout. Blocks take turns because other programs' work changes by the minute; each is compared with the
one before.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing.measure.cadence import PacedTrigger, cadence_from_text, trigger_for
from benchmarks.timing.measure.plc_line import free_port
from benchmarks.timing.measure.source import Moments, TriggeredPictures
from edge.capture.capture import Capture
from edge.capture.triggers.triggered_supply import TriggeredSupply
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import U8, Decision, Frame, Verdict
from edge.core.errors import MissingDependency, install_extra
from edge.inspection.inspectors import live_bundle, make_inspector, run_info
from edge.inspection.loop import run_loop
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.sink import Sink
from edge.plant.outputs import LineOutputs, line_signals
from edge.plant.state import LineInfo
from edge.records.writer.recorder import Recorder
from edge.review.database import REVIEW_NAME
from edge.system.extras import require

# the first parts of each block still feel the change
SETTLE = 10
# of the camera, which runs all the time
_PICTURES = "40/s"
_START_S = 2.0
# of parts that the PLC asks for
_LOT = "PLC"
_PUBLISH = [sys.executable, "-m", "edge", "publish", "--from-beginning"]
_ASK = """
import sys, time, urllib.request
while True:
    time.sleep(1.0)
    try:
        urllib.request.urlopen(sys.argv[1], timeout=2).read()
    except OSError:
        pass
"""


class Alternating:
    """A sink that has outputs in every second block.

    times_ms: (to the last sink, with outputs, block) of each part. of_plc: parts that the PLC asked for.
    """

    def __init__(
        self, open_outputs: Callable[[], Sequence[Sink]], programs: Sequence[subprocess.Popen[bytes]], block: int
    ) -> None:
        self._open_outputs, self._programs, self._block = open_outputs, programs, block
        self._outputs: Sequence[Sink] = ()
        self._seen = 0
        self.on = False
        self.of_plc = 0
        self.times_ms: list[tuple[float, bool, int]] = []

    def write(self, frame: Frame, verdict: Verdict) -> None:
        block, place = divmod(self._seen, self._block)
        self._seen += 1
        wanted = block % 2 == 1
        if wanted != self.on:
            self._switch(wanted)
        for each in self._outputs:
            each.write(frame, verdict)
        self.of_plc += frame.part is not None and frame.part.lot == _LOT
        if place >= SETTLE and verdict.decision is not Decision.INVALID:
            self.times_ms.append(((time.perf_counter_ns() - frame.captured_ns) / 1e6, wanted, block))

    def _switch(self, on: bool) -> None:
        self.close()
        if on:
            self._outputs = self._open_outputs()
        self.on = on
        for each in self._programs:
            each.send_signal(signal.SIGCONT if on else signal.SIGSTOP)

    def close(self) -> None:
        for each in self._outputs:
            each.close()
        self._outputs = ()


def measure_cost(
    settings: Settings,
    pictures: Sequence[U8],
    cadence: str,
    pairs: int,
    block: int,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Time 2 x pairs blocks of parts; settings: of the line. Raises MissingDependency without the extras."""
    for extra in ("plc", "metrics"):
        require(extra)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        place, metrics_port = Path(folder), free_port()
        plc = settings.plc.model_copy(update={"port": free_port(), "address": "127.0.0.1", "allow": []})
        changes = {
            "record": settings.record.model_copy(update={"directory": str(place / "records")}),
            "line": settings.line.model_copy(update={"run_directory": str(place / "run")}),
            "metrics": settings.metrics.model_copy(update={"port": metrics_port, "address": "127.0.0.1"}),
            "trigger": settings.trigger.model_copy(update={"mode": "plc", "settle_ms": 0, "queue": 64}),
            "plc": plc,
        }
        publisher = _publisher(stack, place)
        asking = _started(
            stack, "metrics", [sys.executable, "-c", _ASK, f"http://127.0.0.1:{metrics_port}/metrics"], place
        )
        rate = str(1 / cadence_from_text(cadence).gaps_s[0])
        simulated = [
            "-m",
            "edge",
            "simulate",
            "plc",
            "--port",
            str(plc.port),
            "--rate",
            rate,
            "--lot",
            _LOT,
            "--wait",
            "3600",
        ]
        asking_for_parts = _started(stack, "plc", [sys.executable, *simulated], place)
        time.sleep(_START_S)
        programs = [each for each in (publisher, asking, asking_for_parts) if each is not None]
        for each in programs:
            each.send_signal(signal.SIGSTOP)
        run = _Run(settings.model_copy(update=changes), pictures, cadence, block, programs)
        sink = run.measure(2 * pairs * block, advance)
        published = None if publisher is None else _published(publisher, place)
    return {
        "cadence": cadence, "blocks": 2 * pairs, "parts_in_a_block": block, "published": published,
        "asked_for_by_plc": sink.of_plc, **compared(sink.times_ms),
    }  # fmt: skip


class _Run:
    """A line in this process, with a camera that runs all the time."""

    def __init__(
        self,
        settings: Settings,
        pictures: Sequence[U8],
        cadence: str,
        block: int,
        programs: Sequence[subprocess.Popen[bytes]],
    ) -> None:
        bundle = live_bundle(settings)
        self._settings, self._cadence, self._counters = settings, cadence, RunCounters()
        self._inspector = make_inspector(bundle, settings)
        source = TriggeredPictures(pictures, trigger_for(cadence_from_text(_PICTURES)), Moments(), "pictures")
        self._capture = Capture(lambda: source, settings.camera, settings.freshness, self._counters)
        self._supply = TriggeredSupply(self._capture, settings.trigger, self._counters)
        info = run_info(bundle, self._inspector, "pictures", settings)
        self._recorder = Recorder(settings.record, info, self._counters, self._inspector.preprocess.field_of_view)
        self._about = LineInfo("line", "pictures", bundle.manifest.product, info.backend, info.precision)
        self._alarms = AlarmLog(self._counters, self._recorder.note)
        self._sink = Alternating(self._open_outputs, programs, block)
        self._ended = threading.Event()

    def _open_outputs(self) -> Sequence[Sink]:
        signals = line_signals(self._settings, self._counters, self._alarms, self._supply.fire)
        assert signals is not None
        outputs = LineOutputs(
            self._settings, self._about, self._counters, lambda: self._recorder.filed, self._alarms
        )  # fmt: skip
        return signals, outputs

    def measure(self, parts: int, advance: Callable[[int, int], None]) -> Alternating:
        threading.Thread(target=self._ask_in_blocks_without, args=(parts, advance), daemon=True).start()
        run_loop(
            self._supply, self._inspector, [self._recorder, self._sink], self._settings, self._counters,
            stop=threading.Event(), max_frames=parts,
        )  # fmt: skip
        self._ended.set()
        self._capture.close()
        self._sink.close()
        # the last rows are committed, and a publisher has found them
        time.sleep(1.0)
        self._recorder.close()
        self._inspector.backend.close()
        return self._sink

    def _ask_in_blocks_without(self, parts: int, advance: Callable[[int, int], None]) -> None:
        trigger, number = PacedTrigger(cadence_from_text(self._cadence)), 0
        while not self._ended.is_set():
            trigger.wait()
            advance(min(self._counters.frames, parts), parts)
            if not self._sink.on:
                number += 1
                self._supply.fire(str(number), "")


def _publisher(stack: ExitStack, place: Path) -> subprocess.Popen[bytes] | None:
    """`edge-inspect publish` and its broker; None where one of them is not installed."""
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    try:
        require("mqtt")
    except MissingDependency:
        return None
    if mosquitto is None:
        return None
    port = free_port()
    (place / "config.yaml").write_text(f"line: {{run_directory: run}}\nmqtt: {{host: 127.0.0.1, port: {port}}}\n")
    _started(stack, "broker", [mosquitto, "-p", str(port)], place)
    publisher = _started(stack, "publisher", _PUBLISH, place)
    # its start is no part of what is measured
    while not (place / "records" / REVIEW_NAME).exists():
        if publisher.poll() is not None:
            why = (place / "publisher.log").read_text().strip()
            raise MissingDependency(f"the publisher has ended: {why}", fix=install_extra("mqtt"))
        time.sleep(0.1)
    return publisher


def _published(publisher: subprocess.Popen[bytes], place: Path) -> int:
    """How many verdicts it has sent at the end."""
    publisher.send_signal(signal.SIGCONT)
    publisher.send_signal(signal.SIGTERM)
    publisher.wait()
    said = (place / "publisher.log").read_text()
    (count,) = [int(line.split()[1]) for line in said.splitlines() if line.endswith("verdicts published")]
    return count


def compared(times_ms: Sequence[tuple[float, bool, int]]) -> dict[str, Any]:
    """Percentiles without and with, and the ratios of neighbouring blocks. times_ms: as of Alternating."""
    times = np.array([time_ms for time_ms, _, _ in times_ms])
    on = np.array([on for _, on, _ in times_ms])
    block = np.array([block for _, _, block in times_ms])
    medians = [float(np.median(times[block == number])) for number in range(block.max() + 1)]
    ratios = [after / before for before, after in zip(medians[::2], medians[1::2], strict=True)]
    return {
        **{
            name: {f"p{level}_ms": round(float(np.percentile(times[chosen], level)), 3) for level in (50, 95, 99)}
            for name, chosen in (("without", ~on), ("with", on))
        },
        "ratio_of_medians": {
            "median_of_pairs": round(float(np.median(ratios)), 4),
            "quartiles": [round(float(np.percentile(ratios, level)), 4) for level in (25, 75)],
        },
    }


def _started(stack: ExitStack, name: str, command: Sequence[str], place: Path) -> subprocess.Popen[bytes]:
    # a file: a pipe that nobody reads would stop the program in time
    with (place / f"{name}.log").open("wb") as said:
        process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=said)

    def end() -> None:
        process.kill()
        process.wait()

    stack.callback(end)
    return process
