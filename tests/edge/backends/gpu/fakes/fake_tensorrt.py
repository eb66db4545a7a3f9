"""TensorRT's module over ONNX Runtime and the fake GPU: an engine is the ONNX it was built from.

Only what our code asks for, and strict about it: nothing runs before every address is given.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.edge.backends.gpu.fakes.fake_cuda import FakeGpu

_TYPES = {"tensor(float)": "float", "tensor(float16)": "half"}
_NUMBERS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def fake_module(gpu: FakeGpu, refuses: Any = lambda model: False, ruins: Any = lambda model: model) -> Any:
    """refuses: graphs that the builder cannot build. ruins: what it makes of those it can."""
    names = SimpleNamespace

    class ILogger:
        Severity = names(VERBOSE=0, INFO=1, WARNING=2)

    class Builder:
        def __init__(self, logger: Any) -> None: ...

        def create_network(self, flags: int) -> Any:
            return names(model=None, num_inputs=1)

        def create_builder_config(self) -> Any:
            return _Config()

        def create_optimization_profile(self) -> Any:
            return names(set_shape=lambda *shapes: None)

        def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
            config.measured += b"*"
            return None if refuses(network.model) else ruins(network.model)

    class OnnxParser:
        num_errors = 0

        def __init__(self, network: Any, logger: Any) -> None:
            self._network = network

        def parse(self, model: bytes) -> bool:
            self._network.model = model
            shape = _Engine(gpu, model).get_tensor_shape("image")
            self._network.get_input = lambda index: names(name="image", shape=shape)
            return True

    class Runtime:
        def __init__(self, logger: Any) -> None: ...

        def deserialize_cuda_engine(self, plan: bytes) -> Any:
            assert gpu.stack, "an engine is loaded into the context that is current"
            return _Engine(gpu, plan)

    return _Module(
        __version__="10.3.0", ILogger=ILogger, Builder=Builder, OnnxParser=OnnxParser,
        Runtime=Runtime, BuilderFlag=names(TF32=0), MemoryPoolType=names(WORKSPACE=0),
        DataType=names(FLOAT="float", HALF="half"), NetworkDefinitionCreationFlag=names(STRONGLY_TYPED=1),
    )  # fmt: skip


class _Config:
    """measured: what the timing cache holds; a build adds to it."""

    def __init__(self) -> None:
        self.measured = b""

    def clear_flag(self, flag: int) -> None: ...

    def set_memory_pool_limit(self, pool: int, size: int) -> None: ...

    def create_timing_cache(self, serialized_timing_cache: bytes) -> bytes:
        return serialized_timing_cache

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        self.measured = cache
        return cache != b"of another machine"

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: self.measured)


class _Module(SimpleNamespace):
    __hash__ = object.__hash__


class _Engine:
    def __init__(self, gpu: FakeGpu, model: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.gpu = gpu
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.values = {value.name: value for value in (*self.session.get_inputs(), *self.session.get_outputs())}
        self.num_io_tensors = len(self.values)

    def get_tensor_name(self, index: int) -> str:
        return list(self.values)[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(side if isinstance(side, int) else -1 for side in self.values[name].shape)

    def get_tensor_dtype(self, name: str) -> str:
        return _TYPES[self.values[name].type]

    def create_execution_context(self) -> Any:
        return _Context(self)


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return name in self._engine.values

    def execute_async_v3(self, stream_handle: int) -> bool:
        engine, addresses = self._engine, dict(self._addresses)
        if set(addresses) != set(engine.values):
            return False

        def run() -> None:
            arrays = {
                name: engine.gpu.array(addresses[name], tuple(value.shape), _NUMBERS[value.type])
                for name, value in engine.values.items()
            }
            outputs = [name for name in engine.values if name not in engine.inputs]
            results = engine.session.run(outputs, {name: arrays[name] for name in engine.inputs})
            for name, result in zip(outputs, results, strict=True):
                np.copyto(arrays[name], result)

        engine.gpu.enqueue(stream_handle, run)
        return True
