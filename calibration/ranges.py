"""Activation ranges: the values each tensor of the FP32 network takes; every INT8 target starts here."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.datatypes import F32

Ranges = dict[str, tuple[float, float]]

# foreign patches in one picture, and their sides as shares of its side
_PATCHES, _SMALLEST_PATCH, _LARGEST_PATCH = 4, 1 / 24, 1 / 4


def with_foreign_patches(images: Sequence[F32], seed: int = 0) -> list[F32]:
    """The pictures (3, s, s) in -1..1, and each once more with patches that do not belong there.

    A network that says where defects are must be quantised on some: on good parts alone its loudest activations never
    occur, and INT8 would cut them off. A patch is the negative of what was there, the next picture's, or one colour.
    """
    random = np.random.default_rng(seed)
    return [*images, *(_patched(images[i], images[(i + 1) % len(images)], random) for i in range(len(images)))]


def _patched(image: F32, other: F32, random: np.random.Generator) -> F32:
    altered: F32 = image.copy()
    side = image.shape[-1]
    for kind in np.arange(_PATCHES) % 3:
        height, width = (max(1, round(side * random.uniform(_SMALLEST_PATCH, _LARGEST_PATCH))) for _ in range(2))
        y, x = (int(random.integers(0, side - length + 1)) for length in (height, width))
        place = (slice(None), slice(y, y + height), slice(x, x + width))
        if kind == 0:
            altered[place] = -image[place]
        elif kind == 1:
            altered[place] = other[:, ::-1, ::-1][place]
        else:
            altered[place] = random.uniform(-1, 1, (3, 1, 1))
    return altered


def collect_ranges(model_fp32: bytes, images: Iterable[F32]) -> Ranges:
    """Smallest and largest value of every tensor over the pictures, float32 (3, s, s) in -1..1."""
    from onnxruntime.quantization import CalibrationDataReader
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, pictures: Iterable[F32]) -> None:
            self._pictures: Iterator[F32] = iter(pictures)

        def get_next(self) -> dict[str, Any] | None:
            picture = next(self._pictures, None)
            return None if picture is None else {"image": picture[None]}

    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "model.onnx"
        file.write_bytes(model_fp32)
        calibrator = create_calibrator(
            file,
            augmented_model_path=str(Path(directory) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
            providers=["CPUExecutionProvider"],
        )
        calibrator.collect_data(Reader(images))
        collected = calibrator.compute_data().data
    return {
        name: (float(np.asarray(data.lowest).min()), float(np.asarray(data.highest).max()))
        for name, data in sorted(collected.items())
    }


def ranges_to_bytes(ranges: Ranges) -> bytes:
    return json.dumps(ranges, indent=0).encode()
