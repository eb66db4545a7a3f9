"""Features of good parts through the exported network: axes that tell places apart, and the places of each picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

from calibration.memory.designs import MemoryDesign
from edge.core.datatypes import F32, U8
from edge.kernels.cpu import planes_from_field
from export.memory_graph import Memory, memories_of, places_name, with_places

# pictures that means, spreads and axes are taken of, and places of each
_PICTURES, _PLACES = 48, 256
_SMALLEST_SPREAD = 1e-6


class TensorReader:
    """Reads tensors of an ONNX graph, one field at a time, through ONNX Runtime on the CPU."""

    def __init__(self, model: bytes, names: Sequence[str], threads: int | None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        if threads is not None:
            options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._names = list(names)
        self._input = self._session.get_inputs()[0].name

    def __call__(self, field: U8) -> list[F32]:
        """Each tensor (channels, rows, columns), for a field uint8 (h, w, 3) BGR."""
        planes = planes_from_field(field, np.empty((3, *field.shape[:2]), np.float32))
        return [values[0] for values in self._session.run(self._names, {self._input: planes[None]})]


def without_centres(
    model: bytes, fields: U8, designs: Sequence[MemoryDesign], random: np.random.Generator,
    threads: int | None,
) -> tuple[Memory, ...]:  # fmt: skip
    """Memories that know how to make places of features, and no good place yet (one centre at zero).

    Per-channel standardisation, then principal axes, not whitened: where good parts vary little, little is told apart.
    """
    taps = list(dict.fromkeys(tap for design in designs for tap in design.taps))
    read = TensorReader(model, taps, threads)
    shown = np.unique(np.linspace(0, len(fields) - 1, min(_PICTURES, len(fields))).round().astype(int))
    samples: list[list[F32]] = [[] for _ in designs]
    for number in shown:
        features = dict(zip(taps, read(fields[int(number)]), strict=True))
        for design, kept in zip(designs, samples, strict=True):
            joined = _joined([features[tap] for tap in design.taps])
            kept.append(joined[random.choice(len(joined), min(_PLACES, len(joined)), replace=False)])
    return tuple(
        _axes(design, np.concatenate(kept), [len(features[tap]) for tap in design.taps])
        for design, kept in zip(designs, samples, strict=True)
    )


def places_of(model: bytes, fields: Iterable[U8], threads: int | None) -> Iterator[list[F32]]:
    """Of each field, the places of each memory of a graph, (rows, columns, axes)."""
    names = [places_name(memory.name) for memory in memories_of(model)]
    read = TensorReader(with_places(model), names, threads)
    for field in fields:
        yield [np.ascontiguousarray(values.transpose(1, 2, 0)) for values in read(field)]


def _joined(features: Sequence[F32]) -> F32:
    """(places, channels of all taps) on the grid of the first, each tap averaged over 3 x 3 places of its own."""
    rows, columns = features[0].shape[1:]
    planes = []
    for values in features:
        last = np.ascontiguousarray(values.transpose(1, 2, 0))
        mean = _mean_of_neighbours(last)
        planes.append(np.repeat(np.repeat(mean, rows // len(mean), 0), columns // mean.shape[1], 1))
    return np.concatenate(planes, 2).reshape(rows * columns, -1)


def _mean_of_neighbours(features: F32) -> F32:
    """Over the places of a 3 x 3 square that are there, as AveragePool without padding counts them."""
    rows, columns, _ = features.shape
    total: F32 = np.zeros_like(features)
    padded = np.pad(features, ((1, 1), (1, 1), (0, 0)))
    for y in range(3):
        for x in range(3):
            total += padded[y : y + rows, x : x + columns]
    there = np.ones((rows, columns), np.float32)
    count = cv2.boxFilter(there, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    mean: F32 = total / np.asarray(count)[:, :, None]
    return mean


def _axes(design: MemoryDesign, samples: F32, channels: Sequence[int]) -> Memory:
    mean = samples.mean(0, dtype=np.float64)
    spread = np.maximum(samples.std(0, dtype=np.float64), _SMALLEST_SPREAD)
    standard = (samples - mean) / spread
    _, vectors = np.linalg.eigh(standard.T @ standard)
    # the sign of an axis is nobody's choice: the same on every machine
    axes = vectors[:, ::-1][:, : design.axes].T
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    turn = (axes / spread).astype(np.float32)
    bias = -(axes / spread @ mean).astype(np.float32)
    parts = np.split(turn, np.cumsum(channels)[:-1], axis=1)
    nothing = np.zeros((1, len(axes)), np.float32)
    one = np.ones((1, 1), np.float32)
    return Memory(design.name, design.taps, tuple(parts), bias, nothing, 0 * one, one)
