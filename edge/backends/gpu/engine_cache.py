"""Built engines on disk: kept under everything they depend on, checked when read, built by one process at a time.

An engine is a cache: the folder may be deleted at any time. A file is one line of name, one line of JSON (key, size,
hash) and the content; it is there whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge.backends.gpu.cuda_device import CudaDevice
from edge.backends.gpu.tensorrt_versions import TensorRt
from edge.core.errors import EngineError
from edge.core.files.atomic_file import sync_directory, write_atomic
from edge.core.files.file_lock import file_lock

_NAME = b"edge-inspect engine 1\n"
_MAXIMUM_HEADER_BYTES = 65536
_WRITABLE = "free some space, or choose a writable folder with --engines"

log = logging.getLogger("edge.backends.gpu.engine_cache")


@dataclass(frozen=True)
class BuildOptions:
    """What a person may choose about an engine.

    targets: compute capabilities (86 for 8.6) that an RTX engine is for. workspace_mb: most scratch memory that a layer
    may use.
    """

    targets: tuple[int, ...] = ()
    workspace_mb: int = 1024


@dataclass(frozen=True)
class EngineKey:
    """Everything an engine depends on, as text; a difference in any of it means another engine."""

    product: str
    version: str
    precision: str
    model_sha256: str
    gpu: str
    compute_capability: str
    driver: str
    cuda: str
    shapes: str
    flags: str

    @property
    def slot(self) -> str:
        """Name of the file, without its end: what must stay the same for one engine to replace another."""
        return f"{self.product}-{self.precision}-{self.model_sha256[:12]}"


def engine_key(
    tensorrt: TensorRt, precision: str, model: bytes, options: BuildOptions, device: CudaDevice | None
) -> EngineKey:
    """The key of the engine that this TensorRT makes of a graph; device: the GPU it is built on, None for RTX."""
    machine = _machine(tensorrt, device)
    return EngineKey(
        precision=precision,
        model_sha256=hashlib.sha256(model).hexdigest(),
        compute_capability=machine.pop("compute_capability", _targets(options)),
        shapes="batch 1..1..1",
        flags=f"{' '.join(tensorrt.flags)} workspace {options.workspace_mb} MB",
        **machine,
    )


def _machine(tensorrt: TensorRt, device: CudaDevice | None) -> dict[str, str]:
    """What of a key the machine decides; of an RTX engine it is less."""
    values = {"product": tensorrt.product, "version": tensorrt.version}
    if device is None:
        return {**values, "gpu": "any", "driver": "any", "cuda": "any"}
    capability = device.compute_capability
    return {
        **values,
        "gpu": device.name,
        "driver": device.driver,
        "cuda": device.cuda,
        "compute_capability": capability,
    }


def _machine_of(key: EngineKey) -> dict[str, str]:
    names = ("product", "version", "gpu", "compute_capability", "driver", "cuda")
    return {name: getattr(key, name) for name in names}


def _targets(options: BuildOptions) -> str:
    return " ".join(f"{target // 10}.{target % 10}" for target in sorted(options.targets))


@dataclass(frozen=True)
class CachedEngine:
    """plan: what TensorRT deserialises. sha256: names it in calibrations and records. built: it was made just now."""

    plan: bytes
    sha256: str
    path: Path
    built: bool


def engines_folder(bundle: Path) -> Path:
    """Where a bundle's engines are kept: beside it, since they belong to a machine and it does not."""
    path = bundle.resolve()
    return path.with_name(path.name + ".engines")


class _Unusable(Exception):
    """A file that is not the engine asked for; the message says why."""


