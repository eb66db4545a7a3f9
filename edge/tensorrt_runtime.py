"""An engine on its GPU: deserialised, with one execution context; what RTX compiles on the way is kept."""

from __future__ import annotations

from typing import Any

from edge.engine_cache import CachedEngine, EngineCache
from edge.errors import EngineError
from edge.tensorrt_versions import TensorRt

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

    def keep_compiled(self) -> None:
        """After the first run: keep what was compiled for this GPU, so that the next start need not."""
        data = self._tensorrt.compiled(self._runtime_cache)
        if data is not None and data != self._kept:
            self._cache.keep_compiled(self._cached, data)
            self._kept = data
