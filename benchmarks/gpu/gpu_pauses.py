"""The first frame after a pause, on this GPU: `python -m benchmarks.gpu.gpu_pauses --network NAME`.

A GPU at rest lowers its clocks. For pauses of 0.1 to 10 s, and for periods of keeping warm (inspection.keep_warm_ms)
from never to 20 ms: how long a frame takes after the pause. The backend rests as it does in the inspection loop.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.gpu_line import NETWORKS, line_pipeline, network_maker, sample_images
from benchmarks.program import BUNDLE, Values, option, program
from benchmarks.timing.report.figures import percentiles
from edge.backends.gpu.gpu_backend import GpuBackend
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.core.datatypes import U8
from edge.core.latency import StageClock
from edge.inspection.loop import TAKE_TIMEOUT_S

# seconds of a pause → how many of them; five minutes in all
PAUSES = {0.1: 20, 0.3: 20, 1.0: 10, 3.0: 5, 10.0: 3}
# of keeping warm, in seconds
PERIODS: tuple[float | None, ...] = (None, 1.0, 0.1, 0.02)
_WARM_UP_FRAMES = 20


def measure(bundle: ModelBundle, network: str, engines: Path, targets: Sequence[int]) -> dict[str, Any]:
    """Milliseconds of a frame, back to back and after each pause, by period; raises EdgeInspectError."""
    images, network_of = sample_images(), network_maker(bundle, network, engines, targets)
    after_a_pause = {}
    for period_s in PERIODS:
        backend = GpuBackend(network, lambda: line_pipeline(bundle, network_of), keep_warm_every_s=period_s)
        try:
            back_to_back = [_frame_ms(backend, images[index % len(images)]) for index in range(2 * _WARM_UP_FRAMES)]
            row: dict[str, Any] = {"back_to_back": percentiles(back_to_back[_WARM_UP_FRAMES:])}
            for pause_s, count in PAUSES.items():
                row[f"{pause_s:g} s"] = percentiles([_after(backend, pause_s, images[0]) for _ in range(count)])
        finally:
            backend.close()
        after_a_pause["never" if period_s is None else f"{1000 * period_s:g} ms"] = row
    return {"network": network, "after_a_pause_ms": after_a_pause}


def _after(backend: GpuBackend, pause_s: float, image: U8, now_s: Callable[[], float] = time.monotonic) -> float:
    """Rest as the inspection loop does, then one frame."""
    due_s = now_s() + pause_s
    while (left_s := due_s - now_s()) > 0:
        time.sleep(min(left_s, TAKE_TIMEOUT_S, backend.keep_warm_every_s or TAKE_TIMEOUT_S))
        backend.keep_warm()
    return _frame_ms(backend, image)


def _frame_ms(backend: GpuBackend, image: U8) -> float:
    started_ns = time.perf_counter_ns()
    backend.score(image, StageClock(started_ns))
    return (time.perf_counter_ns() - started_ns) / 1e6


@program(
    option("--network", choices=NETWORKS, required=True),
    BUNDLE,
    option("--engines", type=Path, required=True, help="folder of built engines"),
    option("--compute-capability", dest="targets", type=int, action="append", default=[], metavar="86"),
)
def main(options: argparse.Namespace) -> Values:
    """Measure one network."""
    return measure(load_bundle(options.bundle.resolve()), options.network, options.engines, options.targets)


if __name__ == "__main__":
    raise SystemExit(main())
