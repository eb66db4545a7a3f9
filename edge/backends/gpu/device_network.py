"""A network whose inputs and outputs lie on the GPU: TensorRT's on a line, a stub where there is no TensorRT."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.backends.gpu.cuda_session import CudaSession
from edge.backends.gpu.engine_cache import CachedEngine, EngineCache
from edge.backends.gpu.tensorrt_runtime import LoadedEngine
from edge.backends.gpu.tensorrt_versions import TensorRt
from edge.core.datatypes import F32
from edge.core.errors import EngineError, ModelError
from edge.core.manifest import Manifest
from edge.kernels.cpu import NetworkOutputs

PICTURE = "image"

log = logging.getLogger("edge.backends")


@dataclass(frozen=True)
class DeviceTensor:
    """shape: of one picture, without the batch. fp16: else FP32."""

    shape: tuple[int, ...]
    fp16: bool

    @property
    def bytes(self) -> int:
        """Of one picture; pictures of a batch follow each other without a gap."""
        return int(np.prod(self.shape)) * (2 if self.fp16 else 4)


class DeviceNetwork(Protocol):
    """Runs on a stream, from and to addresses on the device; the CUDA context is current in every call.

    tensors: `image` and the outputs that the manifest names. largest_batch: pictures that one call takes.
    """

    engine_sha256: str
    largest_batch: int

    @property
    def tensors(self) -> Mapping[str, DeviceTensor]: ...

    def enqueue(self, stream: int, addresses: Mapping[str, int], count: int) -> None:
        """Put a run on `count` pictures on the stream; it starts when the stream gets there. Raises ModelError."""

    def can_be_captured(self, stream: int) -> bool:
        """Whether `enqueue` may be recorded into a CUDA graph, once it has run before."""

    def first_run_done(self) -> None:
        """Called after the first run, to keep what it compiled for the next start."""

    def close(self) -> None:
        """Free its memory; harmless the second time."""


class TensorRtNetwork:
    """DeviceNetwork over an engine of the cache."""

    def __init__(self, tensorrt: TensorRt, cached: CachedEngine, cache: EngineCache, manifest: Manifest) -> None:
        """Raises EngineError when this GPU cannot run the engine, or it is not one of this bundle's network."""
        self.engine_sha256 = cached.sha256
        self._loaded = LoadedEngine(tensorrt, cached, cache)
        found = self._loaded.tensors
        missing = [name for name in (PICTURE, *manifest.outputs) if name not in found]
        if missing or len(found) != 1 + len(manifest.outputs):
            raise EngineError(
                f"{cached.path} has {', '.join(found)}; the bundle's network has {PICTURE} and "
                f"{', '.join(manifest.outputs)}",
                fix=f"build it again: edge-inspect export --bundle BUNDLE --target {tensorrt.product}",
            )
        self._tensors = {name: DeviceTensor(shape[1:], self._loaded.is_half(name)) for name, shape in found.items()}
        self.largest_batch = self._loaded.largest_batch(PICTURE)

    @property
    def tensors(self) -> Mapping[str, DeviceTensor]:
        return self._tensors

    def enqueue(self, stream: int, addresses: Mapping[str, int], count: int) -> None:
        self._loaded.enqueue(stream, PICTURE, addresses, count)

    def can_be_captured(self, stream: int) -> bool:
        return self._loaded.can_be_captured(stream)

    def first_run_done(self) -> None:
        self._loaded.keep_compiled()

    def close(self) -> None:
        self._loaded.close()


class FetchedNetwork:
    """The Network protocol of the CPU backends over a network on the device: picture up, outputs down.

    For calibration, which wants the outputs themselves. It owns session and network.
    """

    def __init__(self, name: str, session: CudaSession, network: DeviceNetwork, manifest: Manifest) -> None:
        self.name = name
        self.image: F32 = np.zeros((3, manifest.input.height, manifest.input.width), np.float32)
        self._session, self._network = session, network
        self._names = manifest.outputs
        with FailuresReported(session), session.current():
            self._addresses = {name: session.device_memory(tensor.bytes) for name, tensor in network.tensors.items()}
            self._host: dict[str, NDArray[Any]] = {
                name: session.pinned(tensor.shape, np.float16 if tensor.fp16 else np.float32)
                for name, tensor in network.tensors.items()
            }

    def run(self) -> NetworkOutputs:
        session = self._session
        with FailuresReported(session), session.current():
            np.copyto(self._host[PICTURE], self.image, casting="same_kind")
            session.upload(self._addresses[PICTURE], self._host[PICTURE])
            self._network.enqueue(session.stream, self._addresses, 1)
            for name in self._names:
                session.fetch(self._host[name], self._addresses[name])
            session.synchronize()
        planes = {name: self._host[name].astype(np.float32) for name in self._names}
        return NetworkOutputs(**{name: plane if plane.shape[0] == 3 else plane[0] for name, plane in planes.items()})

    def close(self) -> None:
        with_context_closed(self._session, self._network)


def with_context_closed(
    session: CudaSession, network: DeviceNetwork | None, error: BaseException | None = None
) -> None:
    """Close a network where its context is current, then the session, which frees what is left.

    error: what ends them; the frames of the calls that failed would keep a stream or kernels beyond their context.
    """
    try:
        if session.is_open:
            with session.current():
                let_go(error)
                if network is not None:
                    network.close()
    except session.failures as failure:
        log.warning("the GPU's network could not be freed: %s", failure)
    finally:
        session.close()


def let_go(error: BaseException | None) -> None:
    """Clear the frames that an error, and what caused it, came through."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__


def device_failure(error: Exception) -> ModelError:
    """What a failed call of the GPU means for the frame."""
    words = str(error)
    # an illegal access speaks of memory, too
    if "out of memory" in words.lower().replace("_", " "):
        fix = "another program may hold the GPU's memory (nvidia-smi); smaller frames or a region of interest need less"
    else:
        fix = "it is opened again by itself; if that does not help, restart the program, then the machine (nvidia-smi)"
    return ModelError(f"the GPU failed: {words}", fix=fix)


class FailuresReported:
    """Turns what a session's calls raise into a ModelError; a class, since it stands in every frame's way."""

    def __init__(self, session: CudaSession) -> None:
        self._failures = session.failures

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self._failures):
            raise device_failure(error) from error
