"""The project's CUDA kernels as the pipeline uses them."""

from __future__ import annotations

from edge.backends.cuda_session import CudaSession
from edge.backends.device_network import DeviceNetwork
from edge.backends.gpu_pipeline import ScoreKernels
from edge.bundle import Calibration
from edge.manifest import Manifest


def open_kernels(
    session: CudaSession, network: DeviceNetwork, manifest: Manifest, calibration: Calibration, most: int
) -> ScoreKernels:
    raise NotImplementedError
