"""A bundle on a GPU: its engine from the cache, its kernels, and the backend over both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.backends.aligning import AligningBackend
from edge.backends.base import Backend
from edge.backends.gpu.cuda_device import CudaDevice, read_cuda_device
from edge.backends.gpu.cuda_driver import CudaDriver
from edge.backends.gpu.cuda_session import CudaSession, open_pycuda
from edge.backends.gpu.device_network import (
    PICTURE,
    DeviceNetwork,
    FailuresReported,
    FetchedNetwork,
    TensorRtNetwork,
    with_context_closed,
)
from edge.backends.gpu.engine_cache import CachedEngine, EngineCache, engines_folder
from edge.backends.gpu.gpu_backend import GpuBackend
from edge.backends.gpu.gpu_pipeline import GpuPipeline
from edge.backends.gpu.tensorrt_versions import Product, TensorRt, open_tensorrt
from edge.bundles.bundle import ModelBundle
from edge.bundles.calibration import Calibration
from edge.core.errors import EngineError
from edge.core.manifest import Manifest
from edge.kernels.cuda.build import kernel_image
from edge.kernels.cuda.launch import CudaModule, ScoreKernels
from edge.kernels.cuda.plan import ScorePlan
from edge.preprocessing.preprocess import Preprocess


@dataclass(frozen=True)
class EngineStore:
    """One TensorRT, the engines kept for it, and the GPU that they must be for; None: TensorRT for RTX, for any."""

    tensorrt: TensorRt
    cache: EngineCache
    device: CudaDevice | None

    def kept(self, sha256: str) -> CachedEngine:
        """The engine of this hash; raises EngineError when it is not here, or not for this machine."""
        return self.cache.kept(sha256, self.tensorrt, self.device)


def require_whole_field(bundle: ModelBundle, product: Product) -> None:
    """Raises EngineError for a bundle of tiles: on a GPU preprocessing and score path are of what the network sees."""
    if bundle.manifest.preprocess.tiles is not None:
        raise EngineError(
            f"{bundle.path} inspects large frames in tiles, which {product} does not do",
            fix="run it on the processor: --backend auto; or make a bundle without --tiles",
        )


def open_engines(product: Product, bundle: ModelBundle, engines: Path | None) -> EngineStore:
    """The engines of a bundle; engines: another folder than the one beside it.

    Raises EngineError for a bundle of tiles, and MissingDependency.
    """
    require_whole_field(bundle, product)
    tensorrt = open_tensorrt(product)
    device = None if product == "tensorrt-rtx" else read_cuda_device()
    return EngineStore(tensorrt, EngineCache(engines or engines_folder(bundle.path)), device)


def calibrated_gpu_backend(
    bundle: ModelBundle,
    product: Product,
    calibration: Calibration,
    engines: Path | None,
    maps_above: float,
    most: int = 1,
    keep_warm_s: float | None = None,
) -> Backend:
    """The engine that a calibration was measured with, behind the Backend protocol; the rest as in GpuPipeline."""
    store = open_engines(product, bundle, engines)
    cached = store.kept(calibration.model_sha256)
    return engine_backend(
        store, cached, bundle.manifest, bundle.preprocess, calibration, maps_above, most, keep_warm_s=keep_warm_s
    )


def engine_backend(
    store: EngineStore,
    cached: CachedEngine,
    manifest: Manifest,
    preprocess: Preprocess,
    calibration: Calibration,
    maps_above: float,
    most: int = 1,
    *,
    keep_warm_s: float | None = None,
) -> Backend:
    """A backend over one engine; raises MissingDependency, EngineError or ModelError when it cannot run."""

    def network(session: CudaSession) -> DeviceNetwork:
        return TensorRtNetwork(store.tensorrt, cached, store.cache, manifest)

    def kernels(session: CudaSession, opened: DeviceNetwork) -> ScoreKernels:
        return open_kernels(session, opened, manifest, calibration, most)

    inside = preprocess.of_placed_views
    backend = GpuBackend(
        store.tensorrt.product,
        lambda: open_pipeline(open_session, network, kernels, inside, maps_above, most),
        keep_warm_every_s=keep_warm_s,
    )
    return AligningBackend(backend, preprocess) if preprocess.places else backend


def open_session() -> CudaSession:
    return CudaSession(open_pycuda(), CudaDriver())


def open_kernels(
    session: CudaSession, network: DeviceNetwork, manifest: Manifest, calibration: Calibration, most: int
) -> ScoreKernels:
    """The project's kernels for a bundle, for up to `most` frames at once; raises what open_module does."""
    plan = score_plan(network, manifest, calibration, most, read_cuda_device().multiprocessors)
    return ScoreKernels(open_module(session), plan, session, calibration.statistics)


