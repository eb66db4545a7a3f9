"""Cameras that break in every way, against the line, for as long as asked; what came of every picture that was sent.

    python -m benchmarks.studies.damaged_streams.run mjpeg --minutes 60
    python -m benchmarks.studies.damaged_streams.run rtsp --minutes 1 --keep DIR

What must hold: no picture that was not whole is judged OK or NG, none of a part other than the one shown, and every
whole one is judged, published as INVALID or counted as dropped. Meanwhile the line is stopped (SIGSTOP) and starved.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.program import SEED, Values, option, program
from benchmarks.results_file import ROOT, result_path
from benchmarks.studies.damaged_streams.line import expected_scores
from benchmarks.studies.damaged_streams.scene import PART_HEIGHT, WIDTH, Picture
from edge.capture.images.image_reader import read_image
from edge.core.config import InspectionSettings
from edge.core.errors import MissingDependency
from edge.samples import sample_line

GOOD, DEFECTIVE = 8, 4
# a verdict later than the deadline after the grab is INVALID; a sender that is starved too takes up to this long before
SENT_WITHIN_MS = 500
# FFmpeg reads a stream for as long before it says what is in it, and these pictures are no longer new
JOINING_S = 3.0
# so late before the end of the line, pictures may still be on the way to it
ON_THE_WAY_S = 0.5
SYSTEM_PYTHON = "/usr/bin/python3"
_SHOWN_FAULTS = 20


@dataclass(frozen=True)
class Outcome:
    """What came of the pictures of one camera."""

    figures: dict[str, Any]
    faults: list[dict[str, Any]]


def gstreamer_missing() -> str | None:
    """Why the RTSP camera cannot run here, or None."""
    check = (
        "import gi, numpy; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; "
        "Gst.init(None); assert Gst.ElementFactory.find('x264enc') and Gst.ElementFactory.find('rtph264pay')"
    )
    if not Path(SYSTEM_PYTHON).exists():
        return f"{SYSTEM_PYTHON} is not there"
    tried = subprocess.run([SYSTEM_PYTHON, "-c", check], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else "GStreamer's RTSP server and x264 for Python are not installed"


def write_parts(path: Path) -> None:
    """Parts of the sample line that the shipped model is sure about."""
    line = dict.fromkeys(sample_line())
    pictures = [_filled(read_image(part)[:, :WIDTH]) for part in line]
    scored = sorted(zip(expected_scores(pictures), range(len(pictures)), strict=True))
    chosen = [pictures[index] for _, index in [*scored[:GOOD], *scored[-DEFECTIVE:]]]
    order = np.random.default_rng(0).permutation(len(chosen))
    np.save(path, np.stack([chosen[index] for index in order]))


def _filled(picture: Picture) -> Picture:
    """The picture, its last row repeated down to PART_HEIGHT."""
    return np.pad(picture, ((0, PART_HEIGHT - picture.shape[0]), (0, 0), (0, 0)), mode="edge")


def run(camera: str, seconds: float, seed: int, share: float, damages: str, folder: Path) -> Outcome:
    """Run one camera against one line and compare what both wrote down."""
    parts, truth, verdicts = folder / "parts.npy", folder / f"{camera}-sent.jsonl", folder / f"{camera}-verdicts.jsonl"
    if not parts.exists():
        write_parts(parts)
    program = (
        [sys.executable, "-m", "benchmarks.studies.damaged_streams.mjpeg_camera"]
        if camera == "mjpeg"
        else [SYSTEM_PYTHON, "-m", "benchmarks.studies.damaged_streams.rtsp_camera"]
    )
    shown = subprocess.Popen(
        [*program, str(parts), str(truth), str(seed), str(share), damages], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert shown.stdout is not None
        port = int(shown.stdout.readline())
        url = f"http://127.0.0.1:{port}/stream" if camera == "mjpeg" else f"rtsp://127.0.0.1:{port}/line"
        exact = "1" if camera == "mjpeg" else "0"
        line = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "benchmarks.studies.damaged_streams.line",
                url,
                str(parts),
                str(verdicts),
                str(seconds),
                exact,
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        stops = _disturb(line, random.Random(seed), seconds)
        output, _ = line.communicate(timeout=seconds + 120)
        counted = json.loads(output.splitlines()[-1])
    finally:
        shown.kill()
        shown.wait()
    return _outcome(truth, verdicts, counted, stops)


def _disturb(line: subprocess.Popen[str], rng: random.Random, seconds: float) -> int:
    """Stop and continue the line now and then; starve it at other times. Returns how often it was stopped."""
    ends, stops = time.monotonic() + seconds, 0
    assert line.stdout is not None
    line.stdout.readline()
    while time.monotonic() < ends - 8 and line.poll() is None:
        time.sleep(min(rng.uniform(5, 20), max(0.0, ends - 8 - time.monotonic())))
        if rng.random() < 0.6:
            line.send_signal(signal.SIGSTOP)
            time.sleep(rng.choice((0.2, 0.7, 1.5, 3.0)))
            line.send_signal(signal.SIGCONT)
            stops += 1
        else:
            hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
            time.sleep(rng.uniform(1, 4))
            for hog in hogs:
                hog.kill()
                hog.wait()
    return stops


def _outcome(truth: Path, verdicts: Path, counted: dict[str, int], stops: int) -> Outcome:
    sent = {note["number"]: note for note in _notes(truth)}
    published = _notes(verdicts)
    judged = [note for note in published if note["decision"] != "INVALID"]
    most_ms = (InspectionSettings().deadline_ms or 0) + SENT_WITHIN_MS
    not_whole = [note for note in judged if not note["whole"]]
    # the camera itself says which pictures it broke; a changed bit that changes nothing to be seen is none
    old = [note for note in judged if note["whole"] and note["age_ms"] > most_ms]
    wrong = [note for note in judged if note["whole"] and not note["as_expected"]]
    began: dict[int, float] = {}
    for note in sent.values():
        began.setdefault(note["connection"], note["began"])
    ended = max((note["published_s"] for note in published), default=0.0) - ON_THE_WAY_S
    heard = {number: note for number, note in sent.items() if note["began"] < ended and _was_heard(note, began)}
    whole = {number for number, note in heard.items() if note["kind"] == "whole"}
    seen = {note["number"] for note in judged}
    invalid = Counter(note["reason"] for note in published if note["decision"] == "INVALID")
    with_picture = sum(count for reason, count in invalid.items() if reason != "no_frame")
    unaccounted = len(whole - seen) - counted["dropped"] - with_picture
    ages = sorted(note["age_ms"] for note in judged if note["whole"]) or [0]
    figures = {
        "sent": len(sent),
        "sent_and_heard": len(heard),
        "sent_by_kind": dict(Counter(note["kind"] for note in sent.values())),
        "line_stopped": stops,
        "verdicts": len(published),
        "judged": len(judged),
        "invalid_by_reason": dict(invalid),
        "dropped": counted["dropped"],
        "reconnects": counted["reconnects"],
        "judged_not_whole": len(not_whole),
        "judged_too_old": len(old),
        "judged_as_another_part": len(wrong),
        "whole_not_accounted_for": max(0, unaccounted),
        "age_ms_median": ages[len(ages) // 2],
        "age_ms_p99": ages[len(ages) * 99 // 100],
        "age_ms_max": ages[-1],
        "largest_difference": max((note.get("difference", 0.0) for note in judged if note["whole"]), default=0.0),
        "age_allowed_ms": most_ms,
    }
    return Outcome(figures, [*not_whole, *old, *wrong])


def _was_heard(note: dict[str, Any], began: dict[int, float]) -> bool:
    """Not while the line was finding out the format, nor into a connection that it had already given up."""
    joined: bool = note["began"] - began[note["connection"]] > JOINING_S
    return joined and bool(note["began"] < began.get(note["connection"] + 1, math.inf))


def _notes(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


@program(
    option("camera", choices=("mjpeg", "rtsp")),
    option("--minutes", type=float, default=60.0),
    SEED,
    option("--share", type=float, default=0.1, help="share of the pictures that are damaged"),
    option("--damages", choices=("transport", "bytes"), default="transport"),
    option("--keep", type=Path, help="folder for what the camera sent and for the verdicts"),
    option("--out", type=Path, help="result file (default: the results folder of this device)"),
    failed=lambda values: values["faults"],
)
def main(options: argparse.Namespace) -> Values:
    """Run one camera against one line."""
    if options.camera == "rtsp" and (missing := gstreamer_missing()):
        raise MissingDependency(
            f"the RTSP camera cannot run: {missing}",
            fix="install what benchmarks/studies/damaged_streams/rtsp_camera.py names",
        )
    options.out = options.out or result_path(f"damaged-streams-{options.camera}")
    with tempfile.TemporaryDirectory(prefix="damaged-streams-") as empty:
        folder = options.keep or Path(empty)
        folder.mkdir(parents=True, exist_ok=True)
        outcome = run(options.camera, 60 * options.minutes, options.seed, options.share, options.damages, folder)
    return {"minutes": options.minutes, **outcome.figures, "faults": outcome.faults[:_SHOWN_FAULTS]}


if __name__ == "__main__":
    raise SystemExit(main())
