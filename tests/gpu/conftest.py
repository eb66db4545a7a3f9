import pytest

from edge.backends import calibrated_backends
from edge.backends.cuda_driver import CudaDriver
from edge.backends.cuda_session import CudaSession
from edge.backends.gpu_backend import GpuBackend
from edge.backends.gpu_pipeline import GpuPipeline
from edge.bundle import load_bundle
from tests.gpu.fake_cuda import FakeGpu
from tests.gpu.host_kernels import HostKernels, HostNetwork


@pytest.fixture
def gpu():
    """A fake GPU on which nothing may be left at the end."""
    made = FakeGpu()
    yield made
    assert made.live() == {}
    assert made.left_behind == []


class Line:
    """A bundle on the fake GPU: opens pipelines and backends, and keeps what they were made of."""

    def __init__(self, gpu, bundle, precision="fp32", *, maps_above=-1.0, most=1, largest_batch=1):
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: no network can stand in")
        self.gpu, self.bundle, self.precision = gpu, bundle, precision
        self.maps_above, self.most, self.largest_batch = maps_above, most, largest_batch
        self.calibration = bundle.calibration(precision)
        self.networks, self.kernels, self.pipelines, self.now_s = [], [], [], 100.0

    def pipeline(self):
        bundle, gpu = self.bundle, self.gpu
        session = CudaSession(gpu.pycuda, CudaDriver(gpu.library))
        model, engine = bundle.read(f"model_{self.precision}"), bundle.engine_sha256(self.precision)
        self.networks.append(HostNetwork(gpu, model, engine, bundle.manifest, self.largest_batch))
        self.kernels.append(HostKernels(gpu, bundle.manifest, bundle.preprocess, self.calibration))
        made = GpuPipeline(session, self.networks[-1], self.kernels[-1], bundle.preprocess, self.maps_above, self.most)
        self.pipelines.append(made)
        return made

    def backend(self):
        return GpuBackend("gpu", self.pipeline, lambda: self.now_s)

    def cpu_backend(self, name="openvino"):
        bundle = self.bundle
        model = bundle.read(f"model_{self.precision}")
        return calibrated_backends(name, model, bundle.manifest, bundle.preprocess, self.calibration, 1)[0]


@pytest.fixture
def line_of(gpu, bundle_path):
    """Makes a Line of the tiny bundle, or of another one."""

    def make(bundle=None, **options):
        return Line(gpu, bundle or load_bundle(bundle_path), **options)

    return make
