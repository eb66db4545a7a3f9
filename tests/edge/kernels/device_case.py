"""One batch through the kernels, and the same through device_reference: pictures, outputs and statistics made up."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from benchmarks.gpu.ptx.memory import DeviceMemory
from edge.core.manifest import ResidualSpec, ScoreSpec
from edge.kernels.cpu import NetworkOutputs, NormalStatistics
from edge.kernels.cuda.launch import Module, ScoreKernels
from edge.kernels.cuda.plan import FrameResult, FrameSource, ScorePlan
from edge.preprocessing.preprocess import Preprocess
from tests.edge.kernels import device_reference
from tests.edge.kernels.emulation import HostMemory

ALL_TERMS = ResidualSpec(w_l1=0.1, w_l2=0.2, w_ssim=0.3, w_gms=0.3, w_col=0.1)
DTYPES = {"f16": np.float16, "f32": np.float32}
PIXEL_THRESHOLD = 0.3
EMB_MEAN, EMB_INV_STD = 1.5, 0.8
SEG_MEAN, SEG_INV_STD = -0.5, 0.4


@dataclass
class Case:
    """What goes in. levels: uint8 (n, 3, h, w). given: the network's outputs (n, c, h, w), in its own type."""

    plan: ScorePlan
    levels: np.ndarray
    given: dict[str, np.ndarray]
    statistics: NormalStatistics
    weight: np.ndarray | None = None
    pictures: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        as_shares = np.stack([device_reference.picture_of_bytes(each) for each in self.levels])
        self.pictures = as_shares.astype(DTYPES[self.plan.input_type])


@dataclass(frozen=True)
class Found:
    """What comes out, frame by frame; steps: of the last slice."""

    steps: np.ndarray
    maps: np.ndarray
    results: list[FrameResult]


