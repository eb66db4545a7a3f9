"""ONNX → TensorRT engine, on one code path for every version (tensorrt_versions.py has the differences)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge.backends.gpu.cuda_device import CudaDevice, read_cuda_device
from edge.backends.gpu.engine_cache import BuildOptions, CachedEngine, EngineCache, engine_key
from edge.backends.gpu.tensorrt_versions import TensorRt
from edge.core.errors import EngineError

_MEGABYTE = 1 << 20
_ANOTHER = "try `--precision fp16` or `--precision fp32`, or another TensorRT; the bundle is untouched"


def cached_engine(
    tensorrt: TensorRt, cache: EngineCache, precision: str, model: bytes, options: BuildOptions
) -> CachedEngine:
    """The engine of a bundle's graph from the cache, built first where that is needed.

    Raises EngineError when TensorRT refuses the graph, MissingDependency when it needs a GPU and there is none.
    """
    device: CudaDevice | None = None if tensorrt.product == "tensorrt-rtx" else read_cuda_device()
    key = engine_key(tensorrt, precision, model, options, device)

    def build() -> bytes:
        timings = cache.find_timings(key)
        return engine_from_onnx(tensorrt, model, options, timings, lambda data: cache.keep_timings(key, data))

    return cache.obtain(key, build)


def engine_from_onnx(
    tensorrt: TensorRt,
    model: bytes,
    options: BuildOptions,
    timings: bytes | None = None,
    keep_timings: Callable[[bytes], None] = lambda data: None,
) -> bytes:
    """The serialised engine of an ONNX model; raises EngineError with what parser and builder say.

    timings: of layers, measured by earlier builds on this machine; keep_timings is given those and the new ones. With
    them the other precisions build faster, and the same layers get the same kernels.
    """
    trt = tensorrt.trt
    tensorrt.take_messages()
    builder = trt.Builder(tensorrt.logger)
    network = tensorrt.create_network(builder)
    parser = trt.OnnxParser(network, tensorrt.logger)
    if not parser.parse(model):
        raise _refusal(tensorrt, parser)
    config = builder.create_builder_config()
    tensorrt.aim_at(config, options.targets)
    tensorrt.configure(config, network)
    # an FP32 engine is what others are compared with: 10 bits of mantissa would not do
    config.clear_flag(trt.BuilderFlag.TF32)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb * _MEGABYTE)
    tensorrt.use_timings(config, timings)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(
            f"{tensorrt.product} {tensorrt.version} cannot build the network:\n{tensorrt.take_messages()}", fix=_ANOTHER
        )
    measured = tensorrt.timings(config)
    if measured is not None:
        keep_timings(measured)
    return bytes(plan)


def _refusal(tensorrt: TensorRt, parser: Any) -> EngineError:
    """The parser's own words, each with the node it speaks of."""
    lines = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        lines.append(f"  {tensorrt.node(error)}: {error.desc().strip()}")
    words = "\n".join(lines) or tensorrt.take_messages()
    return EngineError(f"{tensorrt.product} {tensorrt.version} refuses the network:\n{words}", fix=_ANOTHER)
