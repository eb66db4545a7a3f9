"""What the kernels take on this GPU: `python -m benchmarks.gpu.kernels [--out FILE.json]`.

Residual and reduction of a large batch against the card's own copy, counting each input read once and each output
written once; against the same maps by PyTorch, eager and compiled, in the same run; and one frame inside a CUDA graph.
A figure counts only where the maps agree, so the difference stands beside it.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.gpu.gpu_timing import DeviceClock, open_session_here
from benchmarks.program import Values, option, program
from edge.backends.gpu.cuda_device import read_cuda_device
from edge.backends.gpu.cuda_driver import CudaDriver
from edge.backends.gpu.cuda_session import CudaSession
from edge.backends.gpu.gpu_tensorrt import open_module
from edge.core.manifest import ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec
from edge.kernels.cpu import NormalStatistics
from edge.kernels.cuda.launch import ScoreKernels
from edge.kernels.cuda.plan import ScorePlan

BATCH, SIDE = 64, 1024
FRAME_SIDE = 256
REPEATS, IN_GRAPH = 50, 50
# score paths from the cheapest to all terms; what is not weighted must not cost
SPECS = {
    "l1": ScoreSpec(residual=ResidualSpec(w_l1=1), smooth=SmoothSpec(radius=10)),
    "gms": ScoreSpec(residual=ResidualSpec(w_l1=0.2, w_gms=0.8), smooth=SmoothSpec(radius=10)),
    "all": ScoreSpec(
        residual=ResidualSpec(w_l1=0.2, w_l2=0.2, w_ssim=0.2, w_gms=0.2, w_col=0.2), smooth=SmoothSpec(radius=10)
    ),
}


class Bench:
    """Frames, a reconstruction and all that the kernels read and write, on the device."""

    def __init__(self, session: CudaSession, spec: ScoreSpec, side: int, batch: int) -> None:
        self.session, self.spec, self.side, self.batch = session, spec, side, batch
        # as engines have it, all but FP32 ones (export/fp16.py)
        plan = ScorePlan(
            spec=spec, field=(side, side), outputs=("recon",), batch=batch, input_type="f16", output_type="f16",
            multiprocessors=read_cuda_device().multiprocessors,
        )  # fmt: skip
        self.statistics = NormalStatistics(
            np.full(plan.map_shape, 0.02, np.float32), np.full(plan.map_shape, 30, np.float32)
        )
        self.kernels = ScoreKernels(open_module(session), plan, session, self.statistics)
        random = np.random.default_rng(0)
        # one frame again and again: the time does not depend on what they show
        frame = random.integers(0, 256, (side, side, 3), np.uint8)
        picture = frame.transpose(2, 0, 1)[::-1].astype(np.float32) * np.float32(2 / 255) - 1
        recon = np.clip(picture + random.normal(0, 0.1, picture.shape), -1, 1).astype(np.float16)
        self.frames, self.recon = np.tile(frame, (batch, 1, 1, 1)), np.tile(recon, (batch, 1, 1, 1))
        self.frame_address = self._put(self.frames)
        self.recon_address = self._put(self.recon)
        self.pictures = session.device_memory(self.recon.nbytes)
        self.maps = session.device_memory(4 * batch * side * side)
        self.results = session.device_memory(batch * plan.result_bytes)
        self.preprocess()
        session.synchronize()

    def _put(self, values: np.ndarray[Any, Any]) -> int:
        address = self.session.device_memory(values.nbytes)
        self.session.upload(address, values)
        return address

    def preprocess(self) -> None:
        stream = self.session.pycuda_stream
        self.kernels.preprocess(stream, self.frame_address, self.pictures, self.batch, self.side, self.side)

    def score(self) -> None:
        stream, outputs = self.session.pycuda_stream, {"recon": self.recon_address}
        self.kernels.score(stream, outputs, self.maps, self.results, self.batch)

    def whole_frame(self) -> None:
        self.preprocess()
        self.score()

    @property
    def bytes_once(self) -> int:
        """Picture bytes, reconstruction and statistics read once, map and result written once."""
        pixels = self.batch * self.side * self.side
        return pixels * (3 + 6 + 4) + 2 * 4 * self.side * self.side + self.batch * self.kernels.result_bytes

    def fetched_maps(self) -> np.ndarray[Any, Any]:
        fetched = self.session.pinned((self.batch, self.side, self.side), np.float32)
        self.session.fetch(fetched, self.maps)
        self.session.synchronize()
        return np.array(fetched)


def measure(batch: int = BATCH, side: int = SIDE, frame_side: int = FRAME_SIDE) -> dict[str, Any]:
    """All figures of this GPU; milliseconds, and GB/s of reading and writing together."""
    values: dict[str, Any] = {
        "batch": [batch, side, side], "frame": [frame_side, frame_side], "maps": {}, "frame_in_graph_us": {},
    }  # fmt: skip
    for name, spec in SPECS.items():
        with _Opened(spec, side, batch) as (bench, clock):
            values["maps"][name] = _against_copy(bench, clock) | _against_torch(bench, clock)
        with _Opened(spec, frame_side, 1) as (bench, clock):
            spent = clock.milliseconds_in_graph(bench.whole_frame, IN_GRAPH, REPEATS)
            values["frame_in_graph_us"][name] = round(1000 * spent, 2)
    return values


class _Opened:
    """A bench in a session of its own, which is closed with everything in it."""

    def __init__(self, spec: ScoreSpec, side: int, batch: int) -> None:
        self._session = open_session_here()
        self._arguments = (spec.model_copy(update={"image_score": ImageScoreSpec(k=100)}), side, batch)
        self._current = self._session.current()

    def __enter__(self) -> tuple[Bench, DeviceClock]:
        self._current.__enter__()
        try:
            self._bench, self._clock = Bench(self._session, *self._arguments), DeviceClock(self._session)
            return self._bench, self._clock
        except BaseException:
            self._current.__exit__(None, None, None)
            self._session.close()
            raise

    def __exit__(self, *error: Any) -> None:
        self._clock.close()
        self._bench.kernels.close()
        self._current.__exit__(None, None, None)
        self._session.close()


def _against_copy(bench: Bench, clock: DeviceClock) -> dict[str, Any]:
    session, driver = bench.session, CudaDriver()
    half = bench.bytes_once // 2
    source, target = session.device_memory(half), session.device_memory(half)
    copy_ms = clock.milliseconds(lambda: driver.copy_on_device(target, source, half, session.stream), REPEATS)
    score_ms = clock.milliseconds(bench.score, REPEATS)
    session.free(source)
    session.free(target)
    return {
        "kernels_ms": round(score_ms, 4),
        "kernels_gb_per_s": round(bench.bytes_once / score_ms / 1e6, 1),
        "copy_gb_per_s": round(2 * half / copy_ms / 1e6, 1),
        "share_of_copy": round(copy_ms / score_ms, 4),
    }


def _against_torch(bench: Bench, clock: DeviceClock) -> dict[str, Any]:
    if find_spec("torch") is None:
        return {"torch": "not installed"}
    import torch

    if not torch.cuda.is_available():
        return {"torch": f"{torch.__version__} has no CUDA"}
    found: dict[str, Any] = {"torch": torch.__version__}
    try:
        found |= _torch_figures(torch, bench, clock)
    # a card that PyTorch fills has still measured our kernels
    except Exception as error:  # noqa: BLE001
        found["torch_failed"] = str(error)[-500:]
    finally:
        torch.cuda.empty_cache()
    return found


def _torch_figures(torch: Any, bench: Bench, clock: DeviceClock) -> dict[str, Any]:
    from benchmarks.gpu.torch_score_path import torch_maps

    ours = bench.fetched_maps()
    found: dict[str, Any] = {}
    stream: Any = torch.cuda.ExternalStream(bench.session.stream)
    with torch.cuda.stream(stream), torch.no_grad():
        statistics = (torch.from_numpy(values).cuda() for values in (bench.statistics.mean, bench.statistics.inv_std))
        maps = torch_maps(torch, bench.spec, *statistics)
        recon = torch.from_numpy(bench.recon).cuda()
        frames = torch.from_numpy(bench.frames).cuda().permute(0, 3, 1, 2).flip(1)
        pictures = (frames.float() * (2 / 255) - 1).contiguous()
        theirs, _ = maps(pictures, recon)
        found["map_difference"] = float(np.abs(theirs.cpu().numpy() - ours).max())
        for way, function in (("eager", maps), ("compiled", torch.compile(maps))):
            try:
                spent = clock.milliseconds(lambda function=function: function(pictures, recon), REPEATS)  # type: ignore[misc]
            # whatever stops the compiler is an answer, and the others are still wanted
            except Exception as error:  # noqa: BLE001
                found[f"{way}_failed"] = str(error)[-500:]
                continue
            found[f"{way}_ms"] = round(spent, 4)
    return found


@program(option("--batch", type=int, default=BATCH), option("--side", type=int, default=SIDE))
def main(options: argparse.Namespace) -> Values:
    """Measure every score path."""
    return measure(options.batch, options.side)


if __name__ == "__main__":
    raise SystemExit(main())