def smooth_levels(frames: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Pictures whose neighbours are alike, uint8 (n, 3, h, w)."""
    steps = np.cumsum(np.random.default_rng(seed).normal(0, 0.1, (frames, 3, height, width)), axis=3)
    return ((np.tanh(steps) + 1) * 127.5).astype(np.uint8)


def made_up(
    shape: tuple[int, int],
    spec: ScoreSpec,
    outputs: tuple[str, ...] = ("recon",),
    frames: int = 1,
    element: str = "f32",
    seed: int = 0,
    emb_shape: tuple[int, int] = (5, 7),
    logits_at_map: bool = False,
    **more: int,
) -> Case:
    random = np.random.default_rng(seed)
    plan = ScorePlan(
        spec, shape, outputs, frames, element, element, emb_shape=emb_shape, logits_at_map=logits_at_map,
        emb_mean=EMB_MEAN, emb_inv_std=EMB_INV_STD, seg_mean=SEG_MEAN, seg_inv_std=SEG_INV_STD,
        pixel_threshold=PIXEL_THRESHOLD, **more,
    )  # fmt: skip
    levels = smooth_levels(frames, *shape, seed)
    picture = np.stack([device_reference.picture_of_bytes(each) for each in levels])
    values = {
        "recon": np.clip(picture + random.normal(0, 0.1, picture.shape), -1, 1),
        "seg_logit": random.normal(0, 3, (frames, 1, *(plan.map_shape if logits_at_map else shape))),
        "emb_dist": random.gamma(2, 1, (frames, 1, *emb_shape)),
    }
    given = {name: values[name].astype(DTYPES[element]) for name in outputs}
    mean = np.full(plan.map_shape, 0.02, np.float32)
    inv_std = random.uniform(10, 40, plan.map_shape).astype(np.float32)
    statistics = NormalStatistics(mean, inv_std, EMB_MEAN, EMB_INV_STD, SEG_MEAN, SEG_INV_STD)
    return Case(plan, levels, given, statistics)


def computed(case: Case, module: Module, memory: HostMemory | DeviceMemory | None = None) -> Found:
    """By the kernels: preprocessing, residual and reduction. memory: the module's; None: of this process."""
    memory = memory or HostMemory()
    plan, frames = case.plan, len(case.levels)
    kernels = ScoreKernels(module, plan, memory, case.statistics)
    kernels.set_weight(case.weight)
    shape, map_shape = plan.field, plan.map_shape
    bgr = np.ascontiguousarray(case.levels.transpose(0, 2, 3, 1)[..., ::-1])
    pictures = memory.device_memory(case.pictures.nbytes)
    maps = memory.device_memory(frames * map_shape[0] * map_shape[1] * 4)
    results = memory.device_memory(frames * plan.result_bytes)
    addresses = {name: memory.put(values) for name, values in case.given.items()}

    kernels.preprocess(None, memory.put(bgr), pictures, frames, *shape)
    kernels.score(None, addresses, maps, results, frames)

    assert np.array_equal(memory.fetch(pictures, case.pictures.shape, case.pictures.dtype), case.pictures)
    fetched = memory.fetch(results, (frames, plan.result_bytes), np.uint8)
    return Found(
        steps=kernels_steps(kernels, memory, frames),
        maps=memory.fetch(maps, (frames, *map_shape), np.float32),
        results=[kernels.read(each) for each in kernels.results_in(fetched)],
    )


def kernels_steps(kernels: ScoreKernels, memory: HostMemory | DeviceMemory, frames: int) -> np.ndarray:
    """Blended evidence of the last slice, as it lies in the workspace."""
    plan = kernels.plan
    frames = (frames - 1) % plan.slice_frames + 1
    whole = memory.fetch(kernels.workspace, (plan.workspace.bytes,), np.uint8)
    size = 2 * frames * plan.map_shape[0] * plan.map_shape[1]
    begin = plan.workspace.blended
    return whole[begin : begin + size].view(np.uint16).reshape(frames, *plan.map_shape)


def expected(case: Case) -> tuple[list[np.ndarray], list[device_reference.Reduced]]:
    """By device_reference: blended evidence, and what becomes of it."""
    plan = case.plan
    steps = []
    for index, levels in enumerate(case.levels):
        picture = device_reference.picture_of_bytes(levels)
        planes = {name: values[index].astype(np.float32) for name, values in case.given.items()}
        outputs = NetworkOutputs(**{name: each if name == "recon" else each[0] for name, each in planes.items()})
        weight = case.weight
        steps.append(device_reference.evidence(picture, outputs, plan.spec, case.statistics, weight))
    return steps, [device_reference.reduced(each, plan.spec, plan.pixel_threshold) for each in steps]


def assert_equal_to_the_last_bit(case: Case, found: Found) -> None:
    steps, reduced = expected(case)
    assert np.array_equal(found.steps, steps[-len(found.steps) :])
    for index, each in enumerate(reduced):
        assert np.array_equal(found.maps[index], each.values)
        result = found.results[index]
        assert (result.score, result.area_px, result.peak) == (each.score, each.area_px, each.peak)


def fields_of(
    module: Module, memory: HostMemory | DeviceMemory, source: FrameSource, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The network's input in half precision, and the field's bytes."""
    plan = ScorePlan(ScoreSpec(residual=ALL_TERMS), shape, ("recon",), input_type="f16")
    pixels = 3 * shape[0] * shape[1]
    workspace, pictures = memory.device_memory(plan.workspace.bytes), memory.device_memory(pixels * 2)
    module.launch(plan.preprocess(source, pictures, workspace, 1), None)
    whole = memory.fetch(workspace, (plan.workspace.bytes,), np.uint8)
    levels = whole[plan.workspace.picture :][:pixels].reshape(3, *shape)
    return memory.fetch(pictures, (3, *shape), np.float16), levels


def assert_equal_to_the_preprocessing(
    module: Module, memory: HostMemory | DeviceMemory, frame: tuple[int, int], preprocess: Preprocess
) -> None:
    """Of a frame of noise: byte for byte what the processor makes."""
    height, width = frame
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    view = preprocess.field_of_view(height, width)
    address = memory.put(image) + (view.y * width + view.x) * 3
    borders = preprocess.borders(view.height, view.width)
    source = FrameSource(address, view.height, view.width, 3, width * 3, image.nbytes, borders)
    pictures, levels = fields_of(module, memory, source, preprocess.shape)
    assert np.array_equal(levels, preprocess.field(image)[:, :, ::-1].transpose(2, 0, 1))
    scaled = (levels * np.float32(2 / 255) - np.float32(1)).astype(np.float16)
    assert np.array_equal(pictures, scaled)
