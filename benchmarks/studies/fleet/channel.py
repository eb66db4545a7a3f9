"""A thousand boxes follow one channel: how a version reaches them through the rings, what halts it, what it costs.

The follower, the files, the signatures, the HTTP server and the judgement are the real ones; the boxes share a process,
and their lines are drawn: each has a reject rate of its own, and the new version changes it or not. One round is one
look of each box, as `channel.poll_s` (300 s) has it, and then one `channel advance`. The server answers some requests
with an error, and some boxes are switched off.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.program import SEED, Values, option, program
from edge.bundles.bundle import ModelBundle, load_bundle, sha256_of
from edge.bundles.signature import key_id, make_keys
from edge.bundles.versions import write_bundle
from edge.core.errors import TrialNotRun
from edge.core.progress import say
from edge.core.sections import ChannelSettings
from edge.fleet.channel.box import Reporter
from edge.fleet.channel.box_report import BoxReport, TrialCounts
from edge.fleet.channel.channel_file import Channel, ChannelFile
from edge.fleet.channel.figures import PARTS, Figures, left_interval
from edge.fleet.channel.follow import Box, Follower, Line
from edge.fleet.channel.judgement import judge
from edge.fleet.channel.publish import advance, publish
from edge.fleet.channel.transport import Place, place_of
from edge.samples import sample_bundle

LOOKS_A_DAY = 288
# rejects of good lines, in percent; each box has its own
REJECTS, INVALID = (0.2, 2.0), 0.2
# what a box judges between two looks: a part in one and a half seconds
PARTS_A_ROUND = 200
TRIAL, DISAGREE = 300, 0.002
ERRORS, SWITCHED_OFF = 0.02, 0.03
_MOST_ROUNDS = 80


@dataclass(frozen=True)
class Scenario:
    """What the new version does. worse: share of boxes on which its rejects are multiplied by `times`. refused: share
    of boxes whose line disagrees with it in the trial.
    """

    name: str
    worse: float = 0.0
    times: float = 1.0
    refused: float = 0.0


SCENARIOS = (
    Scenario("as good as before"),
    Scenario("rejects five times as much on every box", 1.0, 5),
    Scenario("rejects five times as much on one box in six", 1 / 6, 5),
    Scenario("rejects five times as much on one box in fifty", 0.02, 5),
    Scenario("disagrees in the trial on one box in five", refused=0.2),
)


class _Server(ThreadingHTTPServer):
    """The channel's folder; takes reports. requests, sent, taken: counts and bytes of bodies."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path, random: np.random.Generator) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.random = folder, random
        self.requests: Counter[str] = Counter()
        self.sent = self.taken = 0


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        file = self.server.folder / self.path.removeprefix("/")
        self.server.requests["GET"] += 1
        lost = self.server.random.random() < ERRORS
        self._answer(503 if lost else 200, b"" if lost else file.read_bytes())

    def do_PUT(self) -> None:
        self.server.requests["PUT"] += 1
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken += len(data)
        lost = self.server.random.random() < ERRORS
        if not lost:
            (self.server.folder / self.path.removeprefix("/")).write_bytes(data)
        self._answer(503 if lost else 201, b"")

    def _answer(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.server.sent += len(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: thousands of requests."""


@contextmanager
def _served(folder: Path, random: np.random.Generator) -> Iterator[_Server]:
    server = _Server(folder, random)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _DrawnLine:
    """What a box would have on record. Both versions are judged by rates that the box keeps."""

    def __init__(self, random: np.random.Generator, scenario: Scenario) -> None:
        self._random = random
        self.rate = random.uniform(*REJECTS) / 100
        self.new_rate = self.rate * (scenario.times if random.random() < scenario.worse else 1)
        self._refuses = random.random() < scenario.refused
        self._old = self._drawn(PARTS, self.rate)
        self._new = Figures()

    def goes_on(self) -> None:
        """One round of parts by the new version."""
        if self._new.parts < PARTS:
            more = self._drawn(PARTS_A_ROUND, self.new_rate)
            self._new = Figures(
                parts=self._new.parts + more.parts, ng=self._new.ng + more.ng, invalid=self._new.invalid + more.invalid
            )

    def _drawn(self, parts: int, rate: float) -> Figures:
        invalid = int(self._random.binomial(parts, INVALID / 100))
        return Figures(parts=parts, invalid=invalid, ng=int(self._random.binomial(parts - invalid, rate)))

    def line(self, new: Callable[[], str]) -> Line:
        return Line(
            newest_row=lambda: 1, figures=lambda sha256, row: self._new if sha256 == new() else self._old,
            trial=self._trial,
        )  # fmt: skip

    def _trial(self, staged: ModelBundle, frames: int) -> TrialCounts:
        if self._random.random() < 0.05:
            raise TrialNotRun("the line stands still", fix="wait")
        share = 0.05 if self._refuses else DISAGREE
        return TrialCounts(compared=frames, new_rejects=int(self._random.binomial(frames, share)), fewer_rejects=0)


def small_bundle(path: Path, note: str) -> ModelBundle:
    """A bundle of the shipped one's product with a network of no use, of a few hundred bytes."""
    from onnx import TensorProto, helper

    field = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["recon"])], note, [field], [
        helper.make_tensor_value_info("recon", TensorProto.FLOAT, [1])])  # fmt: skip
    manifest = load_bundle(sample_bundle()).manifest.model_copy(update={"files": {}, "trained_on": ()})
    network = helper.make_model(graph).SerializeToString()
    return write_bundle(path, manifest, {"model_fp32": ("model_fp32.onnx", network)})


