"""Where TensorRT 8.6, 10, 11 and TensorRT for RTX differ. Everywhere else they are one.

8.6 is weakly typed: flags permit INT8 and FP16. From 10 on the network is strongly typed, its ONNX says what is
computed how, and 11 has no such flags any more. RTX compiles ahead of time for a list of compute capabilities, without
a GPU, and finishes on the GPU that runs it, with a cache for that second step.

Every name of TensorRT's that is used here, in tensorrt_runtime.py and in export/engine.py is checked against the real
bindings (tests/edge/backends/tensorrt_names): the module is always called `trt`, and a variable is named after
its class.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from edge.backends.gpu.system_packages import hidden_package
from edge.core.errors import EngineError, MissingDependency, install_extra
from edge.core.hardware import JETSON_PAGE, SYSTEM_ROOT

Product = Literal["tensorrt", "tensorrt-rtx"]
PRODUCTS: tuple[Product, ...] = get_args(Product)
# RTX: Turing, Ampere, Ada and Blackwell desktops
RTX_TARGETS = (75, 86, 89, 120)
# all that it can build for, as of 1.7
RTX_KNOWN = (75, 80, 86, 89, 120, 121)

# the bindings also come without the package that bears the product's name
_MODULES: dict[str, tuple[str, ...]] = {
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
_KEPT_MESSAGES = 20

log = logging.getLogger("edge.tensorrt")


class TensorRt:
    """One installed TensorRT, strongly typed: 10, 11, and what RTX shares with them.

    trt: its Python module. version: complete, since engines are tied to it. flags: what of this page shaped an engine.
    """

    flags: tuple[str, ...] = ("strongly_typed", "no_tf32")
    product: Product = "tensorrt"

    def __init__(self, trt: Any) -> None:
        self.trt = trt
        self.version = str(trt.__version__)
        self.logger, self.messages = _logger(trt)

    def create_network(self, builder: Any) -> Any:
        """An empty network definition."""
        trt = self.trt
        return builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))

    def configure(self, config: Any, network: Any) -> None:
        """Set what this version needs for the parsed network; a strongly typed one has its precisions already."""

    def aim_at(self, config: Any, targets: Sequence[int]) -> None:
        """TensorRT proper builds for the GPU it is on, and for no other."""
        if targets:
            raise EngineError(
                f"TensorRT builds for the GPU it runs on, not for compute capabilities {list(targets)}",
                fix="leave --compute-capability out, or use --target tensorrt-rtx",
            )

    def use_timings(self, config: Any, data: bytes | None) -> None:
        """Begin a build with what earlier ones on this machine measured of layers, as `timings` gave it."""
        timing_cache = config.create_timing_cache(data or b"")
        if not config.set_timing_cache(timing_cache, False):
            log.warning("the kept timings of layers are of another machine: measuring again")
            timing_cache = config.create_timing_cache(b"")
            config.set_timing_cache(timing_cache, False)

    def timings(self, config: Any) -> bytes | None:
        """What has been measured of layers after a build; None: this product measures nothing while it builds."""
        timing_cache = config.get_timing_cache()
        return bytes(timing_cache.serialize())

    def objection(self, runtime: Any, plan: bytes) -> str | None:
        """Why this machine cannot run the engine, where TensorRT can say so beforehand."""
        return None

    def create_context(self, engine: Any, compiled: bytes | None) -> tuple[Any, Any]:
        """(execution context, what `compiled` takes); compiled: what that gave at an earlier start."""
        return engine.create_execution_context(), None

    def compiled(self, runtime_cache: Any) -> bytes | None:
        """What the GPU's own compiler made so far, worth keeping for the next start; None: there is no such step."""
        return None

    def node(self, error: Any) -> str:
        """The node that a parser's error names."""
        return f"{error.node_operator()} {error.node_name()}" if error.node() >= 0 else "the file"

    def can_be_captured(self, context: Any, stream: int) -> bool:
        """Whether a CUDA graph can hold a run of this context; TensorRT proper is asked by trying."""
        return True

    def take_messages(self) -> str:
        """TensorRT's warnings and errors since the last call, oldest first."""
        text = "\n".join(self.messages)
        self.messages.clear()
        return text


class WeaklyTypedTensorRt(TensorRt):
    """8.6: the graph's types are wishes that flags must permit; what is FP32 beside FP16 may then run in FP16 too."""

    flags = ("weakly_typed", "no_tf32")

    def create_network(self, builder: Any) -> Any:
        trt = self.trt
        return builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))

    def configure(self, config: Any, network: Any) -> None:
        trt = self.trt
        for index in range(network.num_layers):
            layer = network.get_layer(index)
            if layer.type == trt.LayerType.QUANTIZE:
                config.set_flag(trt.BuilderFlag.INT8)
            for output in range(layer.num_outputs):
                tensor = layer.get_output(output)
                if tensor.dtype == trt.DataType.HALF:
                    config.set_flag(trt.BuilderFlag.FP16)

    def node(self, error: Any) -> str:
        return f"node number {error.node()}" if error.node() >= 0 else "the file"


