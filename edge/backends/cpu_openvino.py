"""OpenVINO on the CPU: the default backend."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from edge.errors import BundleError, ModelError
from edge.kernels.cpu import NetworkOutputs
from edge.manifest import Manifest

_DAMAGED = "make the bundle anew with `edge-inspect train`, or update openvino"


class OpenVinoNetwork:
    """Network protocol over one OpenVINO infer request with buffers shared both ways."""

    name = "openvino"

    def __init__(self, model: bytes, manifest: Manifest, threads: int | None) -> None:
        import openvino

        side = manifest.input.size
        config: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            # processors with bfloat16 would otherwise round FP32 layers, and score differently from all others
            "INFERENCE_PRECISION_HINT": "f32",
        }
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        try:
            core = openvino.Core()
            graph = core.read_model(io.BytesIO(model))
            graph.reshape([1, 3, side, side])
            self._compiled = core.compile_model(graph, "CPU", config)
            names = {name: port for port in self._compiled.outputs for name in port.get_names()}
            ports = {name: names[name] for name in manifest.outputs}
        except KeyError as error:
            raise BundleError(f"the network has no output {error}", fix=_DAMAGED) from error
        except RuntimeError as error:
            raise BundleError(f"OpenVINO refuses the network: {_first_line(error)}", fix=_DAMAGED) from error
        self._request = self._compiled.create_infer_request()
        self.image = np.zeros((3, side, side), np.float32)
        self._request.set_input_tensor(openvino.Tensor(self.image[None], shared_memory=True))
        self._outputs = NetworkOutputs(
            **{name: _plane(self._request.get_tensor(port).data) for name, port in ports.items()}
        )

    def run(self) -> NetworkOutputs:
        try:
            # shared, or it would copy every output into a dictionary that nobody reads
            self._request.infer(share_outputs=True)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO failed: {_first_line(error)}", fix="see `edge-inspect doctor`") from error
        return self._outputs

    def close(self) -> None:
        del self._request, self._compiled


def _plane(data: Any) -> Any:
    """(1, 3, s, s) → (3, s, s); (1, 1, h, w) → (h, w)."""
    return data[0] if data.shape[1] == 3 else data[0, 0]


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
