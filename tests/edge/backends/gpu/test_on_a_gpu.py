"""The same on a real GPU: run by `make gpu-check`, skipped elsewhere."""

import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks.gpu.gpu_timing import free_bytes, open_session_here, shared_memory_reason
from benchmarks.gpu.stub_networks import CopyNetwork
from edge.backends import calibrated_backends
from edge.backends.gpu.cuda_device import read_cuda_device
from edge.backends.gpu.cuda_driver import CudaDriver
from edge.backends.gpu.cuda_session import open_pycuda
from edge.backends.gpu.device_network import PICTURE
from edge.backends.gpu.gpu_backend import REOPEN_FIRST_S, GpuBackend
from edge.backends.gpu.gpu_tensorrt import open_kernels, open_pipeline
from edge.bundles.bundle import load_bundle
from edge.core.errors import EdgeInspectError, ModelError
from edge.core.latency import StageClock
from edge.preprocessing.preprocess import Preprocess
from tests.small_bundle import SIZE, bad_part, good_part, make_bundle


def _no_gpu():
    try:
        open_pycuda()
    except EdgeInspectError as error:
        return error.message
    return None


NO_GPU = _no_gpu()
SHARED = "" if NO_GPU is not None else shared_memory_reason(read_cuda_device()) or ""
# on a board this would take the system's memory, and the kernel would end some program
own_memory = pytest.mark.skipif(bool(SHARED), reason=SHARED)
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(NO_GPU is not None, reason=f"no GPU can be used: {NO_GPU}")]
PARTS = [good_part(900 + seed) for seed in range(3)] + [bad_part(950 + seed) for seed in range(3)]


class GivenReconstruction(CopyNetwork):
    """Copies the reconstruction that it was given: the processor's network, as if the GPU had computed it."""

    def __init__(self, session, manifest):
        super().__init__(manifest)
        self._session = session
        self.source = session.device_memory(self.tensors["recon"].bytes)
        self.values = np.zeros(self.tensors["recon"].shape, np.float32)

    def give(self, values):
        self.values = np.ascontiguousarray(values, np.float32)
        with self._session.current():
            self._session.upload(self.source, self.values)
            self._session.synchronize()

    def enqueue(self, stream, addresses, count):
        for place in range(count):
            offset = place * self.tensors["recon"].bytes
            CudaDriver().copy_on_device(addresses["recon"] + offset, self.source, self.values.nbytes, stream)
        assert PICTURE in addresses


class Line:
    def __init__(self, bundle, **options):
        from edge.backends.cpu import open_network

        self.bundle, self.options, self.networks = bundle, options, []
        self.calibration = bundle.calibration("fp32")
        self.cpu = open_network("onnxruntime", bundle.read("model_fp32"), bundle.manifest, 1)
        (self.reference,) = calibrated_backends(
            "onnxruntime", bundle.read("model_fp32"), bundle.manifest, bundle.preprocess, self.calibration, 1
        )

    def pipeline(self):
        def network(session):
            self.networks.append(GivenReconstruction(session, self.bundle.manifest))
            return self.networks[-1]

        def kernels(session, opened):
            return open_kernels(session, opened, self.bundle.manifest, self.calibration, self.options.get("most", 1))

        return open_pipeline(
            open_session_here, network, kernels, self.bundle.preprocess, -1.0, self.options.get("most", 1)
        )

    def backend(self):
        return GpuBackend("gpu", self.pipeline)

    def prepare(self, image):
        """Let the processor's network see the picture, and give the GPU what it made of it."""
        from edge.kernels.cpu import planes_from_field

        view = self.bundle.preprocess
        planes_from_field(view.field(image), self.cpu.image)
        self.networks[-1].give(self.cpu.run().recon)


@pytest.fixture
def line(bundle_path):
    return Line(load_bundle(bundle_path))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"preprocess": {"rectangle": (8, 4, 40, 36)}},
        {"preprocess": {"polygon": ((4, 4), (60, 6), (32, 44))}},
        {"preprocess": {"fit": "letterbox"}},
    ],
)
def test_scores_maps_and_areas_are_those_of_the_processor(tmp_path, changes):
    line = Line(make_bundle(tmp_path / "plate", **changes))
    backend = line.backend()
    for part in PARTS:
        line.prepare(part)
        ours, reference = (each.score(part, StageClock(0)) for each in (backend, line.reference))
        assert ours.score == pytest.approx(reference.score, abs=2e-3)
        assert ours.values == pytest.approx(reference.values, abs=1e-3)
    backend.close()