def run_scenario(scenario: Scenario, boxes: int, seed: int, place: Path) -> dict[str, Any]:
    """Rounds until nothing changes any more, and what came of it."""
    random = np.random.default_rng(seed)
    key = place / "key.pem"
    public = make_keys(key)
    folder = place / "channel"
    (folder / "reports").mkdir(parents=True)
    lines = [_DrawnLine(random, scenario) for _ in range(boxes)]
    for number in range(boxes):
        small_bundle(place / "boxes" / f"box{number}", "old")
    published = publish(small_bundle(place / "new", "new").path, folder, key)
    new = published.channel.manifest.sha256
    with _served(folder, np.random.default_rng(seed + 1)) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        settings = ChannelSettings()
        trusted = key_id(public)
        # a day's rounds apart, the last report is an hour old: what is not new is sent once more
        clock = {"s": 0.0}

        def follower(number: int) -> Follower:
            box = Box(f"box{number}", place / "boxes" / f"box{number}", trusted, public, trial_frames=TRIAL)
            report = Reporter(place_of(f"{address}/reports", settings), lambda: clock["s"])
            return Follower(box, place_of(address, settings), lines[number].line(lambda: new), _nothing, report)

        followers = [follower(number) for number in range(boxes)]
        off = set(random.choice(boxes, int(SWITCHED_OFF * boxes), replace=False).tolist())
        history, judged_s, spent_s, looks = [], [], 0.0, 0
        states: dict[int, BoxReport] = {}
        for number in range(_MOST_ROUNDS):
            began = time.perf_counter()
            for each, box in enumerate(followers):
                if each not in off:
                    states[each] = box.poll().report
                    looks += 1
            spent_s += time.perf_counter() - began
            clock["s"] += 86400 / LOOKS_A_DAY
            for each, report in states.items():
                if report.state == "live":
                    lines[each].goes_on()
            began = time.perf_counter()
            step = advance(folder, key)
            judged_s.append(time.perf_counter() - began)
            taken = sum(report.bundle == new for report in states.values())
            history.append({"round": number + 1, "ring": step.channel.ring, "boxes_with_it": taken})
            served = [report for report in states.values() if report.after is not None and report.after.parts == PARTS]
            if step.channel.halted or (step.channel.ring == 3 and len(served) >= 0.999 * (boxes - len(off))):
                break
            if len(history) > 30 and history[-25]["boxes_with_it"] == taken and step.action == "wait":
                break
        requests = dict(server.requests)
        return {
            "version": scenario.name,
            "ended": "halted"
            if step.channel.halted
            else "all boxes"
            if step.channel.ring == 3
            else "waits for a person",
            "ring": step.channel.ring,
            "why": step.why[:300],
            "rounds": len(history),
            "hours": round(len(history) * 24 / LOOKS_A_DAY, 1),
            "boxes": boxes,
            "switched_off": len(off),
            "boxes_with_it": history[-1]["boxes_with_it"],
            "refused": sum(report.state == "refused" for report in states.values()),
            "first_round_of_ring": {
                str(ring): next((each["round"] for each in history if each["ring"] >= ring), None) for ring in (1, 2, 3)
            },
            "requests_a_look": round(sum(requests.values()) / looks, 2),
            "milliseconds_a_look_busy": round(spent_s / looks * 1000, 2),
            "milliseconds_an_advance_busy": round(max(judged_s) * 1000),
        }


def _nothing(words: str) -> None:
    """A thousand boxes say much."""


