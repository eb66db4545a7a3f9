"""A backend's life with the real pycuda on the C driver; prints what happened as JSON. Run by test_real_pycuda.py."""

import ctypes
import gc
import json
import sys
import threading

import numpy as np

from benchmarks.gpu.stub_networks import CopyNetwork
from edge.backends.gpu.device_network import FetchedNetwork
from edge.backends.gpu.gpu_backend import REOPEN_FIRST_S, REOPEN_MAX_S, GpuBackend
from edge.backends.gpu.gpu_tensorrt import open_pipeline, open_session
from edge.core.errors import ModelError
from edge.core.latency import StageClock
from edge.kernels.cpu import NormalStatistics
from edge.kernels.cuda.launch import CudaModule, ScoreKernels
from edge.kernels.cuda.plan import ScorePlan
from edge.preprocessing.preprocess import Preprocess
from tests.small_bundle import SIZE, manifest

NAMES = (
    "device", "pinned", "streams", "modules", "contexts", "graphs", "executables", "current", "launches", "resets",
    "kernels", "registered",
)  # fmt: skip
driver = ctypes.CDLL("libcuda.so.1")
broken, full = (ctypes.c_int.in_dll(driver, name) for name in ("broken", "full"))
found: dict[str, object] = {}
now_s = 0.0


def note(moment: str) -> None:
    gc.collect()
    counts = (ctypes.c_int * len(NAMES))()
    driver.report(counts)
    found[moment] = dict(zip(NAMES, counts, strict=True))


def kernels(session, network):
    plan = ScorePlan(spec=manifest().score, field=(SIZE, SIZE), outputs=("recon",))
    plane = np.ones((SIZE, SIZE), np.float32)
    opened = ScoreKernels(CudaModule(b"kernels"), plan, session, NormalStatistics(plane, plane))
    # the C driver launches nothing, so there is no result to read
    opened.read = lambda result: type("Result", (), {"score": 0.5, "area_px": 0})
    return opened


def pipeline():
    return open_pipeline(open_session, lambda session: CopyNetwork(manifest()), kernels, Preprocess(SIZE, SIZE), 1.0)


def score(height: int, width: int) -> None:
    """In a thread of its own, as on a line."""

    def work() -> None:
        try:
            backend.score(np.zeros((height, width, 3), np.uint8), StageClock(0))
        except ModelError as error:
            found.setdefault("errors", []).append(error.message)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


backend = GpuBackend("gpu", pipeline, lambda: now_s)
note("open")
for size in ((48, 64), (48, 64), (480, 640)):
    score(*size)
note("scored")
broken.value = 1
score(48, 64)
note("lost")
now_s += REOPEN_FIRST_S
score(48, 64)
note("back")
full.value = 1
score(1000, 1000)
note("full")
full.value = 0
now_s += REOPEN_MAX_S
score(48, 64)
backend.close()
backend.close()
note("closed")
session = open_session()
network = FetchedNetwork("copy", session, CopyNetwork(manifest()), manifest())
network.image[:] = 0.25
found["fetched"] = float(network.run().recon.mean())
network.close()
note("end")
json.dump(found, sys.stdout)
