"""Activation ranges: the values each tensor of the FP32 network takes on good parts; every INT8 target starts here."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edge.datatypes import F32

Ranges = dict[str, tuple[float, float]]


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
