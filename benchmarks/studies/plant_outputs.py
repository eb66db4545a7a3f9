"""What the outputs to other programs cost a line: time to the verdict with and without them, block by block in one run.

In every second block of parts the line makes its state, writes status.json and serves metrics; a program asks for these
every second, and `edge-inspect publish` sends the records to a mosquitto on this machine. In the other blocks the
outputs are closed and both programs stopped, so the publisher has twice its work while it runs. Records are kept
throughout. Blocks take turns because other programs' work changes by the minute; each is compared with the one before.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import socket
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

from benchmarks.program import BUNDLE, Values, option, program
from benchmarks.timing.measure.cadence import cadence_from_text, trigger_for
from benchmarks.timing.measure.source import Moments, TriggeredPictures, pictures_of
from edge.capture.capture import Capture
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision, Frame, Verdict
from edge.core.errors import MissingDependency
from edge.core.sections import LineSettings, MetricsSettings
from edge.inspection.inspectors import live_bundle, make_inspector, run_info
from edge.inspection.loop import run_loop
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.sink import Sink
from edge.plant.outputs import LineOutputs
from edge.plant.state import LineInfo
from edge.records.writer.recorder import Recorder
from edge.review.database import REVIEW_NAME

# the first parts of each block still feel the change
SETTLE = 10
_START_S = 2.0
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
    """A sink that has outputs in every second block. times_ms: (to the verdict, with outputs, block) of each part."""

    def __init__(
        self, open_outputs: Callable[[], Sink], programs: Sequence[subprocess.Popen[bytes]], block: int
    ) -> None:
        self._open_outputs, self._programs, self._block = open_outputs, programs, block
        self._outputs: Sink | None = None
        self._seen = 0
        self.times_ms: list[tuple[float, bool, int]] = []

    def write(self, frame: Frame, verdict: Verdict) -> None:
        block, place = divmod(self._seen, self._block)
        self._seen += 1
        wanted = block % 2 == 1
        if wanted != (self._outputs is not None):
            self._switch(wanted)
        if self._outputs is not None:
            self._outputs.write(frame, verdict)
        if place >= SETTLE and verdict.decision is not Decision.INVALID:
            self.times_ms.append((verdict.times.total, wanted, block))

    def _switch(self, on: bool) -> None:
        self.close()
        if on:
            self._outputs = self._open_outputs()
        for each in self._programs:
            each.send_signal(signal.SIGCONT if on else signal.SIGSTOP)

    def close(self) -> None:
        if self._outputs is not None:
            self._outputs.close()
        self._outputs = None


def measure(bundle: Path, cadence: str, pairs: int, block: int) -> dict[str, Any]:
    """Time 2 x pairs blocks of parts of the shipped line."""
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if mosquitto is None:
        raise MissingDependency("mosquitto is not installed: there is no broker to publish to", fix="install it")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        place, port, broker_port = Path(folder), _free_port(), _free_port()
        settings = Settings.model_validate(
            {
                "inspection": {"bundle": str(bundle)},
                "record": {"directory": str(place / "records")},
                "line": LineSettings(run_directory=str(place / "run")),
                "metrics": MetricsSettings(port=port),
            }
        )
        (place / "config.yaml").write_text(
            f"line: {{run_directory: run}}\nmqtt: {{host: 127.0.0.1, port: {broker_port}}}\n"
        )  # fmt: skip
        _started(stack, [mosquitto, "-p", str(broker_port)], place)
        publisher = _started(stack, [sys.executable, "-m", "edge", "publish", "--from-beginning"], place)
        asking = _started(stack, [sys.executable, "-c", _ASK, f"http://127.0.0.1:{port}/metrics"], place)
        # their start is no part of what is measured
        while not (place / "records" / REVIEW_NAME).exists():
            if publisher.poll() is not None:
                why = publisher.communicate()[1].decode().strip()
                raise MissingDependency(f"the publisher has ended: {why}", fix="pip install 'edge-inspect[mqtt]'")
            time.sleep(0.1)
        time.sleep(_START_S)
        for each in (publisher, asking):
            each.send_signal(signal.SIGSTOP)
        sink, published = _run(settings, cadence, 2 * pairs * block, [publisher, asking], block, place)
    return {
        "cadence": cadence, "blocks": 2 * pairs, "parts_in_a_block": block, "published": published,
        **compared(sink.times_ms),
    }  # fmt: skip


def _run(
    settings: Settings, cadence: str, parts: int, programs: list[subprocess.Popen[bytes]], block: int, place: Path
) -> tuple[Alternating, int]:
    """The sink with its times, and how many verdicts the publisher has sent at the end."""
    bundle, counters = live_bundle(settings), RunCounters()
    inspector = make_inspector(bundle, settings)
    pictures = pictures_of("demo", None, settings.camera)
    assert pictures is not None
    trigger = trigger_for(cadence_from_text(cadence))
    source = TriggeredPictures(pictures, trigger, Moments(), "demo")
    capture = Capture(lambda: source, settings.camera, settings.freshness, counters)
    info = run_info(bundle, inspector, "demo", settings)
    recorder = Recorder(settings.record, info, counters, inspector.preprocess.field_of_view)
    about = LineInfo("line", "demo", bundle.manifest.product, info.backend, info.precision)
    alarms = AlarmLog(counters, recorder.note)
    sink = Alternating(
        lambda: LineOutputs(settings, about, counters, lambda: recorder.filed, alarms), programs, block
    )  # fmt: skip
    run_loop(
        capture, inspector, [recorder, sink], settings, counters, stop=threading.Event(), max_frames=parts
    )  # fmt: skip
    capture.close()
    sink.close()
    time.sleep(1.0)
    recorder.close()
    inspector.backend.close()
    programs[0].send_signal(signal.SIGCONT)
    programs[0].send_signal(signal.SIGTERM)
    said = programs[0].communicate()[1].decode()
    (count,) = [int(line.split()[1]) for line in said.splitlines() if line.endswith("verdicts published")]
    return sink, count


def compared(times_ms: Sequence[tuple[float, bool, int]]) -> dict[str, Any]:
    """Percentiles with and without, and the ratios of neighbouring blocks. times_ms: as of Alternating."""
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


def _started(stack: ExitStack, command: Sequence[str], place: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def end() -> None:
        process.kill()
        process.wait()

    stack.callback(end)
    return process


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def text(values: dict[str, Any]) -> str:
    """One line for each state, and the ratio."""
    lines = [
        f"{name:<8} outputs: " + ", ".join(f"{level[:-3]} {value:.2f} ms" for level, value in values[name].items())
        for name in ("without", "with")
    ]
    ratio = values["ratio_of_medians"]
    low, high = ratio["quartiles"]
    return "\n".join([*lines, f"with / without, of neighbouring blocks: {ratio['median_of_pairs']} ({low} to {high})"])


@program(
    BUNDLE,
    option("--cadence", default="10/s", help="parts per time (default: 10/s)"),
    option("--pairs", type=int, default=40, help="pairs of blocks, without and with outputs (default: 40)"),
    option("--block", type=int, default=40, help="parts in a block (default: 40)"),
    show=text,
)
def main(options: argparse.Namespace) -> Values:
    """Measure with and without outputs."""
    return measure(options.bundle, options.cadence, options.pairs, options.block)


if __name__ == "__main__":
    raise SystemExit(main())