@pytest.mark.parametrize("size", [(48, 64), (1, 257), (255, 255), (1080, 1920), (32, 32)])
def test_a_frame_of_any_size_is_recorded_into_one_graph(line, size):
    part = good_part(1, max(size[0], 8), max(size[1], 8))[: size[0], : size[1]].copy()
    pipeline = line.pipeline()
    line.prepare(part)
    pipeline.stage([part])
    scored = pipeline.maps(pipeline.run())[0]
    assert scored.score == pytest.approx(line.reference.score(part, StageClock(0)).score, abs=2e-3)
    assert pipeline.graph_nodes is not None and pipeline.graph_nodes >= 4
    pipeline.close()


def test_pictures_judged_together_score_as_each_alone(bundle_path):
    line = Line(load_bundle(bundle_path), most=4)
    backend = line.backend()
    line.prepare(PARTS[0])
    alone = [backend.score(part, StageClock(0)).score for part in PARTS[:4]]
    assert [each.score for each in backend.score_many(PARTS[:4], StageClock(0))] == alone
    backend.close()


@own_memory
def test_memory_of_the_device_stays_as_it_was_over_frames_and_openings(line):
    watching = open_session_here()
    for _ in range(3):
        line.backend().close()
    with watching.current():
        before = free_bytes()
    for _ in range(5):
        backend = line.backend()
        for index in range(400):
            backend.score(PARTS[index % len(PARTS)], StageClock(0))
        backend.close()
    with watching.current():
        assert free_bytes() >= before - 4_000_000
    watching.close()


@own_memory
def test_out_of_memory_is_an_error_of_the_frame_and_what_fits_goes_on(line):
    backend = line.backend()
    hog = open_session_here()
    with hog.current():
        hog.device_memory(free_bytes() - 64_000_000)
        with pytest.raises(ModelError, match="memory"):
            backend.score(np.zeros((8000, 8000, 3), np.uint8) + 90, StageClock(0))
    hog.close()
    time.sleep(REOPEN_FIRST_S)
    assert backend.score(PARTS[0], StageClock(0)).score >= 0
    backend.close()


# breaks the context for the whole process, so it has one of its own
BREAK = """
import sys, time
from pathlib import Path
from edge.bundles.bundle import load_bundle
from edge.core.errors import ModelError
from edge.core.latency import StageClock
from tests.edge.backends.gpu.test_on_a_gpu import PARTS, Line
line = Line(load_bundle(Path(sys.argv[1])))
backend = line.backend()
line.prepare(PARTS[-1])
whole = backend.score(PARTS[-1], StageClock(0)).score
pipeline = backend._pipeline
good, pipeline._map_address = pipeline._map_address, 64
try:
    # recorded anew with an address that is nobody's
    backend.score(PARTS[-1][:-1], StageClock(0))
    sys.exit("the GPU wrote to address 64")
except ModelError as error:
    print("lost:", error.message)
time.sleep(1)
backend.keep_warm()
line.prepare(PARTS[-1])
again = backend.score(PARTS[-1], StageClock(0)).score
print(whole, again)
sys.exit(0 if whole == again else "another score after the loss")
"""


def test_a_broken_device_is_reset_and_gives_the_same_score_again(bundle_path):
    result = subprocess.run(
        [sys.executable, "-c", BREAK, str(bundle_path)], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "lost:" in result.stdout


def test_the_field_is_the_one_of_the_processor(line):
    part = good_part(7, 480, 640)
    pipeline = line.pipeline()
    pipeline.stage([part])
    pipeline.run()
    fetched = pipeline._session
    with fetched.current():
        picture = fetched.pinned((3, SIZE, SIZE), np.float32)
        fetched.fetch(picture, pipeline._addresses[PICTURE])
        fetched.synchronize()
        expected = (
            Preprocess(SIZE, SIZE).field(part).transpose(2, 0, 1)[::-1].astype(np.float32) * np.float32(2 / 255) - 1
        )
        assert picture == pytest.approx(expected, abs=1e-6)
        del picture
    pipeline.close()
