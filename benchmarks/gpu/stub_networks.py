"""Networks on the device for machines without TensorRT, so that every kernel, copy and graph runs on any CUDA machine.

`onnxruntime` runs the bundle's own network through its CUDA provider; `torch` blurs, and needs PyTorch with CUDA;
`copy` returns the picture, and needs nothing. What a stub takes says nothing about an engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge.backends.gpu.cuda_driver import CudaDriver
from edge.backends.gpu.cuda_session import CudaSession
from edge.backends.gpu.device_network import PICTURE, DeviceNetwork, DeviceTensor
from edge.core.errors import MissingDependency, ModelError
from edge.core.manifest import Manifest

STUB_NETWORKS = ("onnxruntime", "torch", "copy")


def stub_tensors(manifest: Manifest) -> dict[str, DeviceTensor]:
    """Input and outputs as a stub has them: FP32; distances at a quarter of either side."""
    field = (manifest.input.height, manifest.input.width)
    shapes = {
        PICTURE: (3, *field), "recon": (3, *field), "seg_logit": (1, *field),
        "emb_dist": (1, field[0] // 4, field[1] // 4),
    }  # fmt: skip
    return {name: DeviceTensor(shapes[name], fp16=False) for name in (PICTURE, *manifest.outputs)}


def open_stub(name: str, session: CudaSession, model: bytes, manifest: Manifest) -> DeviceNetwork:
    """Raises MissingDependency where it cannot run here."""
    if name == "onnxruntime":
        return OnnxRuntimeCudaNetwork(session, model, manifest)
    if name == "torch":
        return TorchBlur(manifest)
    return CopyNetwork(manifest)


class _StubNetwork:
    """What all stub networks say of themselves."""

    def __init__(self, name: str, manifest: Manifest, largest_batch: int) -> None:
        self.engine_sha256 = f"stub {name}"
        self.largest_batch = largest_batch
        self._tensors = stub_tensors(manifest)

    @property
    def tensors(self) -> Mapping[str, DeviceTensor]:
        return self._tensors

    def can_be_captured(self, stream: int) -> bool:
        return True

    def first_run_done(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is held."""


class CopyNetwork(_StubNetwork):
    """`recon` is the picture itself, bit for bit; other outputs are zeros: copies by the driver, and nothing else."""

    def __init__(self, manifest: Manifest, driver: CudaDriver | None = None) -> None:
        super().__init__("copy", manifest, largest_batch=4096)
        self._driver = driver or CudaDriver()

    def enqueue(self, stream: int, addresses: Mapping[str, int], count: int) -> None:
        for name, tensor in self._tensors.items():
            if name == "recon":
                self._driver.copy_on_device(addresses[name], addresses[PICTURE], count * tensor.bytes, stream)
            elif name != PICTURE:
                self._driver.fill_zero(addresses[name], count * tensor.bytes, stream)


class TorchBlur(_StubNetwork):
    """`recon` is the picture's 3x3 mean, by PyTorch on our stream, in our memory; other outputs are zeros."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__("torch", manifest, largest_batch=4096)
        import torch

        if not torch.cuda.is_available():
            raise MissingDependency(
                "torch has no CUDA here", fix="install PyTorch for CUDA, or use another stub network"
            )
        self._torch = torch

    def enqueue(self, stream: int, addresses: Mapping[str, int], count: int) -> None:
        torch = self._torch
        with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
            arrays = {
                name: torch.as_tensor(_OnDevice(addresses[name], (count, *tensor.shape)), device="cuda")
                for name, tensor in self._tensors.items()
            }
            for name, values in arrays.items():
                if name == "recon":
                    blur = torch.ops.aten.avg_pool2d.out
                    blur(arrays[PICTURE], [3, 3], [1, 1], [1, 1], False, False, out=values)
                elif name != PICTURE:
                    values.zero_()


class _OnDevice:
    """FP32 memory that is ours, as other libraries take it."""

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        self.__cuda_array_interface__ = {"shape": shape, "typestr": "<f4", "data": (address, False), "version": 3}


class OnnxRuntimeCudaNetwork(_StubNetwork):
    """The bundle's network in ONNX Runtime's CUDA provider, on our stream and in our memory."""

    def __init__(self, session: CudaSession, model: bytes, manifest: Manifest) -> None:
        super().__init__("onnxruntime", manifest, largest_batch=1)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        provider = ("CUDAExecutionProvider", {"user_compute_stream": str(session.stream)})
        try:
            self._session: Any = onnxruntime.InferenceSession(model, options, providers=[provider])
        except Exception as error:
            raise MissingDependency(
                f"ONNX Runtime has no CUDA here: {error}", fix="use another stub network"
            ) from error
        if "CUDAExecutionProvider" not in self._session.get_providers():
            raise MissingDependency("ONNX Runtime has no CUDA here", fix="pip install onnxruntime-gpu")
        shapes = {output.name: tuple(output.shape[1:]) for output in self._session.get_outputs()}
        self._tensors |= {name: DeviceTensor(shapes[name], fp16=False) for name in manifest.outputs}
        self._run_options = onnxruntime.RunOptions()
        # the stream is waited for once, by whoever owns it
        self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def enqueue(self, stream: int, addresses: Mapping[str, int], count: int) -> None:
        binding = self._session.io_binding()
        for name, tensor in self._tensors.items():
            bind = binding.bind_input if name == PICTURE else binding.bind_output
            bind(name, "cuda", 0, np.float32, (1, *tensor.shape), addresses[name])
        try:
            self._session.run_with_iobinding(binding, self._run_options)
        except Exception as error:
            raise ModelError(f"ONNX Runtime failed: {error}", fix="use another stub network") from error

    def close(self) -> None:
        self._session = None
