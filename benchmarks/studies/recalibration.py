"""What recalibrating costs and is worth: time and memory, the pause of a hot switch, and what a changed scene does to
false rejects and recall before, during and after.

Pictures are made from the shipped parts (line_pictures.py). Samples and the parts judged afterwards are
drawn from the same good parts of train/good, anew each time: false rejects say whether the budget holds for more of
the same, not for parts of another batch. Defective ones are those of test/anomaly, on which nothing is fitted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.program import Values, option, program
from benchmarks.results_file import ROOT
from benchmarks.studies.line_pictures import SCENES, SceneChange, line_pictures
from edge.backends import open_backend
from edge.bundles.bundle import load_bundle
from edge.capture.images.image_io import list_pictures
from edge.core.datatypes import U8
from edge.core.errors import UsageError
from edge.core.latency import StageClock
from edge.metrics import rate_interval
from edge.samples import sample_bundle, sample_data

_SAMPLE_SEED, _LATER_SEED, _DEFECT_SEED = 1, 2, 3
_SWITCHES, _BETWEEN_SWITCHES_S, _FPS = 6, 2.5, 30
# around a switch: verdicts this long before and after it count as touched by it
_AROUND_S = 1.0


@program(
    option("--samples", type=int, default=1000, help="new normals that are timed (default: 1000)"),
    option("--few", type=int, default=250, help="fewer, to see whether memory grows (default: 250)"),
    option("--changed", type=int, default=400, help="new normals in a changed scene (default: 400)"),
    option("--later", type=int, default=400, help="good parts judged afterwards (default: 400)"),
    option("--defects", type=int, default=200, help="defective parts judged (default: 200)"),
    option("--work", type=Path, help="folder for the pictures (default: a temporary one)"),
)
def main(options: argparse.Namespace) -> Values:
    """Measure cost, switch and scenes."""
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        return measure(Path(work), options)


def measure(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """{cost, switch, scenes}."""
    made = {str(count): recalibrated(work, count, "as trained") for count in (options.few, options.samples)}
    return {
        "cost": {count: cost for count, (_, cost) in made.items()},
        "switch": hot_switch(made[str(options.samples)][0]),
        "scenes": {name: scene_figures(work, name, options.changed, options.later, options.defects) for name in SCENES},
    }


def recalibrated(work: Path, count: int, scene: str) -> tuple[Path, dict[str, Any]]:
    """A copy of the shipped bundle recalibrated on `count` samples of a scene, and what that took."""
    place = Path(tempfile.mkdtemp(dir=work))
    good = list_pictures(sample_data() / "train" / "good")
    _write(place / "samples", line_pictures(good, count, SCENES[scene], _SAMPLE_SEED))
    shutil.copytree(sample_bundle(), place / "bundle")
    command = [sys.executable, "-m", "edge", "recalibrate", "samples", "--bundle", "bundle", "--scene-changed"]
    started = time.perf_counter()
    with (place / "output.txt").open("w+") as output:
        process = subprocess.Popen(command, cwd=place, env=_environment(), stdout=output, stderr=output)
        peak_mb = _watched(process)
        seconds = time.perf_counter() - started
        output.seek(0)
        lines = [line.strip() for line in output.read().splitlines() if not line.startswith("looking at")]
    if process.returncode:
        raise UsageError(f"recalibrating failed: {lines[-3:]}", fix="run it by hand to see why")
    steps = {line.split(": ")[0]: float(line.split(": ")[1][:-2]) for line in lines if _is_step(line)}
    return place / "bundle", {"samples": count, "seconds": round(seconds, 1), "steps_s": steps, "peak_mb": peak_mb}


def hot_switch(bundle: Path) -> dict[str, Any]:
    """The shipped line at a camera's pace while its bundle is switched to and fro: gaps between verdicts, lost frames.

    gap: between two verdicts, in ms; 1000 / fps without a pause. quiet: before the first switch. switch: of each
    switch, the longest gap within a second of it.
    """
    command = [sys.executable, "-m", "edge", "demo", "--bundle", str(bundle), "--fps", str(_FPS), "--no-record"]
    command += ["--json", "--duration", str((_SWITCHES + 2) * _BETWEEN_SWITCHES_S + 4)]
    moments, verdicts = [], []
    with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryDirectory() as empty:
        process = subprocess.Popen(
            command, cwd=empty, env=_environment(), stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdout is not None
        next_switch, switches = None, 0
        for line in process.stdout:
            moments.append(time.perf_counter())
            verdicts.append(json.loads(line))
            next_switch = next_switch or moments[0] + 2 * _BETWEEN_SWITCHES_S
            if switches < _SWITCHES and moments[-1] > next_switch:
                # in a process of its own, as a person does it: its work is part of what the line feels
                subprocess.Popen(
                    [sys.executable, "-m", "edge", "rollback", "--bundle", str(bundle)],
                    cwd=empty, env=_environment(), stderr=subprocess.DEVNULL,
                )  # fmt: skip
                switches, next_switch = switches + 1, next_switch + _BETWEEN_SWITCHES_S
        process.wait()
        errors.seek(0)
        summary = errors.read()
    return _switch_figures(np.array(moments), verdicts, summary)


def _switch_figures(moments: Any, verdicts: list[dict[str, Any]], summary: str) -> dict[str, Any]:
    gaps = np.diff(moments) * 1000
    versions = [verdict["bundle_sha256"] for verdict in verdicts]
    changed = [number for number in range(1, len(verdicts)) if versions[number] != versions[number - 1]]
    quiet = gaps[: changed[0] - 1][moments[1 : changed[0]] < moments[changed[0]] - _BETWEEN_SWITCHES_S]
    worst = [float(gaps[np.abs(moments[1:] - moments[number]) < _AROUND_S].max()) for number in changed]
    camera = next(line for line in summary.splitlines() if line.startswith("camera "))
    return {
        "fps": _FPS,
        "switches": len(changed),
        "verdicts": len(verdicts),
        "indexes_in_order": [verdict["frame_index"] for verdict in verdicts] == list(range(len(verdicts))),
        "camera": camera.split(None, 1)[1],
        "invalid": sum(verdict["decision"] == "INVALID" for verdict in verdicts),
        "quiet_gap_ms": _percentiles(quiet),
        "switch_gap_ms": [round(gap, 1) for gap in worst],
        "at_the_switch_gap_ms": [round(float(gaps[number - 1]), 1) for number in changed],
    }


def scene_figures(work: Path, scene: str, samples: int, later: int, defects: int) -> dict[str, Any]:
    """False rejects and recall of the shipped bundle as it was trained, in the scene, and recalibrated for it."""
    bundle, cost = recalibrated(work, samples, scene)
    good = list_pictures(sample_data() / "train" / "good")
    bad = list_pictures(sample_data() / "test" / "anomaly")

    def judged(path: Path, change: SceneChange) -> dict[str, Any]:
        return {
            "false_rejects": _rejected(path, line_pictures(good, later, change, _LATER_SEED)),
            "recall": _rejected(path, line_pictures(bad, defects, change, _DEFECT_SEED)),
        }

    return {
        "before": judged(sample_bundle(), SCENES["as trained"]),
        "during": judged(sample_bundle(), SCENES[scene]),
        "after": judged(bundle, SCENES[scene]),
        "recalibrated": cost,
    }


def _rejected(bundle_path: Path, pictures: Iterable[U8]) -> dict[str, Any]:
    bundle = load_bundle(bundle_path)
    precision = bundle.precision("auto")
    threshold = bundle.calibration(precision).threshold
    backend = open_backend(bundle, "auto", precision)
    verdicts = [backend.score(picture, StageClock(0)).score > threshold for picture in pictures]
    backend.close()
    found, count = sum(verdicts), len(verdicts)
    interval = rate_interval(found, count)
    return {"share": found / count, "count": count, "low": round(interval.low, 4), "high": round(interval.high, 4)}


def _write(folder: Path, pictures: Iterable[U8]) -> None:
    folder.mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number:05d}.png"), picture)


def _watched(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> float | None:
    """Wait for the end; the largest resident memory, in MB, where the system knows it."""
    if not hasattr(os, "wait4"):
        process.wait()
        return None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # in kB, on macOS in bytes
    return round(usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3))


def _is_step(line: str) -> bool:
    name, _, rest = line.partition(": ")
    return rest.endswith(" s") and rest[:-2].replace(".", "", 1).isdigit() and bool(name)


def _percentiles(values: Any) -> dict[str, float]:
    p50, p99, largest = np.percentile(values, [50, 99, 100])
    return {"p50": round(float(p50), 1), "p99": round(float(p99), 1), "max": round(float(largest), 1)}


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


if __name__ == "__main__":
    raise SystemExit(main())