class TensorRtForRtx(TensorRt):
    """RTX: targets instead of a GPU at hand, and a cache of what the GPU's compiler made."""

    # memory that it takes while it runs could not be recorded into a CUDA graph
    flags = (*TensorRt.flags, "user_allocation")
    product: Product = "tensorrt-rtx"

    def configure(self, config: Any, network: Any) -> None:
        trt = self.trt
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)

    def aim_at(self, config: Any, targets: Sequence[int]) -> None:
        trt = self.trt
        known = trt.ComputeCapability.__members__
        names = [f"SM{target}" for target in targets]
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            capabilities = ", ".join(name[2:] for name in known if name.startswith("SM"))
            raise EngineError(
                f"TensorRT for RTX {self.version} does not build for {', '.join(unknown) or 'no target'}",
                fix=f"choose --compute-capability from {capabilities}",
            )
        config.num_compute_capabilities = len(names)
        for index, name in enumerate(names):
            config.set_compute_capability(known[name], index)

    def use_timings(self, config: Any, data: bytes | None) -> None:
        """Nothing is measured without a GPU; touching these timings would look for one."""

    def timings(self, config: Any) -> bytes | None:
        return None

    def objection(self, runtime: Any, plan: bytes) -> str | None:
        trt = self.trt
        validity, reasons = runtime.get_engine_validity(plan)
        if validity != trt.EngineValidity.INVALID:
            return None
        found = [name for name, flag in trt.EngineInvalidityDiagnostics.__members__.items() if reasons & int(flag)]
        return ", ".join(found).lower().replace("_", " ") or "this machine has no GPU that it can run on"

    def create_context(self, engine: Any, compiled: bytes | None) -> tuple[Any, Any]:
        runtime_config = engine.create_runtime_config()
        runtime_cache = runtime_config.create_runtime_cache()
        if compiled is not None and not runtime_cache.deserialize(compiled):
            log.warning("the kept compilation is of another GPU, driver or TensorRT: compiling again")
        runtime_config.set_runtime_cache(runtime_cache)
        return engine.create_execution_context(runtime_config), runtime_cache

    def compiled(self, runtime_cache: Any) -> bytes | None:
        return bytes(runtime_cache.serialize())

    def can_be_captured(self, context: Any, stream: int) -> bool:
        return bool(context.is_stream_capturable(stream))


def open_tensorrt(product: Product, root: Path = SYSTEM_ROOT) -> TensorRt:
    """The TensorRT that is installed here; raises MissingDependency, HiddenDependency where the system alone has it.

    root: of the file system, where it is looked for when it cannot be imported.
    """
    reasons = []
    for name in _MODULES[product]:
        try:
            return tensorrt_from_module(product, importlib.import_module(name))
        except ImportError as error:
            reasons.append(str(error))
    for name in _MODULES[product]:
        hidden = hidden_package(name, root)
        if hidden is not None:
            raise hidden
    raise MissingDependency(f"{product} cannot be imported ({'; '.join(reasons)})", fix=_install(product))


def _install(product: Product) -> str:
    if product == "tensorrt-rtx":
        return install_extra("rtx")
    return (
        "install JetPack's or NVIDIA's TensorRT package on the device that will run the engine; for a Jetson "
        f"see {JETSON_PAGE}"
    )


def tensorrt_from_module(product: Product, trt: Any) -> TensorRt:
    """The class for the version that the module is of."""
    if product == "tensorrt-rtx":
        return TensorRtForRtx(trt)
    major, minor = (int(part) for part in str(trt.__version__).split(".")[:2])
    if (major, minor) < (8, 6):
        raise MissingDependency(f"TensorRT {trt.__version__} is older than 8.6", fix=_install(product))
    return TensorRt(trt) if major >= 10 else WeaklyTypedTensorRt(trt)


@functools.cache
def _logger(trt: Any) -> tuple[Any, deque[str]]:
    """TensorRT keeps the first logger a process gives it, so there is one; (logger, its last warnings and errors)."""
    messages: deque[str] = deque(maxlen=_KEPT_MESSAGES)

    class Messages(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            if severity in (trt.ILogger.Severity.VERBOSE, trt.ILogger.Severity.INFO):
                return
            messages.append(text.strip())
            log.debug("%s", text)

    return Messages(), messages
