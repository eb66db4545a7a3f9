"""What TensorRT for RTX says while it builds an engine: `python -m benchmarks.gpu.engine_log GRAPH.onnx CAPABILITY`.

A process of its own: TensorRT keeps the first logger that a process gives it, and the program's own is a quiet one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from edge.backends.gpu.tensorrt_versions import open_tensorrt


def main() -> int:
    """Build for one compute capability, and print every message; 1 where it is refused."""
    tensorrt = open_tensorrt("tensorrt-rtx")
    trt: Any = tensorrt.trt

    class Aloud(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            print(text)

    logger = Aloud()
    builder = trt.Builder(logger)
    network = tensorrt.create_network(builder)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(Path(sys.argv[1]).read_bytes()):
        return 1
    config = builder.create_builder_config()
    tensorrt.aim_at(config, [int(sys.argv[2])])
    tensorrt.configure(config, network)
    config.clear_flag(trt.BuilderFlag.TF32)
    # names every kernel's tensors
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    return int(builder.build_serialized_network(network, config) is None)


if __name__ == "__main__":
    raise SystemExit(main())
