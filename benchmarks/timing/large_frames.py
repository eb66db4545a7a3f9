"""Frames a second of a bundle of tiles, and the share that is lost against its bare engine, frame by frame in turn.

The bare engine is the network alone, its input filled and nothing read, called as often as it takes to see every pixel
of the field once: tiles without halos, as many at a time as the bundle runs. What is lost is scaling, halos, cutting,
stitching and the score path. Processor time is taken of all threads: other programs lengthen a frame, and hardly that.
Halos are stated by themselves, too: what the network sees over the field.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.program import Values, option, program
from benchmarks.quality.large_frames.sheets import drawn_sheet
from edge.backends import calibrated_backends
from edge.backends.openvino_core import openvino_core
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.core.errors import UsageError
from edge.core.latency import StageClock
from edge.core.progress import progress_bar
from edge.preprocessing.tiling import Tiling, tiling_of

STREAMS = 2


class BareTiles:
    """The network over so many pictures of a tile, in infer requests that are never waited for one by one."""

    def __init__(self, model: bytes, tiling: Tiling, streams: int, threads: int | None) -> None:
        import openvino

        graph = openvino_core().read_model(io.BytesIO(model))
        graph.reshape([1, 3, *tiling.tile])
        config: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": streams, "INFERENCE_PRECISION_HINT": "f32",
        }  # fmt: skip
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        compiled = openvino_core().compile_model(graph, "CPU", config)
        self._queue = openvino.AsyncInferQueue(compiled, streams)
        random = np.random.default_rng(0)
        # kept: the tensors do not own their memory
        self._images = [random.uniform(-1, 1, (1, 3, *tiling.tile)).astype(np.float32) for _ in range(streams)]
        for request, image in zip(self._queue, self._images, strict=True):
            request.set_tensor(compiled.inputs[0], openvino.Tensor(image, shared_memory=True))

    def run(self, tiles: int) -> None:
        for _ in range(tiles):
            self._queue.start_async()
        self._queue.wait_all()


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds on the clock, and of the processor in all threads."""
    started, used = time.perf_counter_ns(), time.process_time_ns()
    call()
    return (time.perf_counter_ns() - started) / 1e6, (time.process_time_ns() - used) / 1e6


def measured(
    bundle: ModelBundle, precision: str, size: tuple[int, int], rounds: int, threads: int | None
) -> dict[str, Any]:
    """Frames of `size` (height, width) and bare calls in turn; every figure of one round stands beside the others."""
    tiling = tiling_of(bundle.manifest)
    if tiling is None:
        raise UsageError(f"{bundle.path} inspects no tiles", fix="give a --bundle made with `train --tiles`")
    model = bundle.read(f"model_{precision}")
    # a network that is not calibrated yet has the other's statistics: the time is the same
    known = precision if f"calibration_{precision}" in bundle.manifest.files else "fp32"
    calibration = bundle.calibration(known, uncalibrated=True)
    (backend,) = calibrated_backends("openvino", model, bundle.manifest, bundle.preprocess, calibration, threads)
    # pixels of the field over those of a tile: so many calls would see it once if no halo were needed
    needed = round(tiling.field[0] * tiling.field[1] / (tiling.tile[0] * tiling.tile[1]))
    two, one = (BareTiles(model, tiling, streams, threads) for streams in (STREAMS, 1))
    frame = drawn_sheet(0, *size)
    stages: dict[str, list[float]] = {name: [] for name in ("preprocess", "infer", "residual")}

    def inspected() -> None:
        clock = StageClock(time.perf_counter_ns())
        backend.score(frame, clock)
        laps = clock.times()
        for name, values in stages.items():
            values.append(getattr(laps, name))

    calls: dict[str, Callable[[], object]] = {
        "frame": inspected,
        "bare_without_halos": lambda: two.run(needed),
        "bare_all_tiles": lambda: two.run(len(tiling)),
        "bare_all_tiles_one_stream": lambda: one.run(len(tiling)),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    for name in calls:
        calls[name]()
    for values in stages.values():
        values.clear()
    with progress_bar("frames and bare calls in turn") as advance:
        for number in range(rounds):
            # who comes first changes: it finds the caches as the others left them
            for name in np.roll(list(calls), number).tolist():
                for kept, value in zip((times, cpu), timed(calls[name]), strict=True):
                    kept[name].append(value)
            advance(number + 1, rounds)
    backend.close()
    return summary(times, cpu, stages, tiling, precision)


def summary(
    times: dict[str, list[float]],
    cpu: dict[str, list[float]],
    stages: dict[str, list[float]],
    tiling: Tiling,
    precision: str,
) -> dict[str, Any]:
    """Medians, and the ratios of each round, which a busy machine changes least."""
    frame = np.array(times["frame"])

    def lost(name: str, kind: dict[str, list[float]]) -> float:
        return round(float(np.median(1 - np.array(kind[name]) / np.array(kind["frame"]))), 4)

    seen = len(tiling) * tiling.tile[0] * tiling.tile[1] / (tiling.field[0] * tiling.field[1])
    two, one = (np.array(times[name]) for name in ("bare_all_tiles", "bare_all_tiles_one_stream"))
    return {
        "precision": precision,
        "field_px": list(tiling.field[::-1]),
        "tile_px": list(tiling.tile[::-1]),
        "tiles": len(tiling),
        "halo_px": tiling.halo,
        "frames_per_second": round(1000 / float(np.median(frame)), 3),
        "frames_per_second_quickest": round(1000 / float(frame.min()), 3),
        "lost_against_bare_engine": lost("bare_without_halos", times),
        "lost_beside_the_halos": lost("bare_all_tiles", times),
        "processor_time_lost_against_bare_engine": lost("bare_without_halos", cpu),
        "processor_time_lost_beside_the_halos": lost("bare_all_tiles", cpu),
        "pixels_seen_over_field": round(seen, 4),
        "two_streams_over_one": round(float(np.median(two / one)), 4),
        "median_ms": {name: round(float(np.median(values)), 2) for name, values in (times | stages).items()},
        "processor_ms": {name: round(float(np.median(values)), 2) for name, values in cpu.items()},
        "times_ms": {name: [round(value, 2) for value in values] for name, values in times.items()},
    }


@program(
    option("--bundle", type=Path, required=True, help="made with `train --tiles`"),
    option("--height", type=int, default=3072),
    option("--width", type=int, default=4096),
    option("--rounds", type=int, default=20),
    option("--precision", choices=("auto", "int8", "fp32"), default="auto"),
    option("--threads", type=int, help="of the network (default: all cores)"),
)
def main(options: argparse.Namespace) -> Values:
    """Time a bundle on drawn frames."""
    bundle = load_bundle(options.bundle)
    size = (options.height, options.width)
    found = measured(bundle, bundle.precision(options.precision), size, options.rounds, options.threads)
    return {"method": bundle.manifest.method, "variant": bundle.manifest.variant, "frame_px": list(size[::-1]), **found}


if __name__ == "__main__":
    raise SystemExit(main())