def open_module(session: CudaSession) -> CudaModule:
    """The project's kernels, loaded into the session's context, which is current; compiled first where they are not.

    Raises MissingDependency where they are neither compiled nor can be, EngineError where the driver refuses them.
    """
    device = read_cuda_device()
    return CudaModule(kernel_image(device.compute_capability, device.cuda, session.image_refusal))


def score_plan(
    network: DeviceNetwork, manifest: Manifest, calibration: Calibration, most: int, multiprocessors: int
) -> ScorePlan:
    """What the kernels must know of a bundle, its network and the GPU.

    Raises EngineError for outputs of different types, or of shapes that the manifest does not allow.
    """
    tensors = network.tensors
    halves = {tensors[name].fp16 for name in manifest.outputs}
    if len(halves) > 1:
        raise EngineError(
            "some outputs of the engine are FP16 and some FP32", fix="build it again: edge-inspect export --target"
        )
    field = (manifest.input.height, manifest.input.width)
    # what is not there has the field's shape as well as any other
    found = {"recon": field, "seg_logit": field, "emb_dist": (1, 1)}
    found |= {name: (tensor.shape[-2], tensor.shape[-1]) for name, tensor in tensors.items()}
    allowed = {PICTURE: {field}, "recon": {field}, "seg_logit": {field, manifest.map_shape}}
    for name, shapes in allowed.items():
        if found[name] not in shapes:
            raise EngineError(
                f"the engine's {name} is {found[name][1]}x{found[name][0]}; the manifest has a field of "
                f"{field[1]}x{field[0]} and a map of {manifest.map_shape[1]}x{manifest.map_shape[0]}",
                fix="build it again: edge-inspect export --target",
            )
    return ScorePlan(
        spec=manifest.score,
        field=field,
        outputs=manifest.outputs,
        batch=most,
        input_type="f16" if tensors[PICTURE].fp16 else "f32",
        output_type="f16" if True in halves else "f32",
        emb_shape=found["emb_dist"],
        logits_at_map=found["seg_logit"] != field,
        emb_mean=float(calibration.emb_mean),
        emb_inv_std=float(calibration.emb_inv_std),
        seg_mean=calibration.seg_mean,
        seg_inv_std=calibration.seg_inv_std,
        pixel_threshold=calibration.pixel_threshold,
        multiprocessors=multiprocessors,
    )


def open_pipeline(
    session_of: Callable[[], CudaSession],
    network_of: Callable[[CudaSession], DeviceNetwork],
    kernels_of: Callable[[CudaSession, DeviceNetwork], ScoreKernels],
    preprocess: Preprocess,
    maps_above: float,
    most: int = 1,
    *,
    graph: bool = True,
) -> GpuPipeline:
    """Open session, network and kernels, in this order; what is open is closed when the next cannot be opened."""
    session = session_of()
    network = None
    try:
        with FailuresReported(session), session.current():
            network = network_of(session)
            kernels = kernels_of(session, network)
    except BaseException as error:
        with_context_closed(session, network, error)
        raise
    return GpuPipeline(session, network, kernels, preprocess, maps_above, most, graph=graph)


def fetched_network(store: EngineStore, cached: CachedEngine, manifest: Manifest) -> FetchedNetwork:
    """An engine as the network that calibration measures: its outputs come back to the host."""
    session = open_session()
    network = None
    try:
        with FailuresReported(session), session.current():
            network = TensorRtNetwork(store.tensorrt, cached, store.cache, manifest)
        return FetchedNetwork(store.tensorrt.product, session, network, manifest)
    except BaseException as error:
        with_context_closed(session, network, error)
        raise
