"""The line under test: the program's own capture, loop and shipped model; every verdict is held against what was shown.

    python -m benchmarks.studies.damaged_streams.line URL PARTS.npy VERDICTS.jsonl SECONDS EXACT

EXACT 1: a judged picture must equal the one sent bit for bit (JPEG); 0: but for what video coding changes.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.studies.damaged_streams.mjpeg_camera import jpeg
from benchmarks.studies.damaged_streams.scene import (
    BAND_HEIGHT,
    PART_HEIGHT,
    WIDTH,
    Picture,
    draw,
    load_parts,
    read_label,
)
from edge.bundles.signature import trusted_bundle
from edge.capture.capture import Capture
from edge.capture.images.image_io import decode_picture
from edge.capture.sources import open_source
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision, Frame, Verdict
from edge.inspection.inspector import Inspector
from edge.inspection.inspectors import make_inspector
from edge.inspection.loop import run_loop
from edge.samples import sample_bundle

# means of blocks of 16 px, in grey levels: coding leaves up to 11 at the edges of the band, filling in far more
MOST_CODING_ERROR = 14.0
BLOCK = 16


class BandCutOff:
    """Shows the inspector the part alone; the rest of an Inspector's face is its own."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inspector, name)

    def inspect(self, frame: Frame) -> Verdict:
        if frame.image is not None:
            rows = frame.image.shape[0] * PART_HEIGHT // (PART_HEIGHT + BAND_HEIGHT)
            frame = replace(frame, image=np.ascontiguousarray(frame.image[:rows]))
        return self._inspector.inspect(frame)


class Checker:
    """A sink that writes down each verdict with what the picture itself says."""

    def __init__(self, parts: Picture, inspector: Inspector, exact: bool, path: Path) -> None:
        self._parts, self._exact = parts, exact
        self._file = path.open("a", buffering=1, encoding="utf-8")
        self._certain = inspector.certain_threshold
        self._expected = [str(_verdict(inspector, part).decision) for part in parts]

    def write(self, frame: Frame, verdict: Verdict) -> None:
        published_s = time.monotonic()
        note: dict[str, Any] = {
            "published_s": published_s,
            "decision": str(verdict.decision),
            "reason": str(verdict.reason),
            "detail": verdict.detail,
            "captured": frame.captured_ns / 1e9,
        }
        if verdict.decision is not Decision.INVALID and frame.image is not None:
            note.update(self._compared(frame.image, verdict, published_s))
        self._file.write(json.dumps(note) + "\n")

    def _compared(self, image: Picture, verdict: Verdict, published_s: float) -> dict[str, Any]:
        label = read_label(image)
        if label is None:
            return {"whole": False, "number": None}
        sent = draw(self._parts, label)
        if self._exact:
            difference = 0.0 if np.array_equal(decode_picture(jpeg(sent)), image) else 255.0
        else:
            difference = _largest_block_difference(sent, image)
        age_ms = (round(published_s * 1000) - label.at_ms) % (1 << 32)
        return {
            "number": label.number,
            "part": label.part,
            "whole": difference <= (0.0 if self._exact else MOST_CODING_ERROR),
            "difference": round(difference, 1),
            "age_ms": age_ms,
            "expected": self._expected[label.part],
            "as_expected": self._expected[label.part] == str(verdict.decision) or self._is_close(verdict),
        }

    def _is_close(self, verdict: Verdict) -> bool:
        """Rejected, but as close as unusual good parts come: a lossy codec alone may do that to a good part."""
        if self._exact or self._certain is None or verdict.decision is not Decision.NG:
            return False
        return verdict.score is not None and verdict.score <= self._certain

    def close(self) -> None:
        self._file.close()


def _largest_block_difference(sent: Picture, shown: Picture) -> float:
    if sent.shape != shown.shape:
        return 255.0
    difference = np.abs(sent.astype(np.float32) - shown).mean(axis=2)
    height, width = (side // BLOCK * BLOCK for side in difference.shape)
    blocks = difference[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return float(blocks.mean(axis=(1, 3)).max())


def expected_scores(parts: Sequence[Picture]) -> list[float]:
    """What the shipped model makes of these parts."""
    inspector = make_inspector(trusted_bundle(sample_bundle(), None), Settings())
    return [_verdict(inspector, part).score or 0.0 for part in parts]


def _verdict(inspector: Inspector, part: Picture) -> Verdict:
    frame = Frame(0, time.perf_counter_ns(), datetime.now(timezone.utc), "part", decode_picture(jpeg(part)))
    return inspector.inspect(frame)


def main() -> None:
    url, parts_path, verdicts, seconds, exact = sys.argv[1:]
    size = {"expected_width_px": WIDTH, "expected_height_px": PART_HEIGHT + BAND_HEIGHT}
    settings = Settings.model_validate({"freshness": size})
    parts = load_parts(Path(parts_path))
    inspector = make_inspector(trusted_bundle(sample_bundle(), None), settings)
    checker = Checker(parts, inspector, exact == "1", Path(verdicts))
    counters, stop = RunCounters(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    capture = Capture(lambda: open_source(url, settings.camera), settings.camera, settings.freshness, counters)
    print("ready", flush=True)
    judging: Any = BandCutOff(inspector)
    run_loop(capture, judging, [checker], settings, counters, stop=stop, duration_s=float(seconds))
    capture.close()
    checker.close()
    print(json.dumps({"dropped": counters.dropped, "grabbed": counters.grabbed, "reconnects": counters.reconnects}))


if __name__ == "__main__":
    main()
