"""ONNX Runtime on the CPU: the portable second backend."""

from __future__ import annotations

import numpy as np

from edge.core.errors import BundleError, ModelError
from edge.core.manifest import Manifest
from edge.kernels.cpu import NetworkOutputs


class OnnxRuntimeNetwork:
    """Network protocol over one ONNX Runtime session."""

    name = "onnxruntime"

    def __init__(self, model: bytes, manifest: Manifest, threads: int | None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # errors reach the user as verdicts; warnings about the graph do not help anyone on the line
        options.log_severity_level = 4
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise BundleError(
                f"ONNX Runtime refuses the network: {_first_line(error)}",
                fix="make the bundle anew with `edge-inspect train`, or update onnxruntime",
            ) from error
        given = {output.name for output in self._session.get_outputs()}
        missing = [name for name in manifest.outputs if name not in given]
        if missing:
            raise BundleError(f"the network has no output {missing[0]!r}", fix="make the bundle anew")
        self._names = list(manifest.outputs)
        self._input = self._session.get_inputs()[0].name
        self.image = np.zeros((3, manifest.input.height, manifest.input.width), np.float32)

    def run(self) -> NetworkOutputs:
        try:
            results = self._session.run(self._names, {self._input: self.image[None]})
        except Exception as error:
            raise ModelError(f"ONNX Runtime failed: {_first_line(error)}", fix="see `edge-inspect doctor`") from error
        planes = [data[0] if data.shape[1] == 3 else data[0, 0] for data in results]
        return NetworkOutputs(**dict(zip(self._names, planes, strict=True)))

    def close(self) -> None:
        del self._session


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
