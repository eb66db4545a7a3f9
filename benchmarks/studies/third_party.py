"""The same pictures through others' tools and ours, in turn: `python -m benchmarks.studies.third_party`.

Needs anomalib beside this project in one environment (docs/figures/benchmark.md says how). What runs:

ours          edge-inspect, frame to verdict, on the bundle's INT8 network; and that network bare
benchmark_app OpenVINO's own tool on the same network, started anew for each of its turns
anomalib      its OpenVINOInferencer on EfficientAD-S and DRAEM as its own export writes them, FP32. Their weights are
              random: time does not depend on them, and accuracy is not measured
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.program import BUNDLE, Values, option, program
from benchmarks.studies.anomalib_detectors import require_anomalib
from benchmarks.timing.measure.bare_engine import open_bare_engines
from benchmarks.timing.measure.machine import machine_state
from benchmarks.timing.measure.source import pictures_of
from benchmarks.timing.report.figures import percentiles
from edge.backends import open_backend
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.core.config import CameraSettings
from edge.core.datatypes import U8, Frame
from edge.core.errors import MissingDependency
from edge.inspection.inspector import Inspector

SIDE = 256
OURS, BARE, APP = "edge-inspect, frame to verdict", "its network, bare", "its network, benchmark_app"
# of each turn: the first call finds what others left in the caches, and is not counted
CALLS_PER_TURN = 4
APP_SECONDS = 3

Contenders = dict[str, Callable[[U8], object]]


@program(
    BUNDLE,
    option("--rounds", type=int, default=60, help="turns of everyone (default: 60; at least 2)"),
    show=lambda values: table(values),
)
def main(options: argparse.Namespace) -> Values:
    """Measure everyone in turn."""
    bundle = load_bundle(options.bundle.resolve())
    with _empty_folder() as work:
        return measure(bundle, work, options.rounds)


@contextmanager
def _empty_folder() -> Iterator[Path]:
    """An empty folder as the working directory: anomalib's inferencer writes a cache into wherever it is started."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def measure(bundle: ModelBundle, work: Path, rounds: int) -> dict[str, Any]:
    """Times of everyone, and how many times ours each of them takes."""
    pictures = pictures_of("demo", (SIDE, SIDE), CameraSettings())
    assert pictures is not None, "the sample line is pictures"
    before = machine_state()
    with _ours(bundle) as ours:
        contenders: Contenders = {**ours, **_anomalib(pictures, work)}
        # in two halves, with the tool that is a program of its own before, between and after them
        app_ms, times = [_benchmark_app(bundle, work)], {name: list[float]() for name in contenders}
        for half in (rounds // 2, rounds - rounds // 2):
            for name, spent in take_turns(contenders, pictures, half).items():
                times[name] += spent
            app_ms.append(_benchmark_app(bundle, work))
    figures = {name: percentiles(values) for name, values in times.items()}
    return {
        "frame_px": [SIDE, SIDE],
        "rounds": rounds,
        "calls_per_turn": CALLS_PER_TURN - 1,
        "bundle_sha256": bundle.sha256,
        "third_party": {package: metadata.version(package) for package in ("anomalib", "openvino")},
        "ms": figures,
        "benchmark_app_median_ms": app_ms,
        "times_ours_p50": times_ours({**{n: f["p50"] for n, f in figures.items()}, APP: float(np.median(app_ms))}),
        "before": before,
        "after": machine_state(),
    }


def take_turns(contenders: Contenders, pictures: Sequence[U8], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every counted call; everyone sees the same pictures, and each round another one begins."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            for call in range(CALLS_PER_TURN):
                picture = pictures[(turn * CALLS_PER_TURN + call) % len(pictures)]
                started = time.perf_counter_ns()
                contenders[name](picture)
                if call:
                    times[name].append((time.perf_counter_ns() - started) / 1e6)
    return times


def times_ours(medians: dict[str, float]) -> dict[str, float]:
    """How many times as long as our frame to verdict each one takes."""
    return {name: round(median / medians[OURS], 3) for name, median in medians.items()}


@contextmanager
def _ours(bundle: ModelBundle) -> Iterator[Contenders]:
    precision = bundle.precision("auto")
    calibration = bundle.calibration(precision)
    thresholds = calibration.threshold, calibration.pixel_threshold
    inspector = Inspector(open_backend(bundle, "openvino", precision), bundle.preprocess, *thresholds, bundle.sha256)
    (engine,) = open_bare_engines(bundle, "openvino", precision, None, 1)

    def inspect(picture: U8) -> object:
        return inspector.inspect(Frame(0, time.perf_counter_ns(), datetime.now(timezone.utc), "pictures", picture))

    try:
        yield {OURS: inspect, BARE: lambda picture: engine.run()}
    finally:
        inspector.backend.close()
        engine.close()


def _anomalib(pictures: Sequence[U8], work: Path) -> Contenders:
    """anomalib's inferencers, each handed the picture as its documentation does: uint8 RGB."""
    require_anomalib()
    from anomalib.deploy import OpenVINOInferencer
    from anomalib.models import Draem, EfficientAd

    # DRAEM wants a folder of textures before it is trained, and would download one
    textures = work / "textures"
    textures.mkdir()
    cv2.imwrite(str(textures / "texture.jpg"), pictures[0])
    models = {
        "anomalib EfficientAD-S": EfficientAd(model_size="small"),
        "anomalib DRAEM": Draem(dtd_dir=textures),
    }
    contenders: Contenders = {}
    for name, model in models.items():
        model.eval()
        # the export prints its steps on standard output, which is for results
        with redirect_stdout(sys.stderr):
            path = model.to_openvino(work / name.split()[1], input_size=(SIDE, SIDE))
        inferencer = OpenVINOInferencer(path=path, device="CPU")

        def predict(picture: U8, inferencer: Any = inferencer) -> object:
            return inferencer.predict(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))

        contenders[name] = predict
    return contenders


def _benchmark_app(bundle: ModelBundle, work: Path) -> float:
    """Median milliseconds by OpenVINO's own tool, one request at a time."""
    beside = Path(sys.executable).with_name("benchmark_app")
    program = str(beside) if beside.exists() else shutil.which("benchmark_app")
    if program is None:
        raise MissingDependency("benchmark_app is not installed", fix="pip install openvino")
    model = work / "network.onnx"
    model.write_bytes(bundle.read(f"model_{bundle.precision('auto')}"))
    command = [program, "-m", str(model), "-d", "CPU", "-hint", "latency", "-t", str(APP_SECONDS)]
    result = subprocess.run(
        [*command, "-api", "sync", "-infer_precision", "f32"], capture_output=True, text=True, check=False
    )
    return app_median_ms(result.stdout)


def app_median_ms(output: str) -> float:
    """The median that benchmark_app prints; raises MissingDependency when it prints none."""
    found = re.search(r"Median:\s*([\d.]+)\s*ms", output)
    if found is None:
        raise MissingDependency(
            f"benchmark_app gave no median: {output.strip()[-300:]}", fix="run it by hand to see why"
        )
    return float(found[1])


def table(values: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = [
        f"{'256x256 px, one picture after the other':<42}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}{'x ours':>9}   ms"
    ]
    for name, levels in values["ms"].items():
        cells = "".join(f"{levels[level]:>9.2f}" for level in ("p50", "p90", "p99", "max"))
        lines.append(f"{name:<42}{cells}{values['times_ours_p50'][name]:>9.2f}")
    app = values["benchmark_app_median_ms"]
    lines.append(f"{APP:<42}{np.median(app):>9.2f}{'':>27}{values['times_ours_p50'][APP]:>9.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