class EngineCache:
    """A folder of engines."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, key: EngineKey) -> CachedEngine | None:
        """The engine of exactly this key; None when there is no such one; the log says why."""
        path = self._path(key)
        try:
            plan = _read(path, asdict(key))
        except _Unusable as reason:
            # a first build is nothing to be warned of
            log.log(logging.WARNING if path.exists() else logging.INFO, "%s", reason)
            return None
        return CachedEngine(plan, hashlib.sha256(plan).hexdigest(), path, built=False)

    def obtain(self, key: EngineKey, build: Callable[[], bytes]) -> CachedEngine:
        """The engine of this key, built if need be; while another process builds it, this one waits for the result."""
        path = self._path(key)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with file_lock(path.with_suffix(".lock"), lambda: log.warning("%s is being built, waiting", path)):
                found = self.find(key)
                if found is not None:
                    return found
                plan = build()
                _write(path, asdict(key), plan)
        except OSError as error:
            raise EngineError(f"{path}: {error.strerror}", fix=_WRITABLE) from error
        return CachedEngine(plan, hashlib.sha256(plan).hexdigest(), path, built=True)

    def kept(self, sha256: str, tensorrt: TensorRt, device: CudaDevice | None) -> CachedEngine:
        """The engine of this hash; raises EngineError when it is not here, or was built for another machine.

        For a device that runs what it finds, and has no means to make the graph that a whole key is made of.
        """
        reasons = []
        for path in sorted(self._directory.glob(f"{tensorrt.product}-*.engine")):
            try:
                stored = _stored(path)
                if stored.sha256 != sha256:
                    continue
                plan = stored.checked(path, {**stored.key, **_machine(tensorrt, device)})
            except _Unusable as reason:
                reasons.append(str(reason))
                continue
            return CachedEngine(plan, sha256, path, built=False)
        raise EngineError(
            f"the engine {sha256[:12]}… that the bundle is calibrated for is not in {self._directory}"
            + "".join(f"\n  {reason}" for reason in reasons),
            fix=f"here: edge-inspect calibrate --bundle BUNDLE --data NORMALS --backend {tensorrt.product}",
        )

    def find_compiled(self, engine: CachedEngine) -> bytes | None:
        """What RTX's second compiler made of this engine on an earlier start."""
        path = _compiled_path(engine)
        if not path.exists():
            return None
        try:
            return _read(path, {"engine_sha256": engine.sha256})
        except _Unusable as reason:
            log.warning("%s", reason)
            return None

    def keep_compiled(self, engine: CachedEngine, data: bytes) -> None:
        try:
            _write(_compiled_path(engine), {"engine_sha256": engine.sha256}, data)
        except OSError as error:
            raise EngineError(f"{_compiled_path(engine)}: {error.strerror}", fix=_WRITABLE) from error

    def find_timings(self, key: EngineKey) -> bytes | None:
        """What earlier builds of this product on this machine measured of layers."""
        path = self._timings_path(key)
        if not path.exists():
            return None
        try:
            return _read(path, _machine_of(key))
        except _Unusable as reason:
            log.info("%s", reason)
            return None

    def keep_timings(self, key: EngineKey, data: bytes) -> None:
        _write(self._timings_path(key), _machine_of(key), data)

    def _timings_path(self, key: EngineKey) -> Path:
        return self._directory / f"{key.product}.timings"

    def _path(self, key: EngineKey) -> Path:
        return self._directory / f"{key.slot}.engine"


def _compiled_path(engine: CachedEngine) -> Path:
    return engine.path.with_suffix(".compiled")


def _write(path: Path, key: dict[str, str], data: bytes) -> None:
    header = {"key": key, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    write_atomic(path, _NAME + json.dumps(header).encode() + b"\n" + data)
    sync_directory(path.parent)


@dataclass(frozen=True)
class _Stored:
    """A file as it is: its key, the hash and size its content should have, and the content."""

    key: dict[str, str]
    sha256: str
    size_bytes: int
    data: bytes

    def checked(self, path: Path, key: dict[str, str]) -> bytes:
        """The content, if it is whole and of this key; raises _Unusable."""
        names = sorted(set(self.key) | set(key))
        changes = [
            f"{name} {self.key.get(name)} → {key.get(name)}" for name in names if self.key.get(name) != key.get(name)
        ]
        if changes:
            raise _Unusable(f"{path} is another engine: {', '.join(changes)}")
        if hashlib.sha256(self.data).hexdigest() != self.sha256:
            raise _Unusable(f"{path} is damaged: {len(self.data)} of {self.size_bytes} bytes, and another hash")
        return self.data


def _read(path: Path, key: dict[str, str]) -> bytes:
    return _stored(path).checked(path, key)


def _stored(path: Path) -> _Stored:
    try:
        with path.open("rb") as file:
            name, header, data = file.readline(len(_NAME)), file.readline(_MAXIMUM_HEADER_BYTES), file.read()
    except FileNotFoundError:
        raise _Unusable(f"{path}: not built yet") from None
    except OSError as error:
        raise _Unusable(f"{path}: {error.strerror}") from error
    try:
        values: Any = json.loads(header if name == _NAME else b"null")
        return _Stored(dict(values["key"]), str(values["sha256"]), int(values["bytes"]), data)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _Unusable(f"{path} is damaged: its header cannot be read") from None
