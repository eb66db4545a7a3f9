"""Build the shipped sample data set: a subset of a public one, as lossless WebP, with a manifest and a line order.

Source: https://github.com/aws-samples/amazon-lookout-for-vision, folder aliens-dataset,
commit 14bed61caa82d07bcbd32ca583359eacfd954c30, CC BY-SA 4.0.

    python -m training.data.make_sample_line --source path/to/aliens-dataset
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np

from edge.core.datatypes import U8
from edge.core.errors import EdgeInspectError, UsageError
from edge.samples import sample_data

NORMALS, ANOMALIES = 58, 60
SIZE_LIMIT_BYTES = 6_000_000
# good parts shown before each anomaly: 30 to 10, uneven as on a line
GOOD_BEFORE_ANOMALY = (3, 2, 4, 3, 5, 1, 3, 4, 2, 3)


@dataclass(frozen=True)
class Sample:
    """One picture: `folder` in the sample set, class and number in the source."""

    folder: str
    kind: str
    number: int

    @property
    def file(self) -> str:
        return f"{self.folder}/{self.number:03d}.webp"

    @property
    def origin(self) -> str:
        return f"aliens-dataset/{self.kind}/{self.number}.png"


def selection() -> list[Sample]:
    """Which pictures are shipped, by number alone.

    Normals: every third is for testing, the others for training. Of the test pictures, normals with an even number and
    anomalies with an even number are left out on purpose: they stay unseen, for an evaluation that nobody has tuned on.
    Of the 30 remaining anomalies every third is taken, so that the set stays small.
    """
    train = [Sample("train/good", "normal", n) for n in range(1, NORMALS + 1) if n % 3 != 0]
    good = [Sample("test/good", "normal", n) for n in range(3, NORMALS + 1, 6)]
    anomalies = [Sample("test/anomaly", "anomaly", n) for n in range(1, ANOMALIES + 1, 6)]
    return train + good + anomalies


def line_order(samples: list[Sample]) -> Iterator[Sample]:
    """Test parts as a line would bring them: mostly good, never the same picture twice in a row."""
    good = cycle([sample for sample in samples if sample.folder == "test/good"])
    anomalies = [sample for sample in samples if sample.folder == "test/anomaly"]
    for count, anomaly in zip(cycle(GOOD_BEFORE_ANOMALY), anomalies, strict=False):
        yield from islice(good, count)
        yield anomaly


def source_file(source: Path, sample: Sample) -> Path:
    """The picture in the published layout (normal/1.png) or in train/ and test/ folders (train/good/001.png)."""
    for candidate in (f"{sample.kind}/{sample.number}.png", f"{sample.folder}/{sample.number:03d}.png"):
        if (source / candidate).is_file():
            return source / candidate
    raise UsageError(
        f"{source}: no picture for {sample.origin}",
        fix="point --source at aliens-dataset of the repository named in edge/samples/aliens/README.md",
    )


def pixels_sha256(image: U8) -> str:
    """SHA-256 of the uint8 BGR (H, W, 3) pixels, row by row: equal for equal pictures in any lossless format."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def write_lossless(image: U8, path: Path) -> None:
    """Store as lossless WebP, and prove it by decoding again."""
    # a quality above 100 is OpenCV's way of asking for lossless
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_WEBP_QUALITY, 101]):
        raise UsageError(f"{path}: cannot be written as WebP", fix="use an OpenCV with WebP support")
    again = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if again is None or again.shape != image.shape or not np.array_equal(again, image):
        raise UsageError(f"{path}: differs from its source after decoding", fix="use an OpenCV with lossless WebP")


def build(source: Path, target: Path) -> int:
    """Replace pictures, manifest.csv and line.txt in `target`; returns the bytes in `target`, without its bundle."""
    samples = selection()
    files = [source_file(source, sample) for sample in samples]
    for folder in ("train", "test"):
        shutil.rmtree(target / folder, ignore_errors=True)
    rows = []
    for sample, file in zip(samples, files, strict=True):
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is None:
            raise UsageError(f"{file}: not a readable picture", fix="fetch the source again")
        pixels = np.asarray(image, np.uint8)
        path = target / sample.file
        path.parent.mkdir(parents=True, exist_ok=True)
        write_lossless(pixels, path)
        height, width = pixels.shape[:2]
        rows.append(
            (sample.file, sample.kind, sample.origin, height, width, path.stat().st_size, pixels_sha256(pixels))
        )
    with (target / "manifest.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("file", "class", "source", "height_px", "width_px", "bytes", "pixels_sha256"))
        writer.writerows(rows)
    lines = [f"{sample.file}\n" for sample in line_order(samples)]
    (target / "line.txt").write_text("".join(lines), encoding="utf-8")
    bundle = target / "bundle"
    total = sum(path.stat().st_size for path in target.rglob("*") if path.is_file() and bundle not in path.parents)
    if total > SIZE_LIMIT_BYTES:
        raise UsageError(
            f"{target}: {total} bytes, more than the {SIZE_LIMIT_BYTES} that may be shipped",
            fix="select fewer pictures in training/data/make_sample_line.py",
        )
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description="Build edge/samples/aliens from its public source.")
    parser.add_argument("--source", type=Path, required=True, help="the folder aliens-dataset")
    parser.add_argument("--target", type=Path, default=sample_data(), help="default: %(default)s")
    arguments = parser.parse_args()
    try:
        total = build(arguments.source, arguments.target)
    except EdgeInspectError as error:
        raise SystemExit(str(error)) from error
    print(f"{arguments.target}: {len(selection())} pictures, {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
