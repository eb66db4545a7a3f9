"""Activation ranges: the values each tensor of the FP32 network takes; every INT8 target starts here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edge.core.datatypes import F32
from export.graph import graph_from_onnx
from export.operators import quantizable_tensors
from export.tensor_ranges import Ranges

# foreign patches in one picture, and their sides as shares of its side
_PATCHES, _SMALLEST_PATCH, _LARGEST_PATCH = 4, 1 / 24, 1 / 4
# values kept of each tensor over all pictures together: enough for a quantile of one in ten thousand
_KEPT_VALUES = 2**18
# of the entropy estimator: bins of the histogram, levels of INT8 in it, distance of the limits that are tried
_BINS, _LEVELS, _STRIDE = 2048, 128, 16


@dataclass(frozen=True)
class Activations:
    """What tensors of a network did on some pictures: extremes and channel means of all values, a random sample."""

    extremes: Ranges
    samples: dict[str, F32]


def with_foreign_patches(images: Sequence[F32], seed: int = 0) -> list[F32]:
    """The pictures (3, s, s) in -1..1, and each once more with patches that do not belong there.

    A network that says where defects are must be quantised on some: on good parts alone its loudest activations never
    occur, and INT8 would cut them off. A patch is the negative of what was there, the next picture's, or one colour.
    """
    random = np.random.default_rng(seed)
    return [*images, *(_patched(images[i], images[(i + 1) % len(images)], random) for i in range(len(images)))]


def _patched(image: F32, other: F32, random: np.random.Generator) -> F32:
    altered: F32 = image.copy()
    sides = image.shape[1:]
    for kind in np.arange(_PATCHES) % 3:
        height, width = (max(1, round(side * random.uniform(_SMALLEST_PATCH, _LARGEST_PATCH))) for side in sides)
        y, x = (int(random.integers(0, side - length + 1)) for side, length in zip(sides, (height, width), strict=True))
        place = (slice(None), slice(y, y + height), slice(x, x + width))
        if kind == 0:
            altered[place] = -image[place]
        elif kind == 1:
            altered[place] = other[:, ::-1, ::-1][place]
        else:
            altered[place] = random.uniform(-1, 1, (3, 1, 1))
    return altered


def collect_ranges(model_fp32: bytes, images: Iterable[F32]) -> Ranges:
    """Smallest and largest value of every tensor that INT8 may touch, over the pictures, float32 (3, h, w) in -1..1."""
    return collect_activations(model_fp32, images).extremes


def collect_activations(model_fp32: bytes, images: Iterable[F32], threads: int | None = None) -> Activations:
    """Run the pictures through the FP32 network and keep what its tensors did."""
    import onnx
    import onnxruntime

    graph = graph_from_onnx(model_fp32)
    names = quantizable_tensors(graph)
    pictures = list(images)
    known = {*graph.inputs, *graph.outputs}
    graph.model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, graph.floats[name])
        for name in names
        if name not in known
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if threads is not None:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    quota = -(-_KEPT_VALUES // max(1, len(pictures)))
    computed = [name for name in names if name not in graph.inputs]
    extremes = Ranges()
    kept: dict[str, list[F32]] = {name: [] for name in names}
    for picture in pictures:
        values = dict(zip(computed, session.run(computed, {graph.inputs[0]: picture[None]}), strict=True))
        for name in names:
            tensor = values[name] if name in values else picture[None]
            if tensor.ndim == 4:
                share = tensor.mean((0, 2, 3), dtype=np.float64) / len(pictures)
                extremes.means[name] = extremes.means.get(name, 0) + share
            flat = tensor.ravel()
            low, high = float(flat.min()), float(flat.max())
            before = extremes.get(name, (low, high))
            extremes[name] = (min(low, before[0]), max(high, before[1]))
            some = flat if flat.size <= quota else flat[random.integers(0, flat.size, quota)]
            kept[name].append(some.copy())
    return Activations(extremes, {name: np.concatenate(parts) for name, parts in kept.items()})


def max_ranges(activations: Activations) -> Ranges:
    """Nothing seen is cut off."""
    return activations.extremes


def percentile_ranges(activations: Activations, share: float) -> Ranges:
    """The range that holds `share` of the values on either side: rare loud values are cut off."""
    result = Ranges(means=activations.extremes.means)
    for name, values in activations.samples.items():
        low, high = np.quantile(values, [1 - share, share])
        result[name] = (float(low), float(high))
    return result


def entropy_ranges(activations: Activations) -> Ranges:
    """The range whose INT8 histogram tells least of the float one apart (Kullback-Leibler divergence).

    One limit for both signs. Zeros are left out: they are exact in every range, and after a ReLU half of all values.
    """
    result = Ranges(means=activations.extremes.means)
    for name, values in activations.samples.items():
        low, high = activations.extremes[name]
        limit = _entropy_limit(np.abs(values[values != 0]), max(-low, high))
        result[name] = (max(low, -limit), min(high, limit))
    return result


def _entropy_limit(magnitudes: F32, peak: float) -> float:
    if not magnitudes.size or peak <= 0:
        return peak
    histogram = np.histogram(magnitudes, _BINS, (0.0, peak))[0].astype(np.float64)
    best, chosen = np.inf, _BINS
    for end in range(_LEVELS, _BINS + 1, _STRIDE):
        clipped = histogram[:end].copy()
        clipped[-1] += histogram[end:].sum()
        coarse = _requantised(histogram[:end])
        divergence = _divergence(clipped, coarse)
        if divergence < best:
            best, chosen = divergence, end
    return peak * chosen / _BINS


def _requantised(histogram: np.ndarray) -> np.ndarray:
    """The histogram as INT8 would leave it: each level's counts shared out among its bins that are not empty."""
    starts = (np.arange(_LEVELS) * histogram.size) // _LEVELS
    level = np.repeat(np.arange(_LEVELS), np.diff(np.append(starts, histogram.size)))
    filled = (histogram > 0).astype(np.float64)
    totals, places = np.add.reduceat(histogram, starts), np.add.reduceat(filled, starts)
    shared: np.ndarray = (totals / np.maximum(places, 1))[level] * filled
    return shared


def _divergence(reference: np.ndarray, other: np.ndarray) -> float:
    if not other.sum():
        return np.inf
    p, q = reference / reference.sum(), other / other.sum()
    there = p > 0
    # where INT8 has nothing left, the reference's mass counts as told apart by a factor of a million
    return float(np.sum(p[there] * np.log(p[there] / np.maximum(q[there], 1e-6 * p[there]))))


def ranges_to_bytes(ranges: Ranges) -> bytes:
    """A line for each tensor: smallest, largest, then the means of its channels."""
    rows = {name: [*limits, *map(_short, ranges.means.get(name, ()))] for name, limits in ranges.items()}
    return ("{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()) + "\n}").encode()


def ranges_from_bytes(data: bytes) -> Ranges:
    """Bundles from before means were kept have none."""
    rows = {name: [float(value) for value in row] for name, row in json.loads(data).items()}
    means = {name: np.array(row[2:], np.float64) for name, row in rows.items() if len(row) > 2}
    return Ranges({name: (row[0], row[1]) for name, row in rows.items()}, means)


def _short(value: float) -> float:
    return float(f"{value:.6g}")
