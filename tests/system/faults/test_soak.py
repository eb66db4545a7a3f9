"""Months in seconds: every frame accounted for, and memory that does not grow."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.system.command_line import WAIT_S, environment, rows

# a verdict that is kept by mistake takes more than 1 KB, 1000 KB per 1000 frames; allocators and caches wander by tens
MOST_KB_PER_1000_FRAMES = 100


def soaked(tmp_path, frames):
    """What a run of so many frames saw. With a bundle as third argument it takes minutes: a check to make by hand."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.system.faults.soaked_run", str(tmp_path / "records"), str(frames)],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=2 * WAIT_S,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def growth_kb_per_1000_frames(samples):
    """The slope of resident memory over the second half of the run: the first fills windows and caches."""
    frames, memory_kb = np.array(samples[len(samples) // 2 :], float).T
    return float(np.polyfit(frames, memory_kb, 1)[0]) * 1000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is read from /proc")
def test_a_long_run_accounts_for_every_frame_in_constant_memory(tmp_path, record_property):
    frames = 50_000
    seen = soaked(tmp_path, frames)
    counters = seen["counters"]
    assert (counters["ok"], counters["ng"]) == (frames - frames // 1000, frames // 1000)
    assert counters["images_stored"] == frames // 1000
    assert seen["consecutive"]
    assert (counters["grabbed"], counters["dropped"], counters["recorded"]) == (frames, 0, frames)
    assert (counters["records_lost"], counters["sink_errors"], counters["invalid"]) == (0, 0, 0)
    assert rows(tmp_path / "records", "count(*), max(frame_index)") == [(frames, frames - 1)]
    growth = growth_kb_per_1000_frames(seen["memory_kb"])
    record_property("kb_per_1000_frames", growth)
    assert growth < MOST_KB_PER_1000_FRAMES, seen["memory_kb"]
