"""A tiny real bundle: a network that returns its input blurred, so fine defects are what it cannot reproduce."""

import itertools
from pathlib import Path

import numpy as np

from calibration.adjust import with_review
from calibration.baseline import calibrate
from calibration.ranges import collect_ranges, ranges_to_bytes
from edge.backends.cpu import open_network
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.bundles.versions import write_bundle
from edge.core.manifest import (
    FileEntry,
    ImageScoreSpec,
    InputSpec,
    Manifest,
    PreprocessSpec,
    ResidualSpec,
    ScoreSpec,
    SmoothSpec,
    TrainingRecord,
)
from edge.kernels.cpu import planes_from_field
from edge.preprocessing.preprocess import Preprocess
from export.qdq import quantized_for_cpu
from tests.fakes import write_picture

SIZE = 32


def good_part(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A grey plate with a bright disc, slightly different each time; uint8 BGR."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    centre = np.array([height / 2, width / 2]) + random.normal(0, 0.5, 2)
    distance = np.hypot(y - centre[0], x - centre[1])
    plate = 90 + 80 / (1 + np.exp((distance - min(height, width) / 4) / 2))
    picture = plate[..., None] + random.normal(0, 2, (height, width, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)


def bad_part(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A good part with a sharp dark scratch."""
    picture = good_part(seed, height, width)
    picture[height // 3 : height // 3 + 3, width // 4 : 3 * width // 4] = 5
    return picture


def good_field(seed: int) -> np.ndarray:
    """A good part as the network sees it, float32 (3, SIZE, SIZE) in -1..1."""
    return planes_from_field(Preprocess(SIZE, SIZE).field(good_part(seed)), np.empty((3, SIZE, SIZE), np.float32))


def blur_network(size: int = SIZE) -> bytes:
    """FP32 ONNX: image → a convolution that changes nothing → two 3x3 ones, each a per-channel mean → recon.

    Three, because the first and the last stay in floating point.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    weight = np.zeros((3, 3, 3, 3), np.float32)
    for channel in range(3):
        weight[channel, channel] = 1 / 9
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, size, size])
    recon = helper.make_tensor_value_info("recon", TensorProto.FLOAT, [1, 3, size, size])
    identity = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    constants = [
        numpy_helper.from_array(values, name) for name, values in (("w0", identity), ("w1", weight), ("w2", weight))
    ]
    nodes = [
        helper.make_node("Conv", ["image", "w0"], ["entered"], name="first"),
        helper.make_node("Conv", ["entered", "w1"], ["inner"], name="middle", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["inner", "w2"], ["recon"], name="last", pads=[1, 1, 1, 1]),
    ]
    graph = helper.make_graph(nodes, "blur", [image], [recon], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return model.SerializeToString()


def copying(model: bytes, *weights: str) -> bytes:
    """The network with these means replaced by the pixel itself: without a mean no defect leaves a residual."""
    from onnx import load_model_from_string, numpy_helper

    loaded = load_model_from_string(model)
    for tensor in loaded.graph.initializer:
        if tensor.name in weights:
            centre = np.zeros_like(numpy_helper.to_array(tensor))
            centre[range(3), range(3), 1, 1] = 1
            tensor.CopyFrom(numpy_helper.from_array(centre, tensor.name))
    return loaded.SerializeToString()


def burdened(model: bytes, convolutions: int = 100) -> bytes:
    """The network behind convolutions that change nothing but the time that it takes."""
    from onnx import checker, helper, load_model_from_string, numpy_helper

    loaded = load_model_from_string(model)
    graph = loaded.graph
    centre = np.zeros((3, 3, 3, 3), np.float32)
    centre[range(3), range(3), 1, 1] = 1
    names = ["image", *(f"idle{number}" for number in range(convolutions))]
    nodes = [
        helper.make_node("Conv", [before, "w_idle"], [after], name=after, pads=[1, 1, 1, 1])
        for before, after in itertools.pairwise(names)
    ]
    for node in graph.node:
        node.input[:] = [names[-1] if name == "image" else name for name in node.input]
    nodes += list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.append(numpy_helper.from_array(centre, "w_idle"))
    checker.check_model(loaded)
    return loaded.SerializeToString()


def manifest(size: int = SIZE, **changes: object) -> Manifest:
    values: dict[str, object] = {
        "method": "kist",
        "variant": "test",
        "product": "plate",
        "created_utc": "2026-01-01T00:00:00+00:00",
        "input": InputSpec(height=size, width=size),
        "preprocess": PreprocessSpec(),
        "outputs": ("recon",),
        "score": ScoreSpec(
            residual=ResidualSpec(w_l1=1, w_gms=1), smooth=SmoothSpec(radius=2), image_score=ImageScoreSpec(k=8)
        ),
        "training": TrainingRecord(
            software="tests", seed=0, steps=0, n_train=0, n_heldout=24, data_sha256="0" * 64, selection="none"
        ),
        "files": {"model_fp32": FileEntry(name="model_fp32.onnx", sha256="0" * 64, bytes=0)},
    }
    return Manifest.model_validate(values | changes)


def make_bundle(path: Path, normals: int = 24, model: bytes | None = None, **changes: object) -> ModelBundle:
    """Quantise and calibrate a network (none: the blur network) on good parts, as the commands do.

    For half a percent of rejects: its good parts are OK, and none is for review, unless a test asks for it.
    """
    model, wanted = model or blur_network(), manifest(**changes)
    bundle = write_bundle(path, wanted, {"model_fp32": ("model_fp32.onnx", model)})
    parts = [good_part(seed) for seed in range(normals)]
    shape = (3, *bundle.preprocess.shape)
    fields = [planes_from_field(bundle.preprocess.field(part), np.empty(shape, np.float32)) for part in parts]
    # of a field in tiles, one of them
    height, width = wanted.input.height, wanted.input.width
    ranges = collect_ranges(model, [np.ascontiguousarray(field[:, :height, :width]) for field in fields])
    files = {
        "model_int8": ("model_int8.onnx", quantized_for_cpu(model, ranges)),
        "ranges": ("ranges.json", ranges_to_bytes(ranges)),
    }
    bundle = write_bundle(path, bundle.manifest, files)
    calibrations = {}
    for precision in ("int8", "fp32"):
        network = open_network("openvino", bundle.read(f"model_{precision}"), bundle.manifest, 1)
        calibration = calibrate(
            network,
            bundle.model_sha256(precision),
            bundle.manifest,
            bundle.preprocess,
            [bundle.preprocess.field(part) for part in parts],
            weight=bundle.preprocess.weight(*parts[0].shape[:2]),
            budget=0.005,
            created_utc="2026-01-01T00:00:00+00:00",
        )
        calibration = with_review(calibration, None)
        calibrations[f"calibration_{precision}"] = (f"calibration_{precision}.npz", calibration.to_bytes())
    write_bundle(path, bundle.manifest, calibrations)
    return load_bundle(path)


def parts_folder(place: Path) -> Path:
    """Twelve good parts in train/good, and four scratched ones beside them in ng."""
    for kind, part, count in (("train/good", good_part, 12), ("ng", bad_part, 4)):
        (place / kind).mkdir(parents=True)
        for number in range(count):
            write_picture(place / kind / f"{number}.png", part(300 + number))
    return place
