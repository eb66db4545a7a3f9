"""An engine on its GPU: deserialised, with one execution context; what RTX compiles on the way is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.backends.gpu.engine_cache import CachedEngine, EngineCache
from edge.backends.gpu.tensorrt_versions import TensorRt
from edge.core.errors import EngineError, ModelError

_BUILD = "build it again on this machine: edge-inspect export --bundle BUNDLE --target {product}"


class LoadedEngine:
    """engine, context: TensorRT's own. A CUDA context must be current in the thread that makes and uses this."""

    def __init__(self, tensorrt: TensorRt, cached: CachedEngine, cache: EngineCache) -> None:
        """Raises EngineError, with TensorRT's words, when this GPU cannot run the engine."""
        trt = tensorrt.trt
        tensorrt.take_messages()
        runtime = trt.Runtime(tensorrt.logger)
        objection = tensorrt.objection(runtime, cached.plan)
        engine = None if objection else runtime.deserialize_cuda_engine(cached.plan)
        if engine is None:
            raise EngineError(
                f"{cached.path}: {tensorrt.product} {tensorrt.version} cannot load the engine: "
                f"{objection or 'it gives no reason'}\n{tensorrt.take_messages()}".rstrip(),
                fix=_BUILD.format(product=tensorrt.product),
            )
        kept = cache.find_compiled(cached)
        self.context, self._runtime_cache = tensorrt.create_context(engine, kept)
        # an engine must not outlive its runtime
        self.engine, self._runtime = engine, runtime
        self._tensorrt, self._cached, self._cache, self._kept = tensorrt, cached, cache, kept

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Shape of every input and output, by name; -1 where it is open."""
        engine: Any = self.engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        return {name: tuple(engine.get_tensor_shape(name)) for name in names}

    def is_half(self, name: str) -> bool:
        """Whether a tensor's numbers are FP16; raises EngineError when they are neither that nor FP32."""
        trt, engine = self._tensorrt.trt, self.engine
        dtype = engine.get_tensor_dtype(name)
        if dtype not in (trt.DataType.FLOAT, trt.DataType.HALF):
            raise EngineError(
                f"{self._cached.path}: the engine's {name} is {dtype}, which is neither FP32 nor FP16",
                fix=_BUILD.format(product=self._tensorrt.product),
            )
        return bool(dtype == trt.DataType.HALF)

    def largest_batch(self, name: str) -> int:
        """How many pictures an input takes at once: as many as its profile allows where the batch is open."""
        engine: Any = self.engine
        batch = self.tensors[name][0]
        return int(batch) if batch != -1 else int(engine.get_tensor_profile_shape(name, 0)[2][0])

    def enqueue(self, stream: int, picture: str, addresses: Mapping[str, int], count: int) -> None:
        """Run on `count` pictures whenever the stream gets there; addresses: of every tensor, by name.

        picture: the input. Raises ModelError with TensorRT's words.
        """
        context: Any = self.context
        tensors = self.tensors
        accepted = tensors[picture][0] != -1 or context.set_input_shape(picture, (count, *tensors[picture][1:]))
        for name, address in addresses.items():
            accepted = context.set_tensor_address(name, address) and accepted
        if not accepted or not context.execute_async_v3(stream):
            raise ModelError(
                f"{self._tensorrt.product} {self._tensorrt.version} cannot run the engine: "
                f"{self._tensorrt.take_messages() or 'it gives no reason'}",
                fix=_BUILD.format(product=self._tensorrt.product),
            )

    def can_be_captured(self, stream: int) -> bool:
        """Whether a run can be recorded into a CUDA graph, as far as TensorRT knows before trying."""
        return self._tensorrt.can_be_captured(self.context, stream)

    def close(self) -> None:
        """Free its memory; the CUDA context must be current. Harmless the second time."""
        # in this order: an engine outlives its contexts, a runtime its engines
        self.context = self._runtime_cache = None
        self.engine = None
        self._runtime = None

    def keep_compiled(self) -> None:
        """After the first run: keep what was compiled for this GPU, so that the next start need not."""
        data = self._tensorrt.compiled(self._runtime_cache)
        if data is not None and data != self._kept:
            self._cache.keep_compiled(self._cached, data)
            self._kept = data
