"""Lossless formats for pictures on record: `python -m benchmarks.studies.picture_formats [--out FILE.json]`.

The sample line at 1920x1080, once with the noise of a sensor, once as a camera's JPEG was decoded. Every format encodes
each picture in turn, and what it made must decode to the same pixels; those whose package is missing are left out.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.results_file import write_result
from edge.core.datatypes import U8
from edge.records.writer.png import png_bytes
from edge.samples import sample_line

SIZE = (1920, 1080)
SENSOR_NOISE = 2.0
JPEG_QUALITY = 92
# by OpenCV, to see that nothing was lost
_DECODABLE = ("png", "webp", "tiff", "bmp")

Encode = Callable[[U8], bytes]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table on standard output, write --out."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.picture_formats", description=__doc__)
    parser.add_argument("--pictures", type=int, default=4, help="of the sample line (default: 4)")
    parser.add_argument("--rounds", type=int, default=3, help="times each is encoded; the quickest counts (default: 3)")
    parser.add_argument("--out", type=Path, help="write a result file, for example to benchmarks/results/DEVICE/")
    options = parser.parse_args(given)
    rows = []
    for kind, pictures in line_pictures(options.pictures).items():
        rows += measured(kind, formats(), pictures, options.rounds)
    for row in rows:
        print(f"{row['picture']:<8} {row['format']:<28} {row['ms']:8.1f} ms {row['megabytes']:7.2f} MB")
    if options.out is not None:
        command = (
            f"python -m benchmarks.studies.picture_formats --pictures {options.pictures} --rounds {options.rounds}"
        )
        write_result(options.out, command, {"width_px": SIZE[0], "height_px": SIZE[1], "formats": rows})
    return 0


def line_pictures(count: int) -> dict[str, list[U8]]:
    """Pictures of the sample line, as a sensor gives them, and as they come out of a camera's JPEG."""
    noise = np.random.default_rng(0)
    raw, decoded = [], []
    for path in sample_line()[:count]:
        image = cv2.resize(cv2.imread(str(path)), SIZE, interpolation=cv2.INTER_CUBIC)
        noisy = (image + noise.normal(0, SENSOR_NOISE, image.shape)).clip(0, 255).astype(np.uint8)
        raw.append(noisy)
        jpeg = cv2.imencode(".jpg", noisy, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1]
        decoded.append(np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8))
    return {"sensor": raw, "jpeg": decoded}


def formats() -> dict[str, Encode]:
    """Name → encoder; those of packages that are not installed are missing."""
    strategies = {"rle": cv2.IMWRITE_PNG_STRATEGY_RLE, "huffman": cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY}
    found: dict[str, Encode] = {
        "png, ours (ISA-L)": png_bytes,
        "png, OpenCV": _opencv(".png"),
        "png, OpenCV, level 1": _opencv(".png", cv2.IMWRITE_PNG_COMPRESSION, 1),
        **{
            f"png, OpenCV, level 1, {name}": _opencv(
                ".png", cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, strategy
            )
            for name, strategy in strategies.items()
        },
        "webp, lossless": _opencv(".webp", cv2.IMWRITE_WEBP_QUALITY, 101),
        "tiff, lzw": _opencv(".tiff"),
        "bmp": _opencv(".bmp"),
        "raw, zlib level 1": lambda image: zlib.compress(image.data, 1),
    }
    optional: dict[str, tuple[str, Callable[[Any], Encode]]] = {
        "png, Pillow, level 1": ("PIL.Image", _pillow),
        "qoi": ("qoi", lambda qoi: lambda image: qoi.encode(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))),
        "raw, zstd level 1": ("zstandard", lambda zstd: lambda image: zstd.ZstdCompressor(1).compress(image.data)),
    }
    for name, (module, encoder) in optional.items():
        try:
            found[name] = encoder(importlib.import_module(module))
        except ImportError:
            continue
    return found


def _opencv(end: str, *parameters: int) -> Encode:
    return lambda image: np.asarray(cv2.imencode(end, image, parameters)[1]).tobytes()


def _pillow(pillow: Any) -> Encode:
    def encode(image: U8) -> bytes:
        file = io.BytesIO()
        pillow.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).save(file, "PNG", compress_level=1)
        return file.getvalue()

    return encode


def _decoded(data: bytes) -> U8:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def measured(kind: str, encoders: Mapping[str, Encode], pictures: Sequence[U8], rounds: int) -> list[dict[str, Any]]:
    """Mean over these pictures of each format's quickest time and its size; raises ValueError when one is not lossless.

    The formats take turns: what else the machine does meets all of them.
    """
    times_ms = {name: np.full(len(pictures), np.inf) for name in encoders}
    sizes = {name: np.zeros(len(pictures)) for name in encoders}
    for _ in range(rounds):
        for place, image in enumerate(pictures):
            for name, encode in encoders.items():
                before_ns = time.perf_counter_ns()
                data = encode(image)
                taken_ms = (time.perf_counter_ns() - before_ns) / 1e6
                times_ms[name][place] = min(times_ms[name][place], taken_ms)
                sizes[name][place] = len(data)
                if name.split(",")[0] in _DECODABLE and not np.array_equal(_decoded(data), image):
                    raise ValueError(f"{name} is not lossless")
    return [
        {
            "picture": kind,
            "format": name,
            "ms": round(float(times_ms[name].mean()), 2),
            "megabytes": round(float(sizes[name].mean()) / 1e6, 3),
        }
        for name in encoders
    ]


if __name__ == "__main__":
    sys.exit(main())