def cost(place: Path) -> dict[str, Any]:
    """Requests and bytes of bodies of one box with the shipped bundle: idle for a day, and taking a version."""
    from dataclasses import replace

    key, folder, live = place / "key.pem", place / "channel", place / "live"
    public = make_keys(key)
    source = _copied(sample_bundle(), place / "source")
    publish(source.path, folder, key)
    _copied(sample_bundle(), live)
    with _served(folder, _NeverLost()) as server:  # type: ignore[arg-type]
        (folder / "reports").mkdir()
        settings = ChannelSettings()
        address = f"http://127.0.0.1:{server.server_port}"
        clock = {"s": 0.0}
        box = Box("box0", live, key_id(public), public, trial_frames=0)
        line = Line(lambda: 0, lambda sha256, row: Figures(), _no_trial)
        channel: Place = place_of(address, settings)
        report = Reporter(place_of(f"{address}/reports", settings), lambda: clock["s"])
        follower = Follower(replace(box, ring=1), channel, line, _nothing, report)
        found = {}

        def counted(name: str, looks: int) -> None:
            before = dict(server.requests), server.sent, server.taken
            for _ in range(looks):
                follower.poll()
                clock["s"] += 86400 / LOOKS_A_DAY
            found[name] = {
                "requests": sum(server.requests.values()) - sum(before[0].values()),
                "bytes_received": server.sent - before[1],
                "bytes_reported": server.taken - before[2],
            }

        counted("first version, whose files the box has under other names", 1)
        calibration = replace(source.calibration("int8"), threshold=0.4)
        changed = write_bundle(source.path, source.manifest, {"calibration_int8": ("c.npz", calibration.to_bytes())})
        publish(changed.path, folder, key)
        counted("another threshold", 1)
        network = changed.read("model_fp32") + bytes([3 << 3 | 2, 1]) + b"x"
        publish(write_bundle(source.path, changed.manifest, {"model_fp32": ("m.onnx", network)}).path, folder, key)
        counted("another FP32 network", 1)
        counted("a day without a new version", LOOKS_A_DAY)
    return found


class _NeverLost:
    def random(self) -> float:
        return 1.0


def _no_trial(staged: ModelBundle, frames: int) -> TrialCounts:
    raise AssertionError("no trial is asked for")


def _copied(bundle: Path, target: Path) -> ModelBundle:
    import shutil

    shutil.copytree(bundle, target)
    return load_bundle(target)


def false_alarms(seed: int, times: int) -> dict[str, float]:
    """How often a version that changes nothing is held against a box, and halts a channel, looked at again and again.

    halted_10, _100, _1000: share of channels with so many boxes that were halted at any look.
    """
    random = np.random.default_rng(seed)
    boxes = [_history_of_left(_DrawnLine(random, SCENARIOS[0])) for _ in range(times)]
    reference = ChannelFile(sha256=sha256_of(b""), bytes=1)
    channel = Channel(
        version=1, revision=0, product="", method="", manifest=reference, signature=reference, ring=3, published_utc=""
    )
    found = {
        "boxes": float(times),
        "held_against_a_box_at_the_end": float(np.mean([history[-1] for history in boxes])),
        "held_against_a_box_at_any_look": float(np.mean([any(history) for history in boxes])),
    }
    good, bad = _reported(False), _reported(True)
    for size in (10, 100, 1000):
        halted = []
        for _ in range(400):
            drawn = [boxes[number] for number in random.integers(0, times, size)]
            most = max(sum(history[look] for history in drawn) for look in range(len(drawn[0])))
            reports = [
                each.model_copy(update={"box": f"b{number}"})
                for number, each in enumerate([bad] * most + [good] * (size - most))
            ]
            halted.append(judge(channel, reports).action == "halt")
        found[f"halted_{size}"] = float(np.mean(halted))
    return found


def _history_of_left(line: _DrawnLine) -> list[bool]:
    figures = line.line(lambda: "new").figures
    before, history = figures("old", 0), []
    for _ in range(PARTS // PARTS_A_ROUND):
        line.goes_on()
        history.append(bool(left_interval(before, figures("new", 0))))
    return history


def _reported(worse: bool) -> BoxReport:
    after = Figures(parts=PARTS, ng=500 if worse else 10)
    return BoxReport(
        box="b", software="", utc="", version=1, revision=0, state="live", ring=1, before=Figures(parts=PARTS, ng=10),
        after=after,
    )  # fmt: skip


def text(values: Values) -> str:
    """A line for each scenario, and the costs."""
    lines = [
        f"{each['version']}: {each['ended']} at ring {each['ring']} after {each['rounds']} rounds, "
        f"{each['boxes_with_it']} of {each['boxes']} boxes have it, {each['milliseconds_a_look_busy']} ms a look"
        for each in values["scenarios"]
    ]
    return "\n".join([*lines, json.dumps(values["cost_of_one_box"], indent=1), json.dumps(values["false_alarms"])])


@program(
    option("--boxes", type=int, default=1000, help="boxes of each scenario (default: 1000)"),
    SEED,
    show=text,
)
def main(options: argparse.Namespace) -> Values:
    """Let the boxes follow."""
    logging.getLogger("edge.fleet.channel").setLevel(logging.ERROR)
    found = []
    for scenario in SCENARIOS:
        with tempfile.TemporaryDirectory() as place:
            found.append(run_scenario(scenario, options.boxes, options.seed, Path(place)))
            say(f"{scenario.name}: {found[-1]['ended']}, {found[-1]['rounds']} rounds")
    with tempfile.TemporaryDirectory() as place:
        costs = cost(Path(place))
    return {
        "parts_a_look": PARTS_A_ROUND, "share_of_requests_that_fail": ERRORS, "tls": False, "scenarios": found,
        "cost_of_one_box": costs, "false_alarms": false_alarms(options.seed, 5000),
    }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
