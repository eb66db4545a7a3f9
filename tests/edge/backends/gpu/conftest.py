import sys
from collections import Counter, defaultdict
from types import ModuleType

import pytest

from edge.backends import calibrated_backends
from edge.backends.aligning import AligningBackend
from edge.backends.gpu import gpu_tensorrt
from edge.backends.gpu.cuda_device import CudaDevice
from edge.backends.gpu.gpu_backend import GpuBackend
from edge.backends.gpu.gpu_tensorrt import open_kernels, open_pipeline, open_session
from edge.bundles.bundle import load_bundle
from edge.core.latency import StageClock
from tests.edge.backends.gpu.fakes.fake_cuda import FakeGpu
from tests.edge.backends.gpu.fakes.host_network import HostNetwork
from tests.small_bundle import bad_part, good_part

DEVICE = CudaDevice("Fake RTX", "8.6", "550.54", "12.4")
PARTS = [good_part(900 + seed) for seed in range(3)] + [bad_part(950 + seed) for seed in range(3)]


def score(backend, image):
    return backend.score(image, StageClock(0))


def install(patch, gpu):
    """This process finds the fake GPU where it looks for pycuda, the driver, and compiled kernels."""
    package = ModuleType("pycuda")
    package.driver = gpu.pycuda
    patch.setitem(sys.modules, "pycuda", package)
    patch.setitem(sys.modules, "pycuda.driver", gpu.pycuda)
    patch.setattr("edge.backends.gpu.cuda_driver.open_driver", lambda: gpu.library)
    # what a failed test left open is of another GPU
    patch.setattr("edge.backends.gpu.cuda_session._sessions", Counter())
    patch.setattr("edge.backends.gpu.cuda_session._broken", set())
    patch.setattr("edge.backends.gpu.cuda_session._registered", defaultdict(dict))
    patch.setattr(gpu_tensorrt, "read_cuda_device", lambda: DEVICE)
    patch.setattr(gpu_tensorrt, "kernel_image", lambda *asked: b"kernels")


@pytest.fixture
def gpu(monkeypatch):
    """A fake GPU on which nothing may be left at the end."""
    made = FakeGpu()
    install(monkeypatch, made)
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
        self.keep_warm_s = 1.0

    def pipeline(self):
        bundle, gpu = self.bundle, self.gpu

        def network(session):
            model, engine = bundle.read(f"model_{self.precision}"), bundle.model_sha256(self.precision)
            self.networks.append(HostNetwork(gpu, model, engine, bundle.manifest, self.largest_batch))
            return self.networks[-1]

        def kernels(session, opened):
            self.kernels.append(open_kernels(session, opened, bundle.manifest, self.calibration, self.most))
            return self.kernels[-1]

        inside = bundle.preprocess.of_placed_views
        made = open_pipeline(open_session, network, kernels, inside, self.maps_above, self.most)
        self.pipelines.append(made)
        return made

    def backend(self):
        backend = GpuBackend("gpu", self.pipeline, lambda: self.now_s, self.keep_warm_s)
        return AligningBackend(backend, self.bundle.preprocess) if self.bundle.preprocess.places else backend

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
