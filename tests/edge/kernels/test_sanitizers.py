"""The kernels under AddressSanitizer and UndefinedBehaviorSanitizer: nothing is read or written beyond its memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.edge.kernels.emulation import SANITIZERS, emulated_library
from tests.paths import ROOT


def run(missing_bytes: int) -> subprocess.CompletedProcess[str]:
    found = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    runtime = found.stdout.strip()
    if not Path(runtime).is_absolute():
        pytest.skip("g++ has no address sanitizer here")
    environment = {
        **os.environ, "LD_PRELOAD": runtime, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
        # the interpreter itself leaves memory behind
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1", "UBSAN_OPTIONS": "print_stacktrace=1",
    }  # fmt: skip
    library = emulated_library(*SANITIZERS)
    command = [sys.executable, "-m", "tests.edge.kernels.emulation.sanitized", str(library), str(missing_bytes)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=ROOT)


def test_awkward_sizes_are_sound():
    result = run(missing_bytes=0)
    assert result.returncode == 0, result.stderr[-4000:]
    assert result.stdout.startswith(
        "sound: box_columns box_rows evidence_f32_2 evidence_f32_4 preprocess_f16 preprocess_f32 reduce_box"
    )


def test_memory_that_is_too_small_is_noticed():
    result = run(missing_bytes=4)
    assert result.returncode != 0
    assert "heap-buffer-overflow" in result.stderr
