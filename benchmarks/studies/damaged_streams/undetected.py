"""How often changed bytes inside a compressed picture leave a picture that nobody complains about.

    python -m benchmarks.studies.damaged_streams.undetected

Each picture is damaged once and decoded as the line does it. Counted are those whose pixels changed, and of these the
ones that came out as whole. `hevc_with_hash`: HEVC whose sender adds check sums.
"""

from __future__ import annotations

import argparse
import io
import random
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.program import Values, option, program
from benchmarks.results_file import result_path
from benchmarks.studies.damaged_streams.disturbances import damaged
from benchmarks.studies.damaged_streams.mjpeg_camera import jpeg
from benchmarks.studies.damaged_streams.run import write_parts
from benchmarks.studies.damaged_streams.scene import Label, Picture, draw, load_parts
from edge.capture.images.image_io import decode_picture
from edge.capture.streams.video_decoder import VideoDecoder
from edge.core.config import CameraSettings
from edge.core.errors import UndecodableImage
from edge.core.progress import say

KINDS = ("cut", "cut_with_end", "zeroed", "garbled", "shortened", "one_bit")
KEY_FRAME_EVERY = 15
VIDEO_LENGTH = 30
# grey levels: less than this no change can be seen
VISIBLE = 16


def changed(rng: random.Random, encoded: bytes, kind: str) -> bytes:
    if kind != "one_bit":
        return damaged(rng, encoded, kind)
    content = bytearray(encoded)
    content[rng.randrange(len(content) // 4, len(content))] ^= 1 << rng.randrange(8)
    return bytes(content)


def of_jpegs(parts: Picture, rng: random.Random, kind: str, count: int) -> tuple[int, int]:
    """(pictures whose pixels changed, those of them that came out as whole)."""
    harmed = passed = 0
    for number in range(count):
        whole = jpeg(draw(parts, Label(number, number % len(parts), number)))
        try:
            picture = decode_picture(changed(rng, whole, kind))
        except UndecodableImage:
            harmed += 1
            continue
        if _differs(picture, decode_picture(whole)):
            harmed, passed = harmed + 1, passed + 1
    return harmed, passed


def of_videos(
    codec: str, parts: Picture, rng: random.Random, kind: str, count: int, parameters: str = ""
) -> tuple[int, int]:
    """The same of videos in which one picture was changed: a video is one, with all that is predicted from it."""
    packets = _coded(codec, parts, parameters)
    format_name = {"libx264": "h264", "libx265": "hevc"}[codec]
    expected = _shown(packets, format_name)
    harmed = passed = 0
    for _ in range(count):
        place = rng.randrange(1, VIDEO_LENGTH)
        shown = _shown([*packets[:place], changed(rng, packets[place], kind), *packets[place + 1 :]], format_name)
        if len(shown) != VIDEO_LENGTH:
            # one is missing, which the verdicts' numbers tell
            harmed += 1
            continue
        faulty = [picture is None for picture in shown]
        wrong = [
            picture is not None and before is not None and _differs(picture, before)
            for picture, before in zip(shown, expected, strict=True)
        ]
        harmed += any(faulty) or any(wrong)
        passed += any(wrong)
    return harmed, passed


def _coded(codec: str, parts: Picture, parameters: str) -> list[bytes]:
    context: Any = av.CodecContext.create(codec, "w")
    first = draw(parts, Label(0, 0, 0))
    context.height, context.width = first.shape[:2]
    context.pix_fmt, context.framerate, context.time_base = "yuv420p", Fraction(15), Fraction(1, 15)
    quiet = {"x265-params": f"log-level=0{parameters}"} if codec == "libx265" else {}
    context.options = {"g": str(KEY_FRAME_EVERY), "bf": "0", "crf": "18", "tune": "zerolatency", **quiet}
    packets: list[bytes] = []
    for number in range(VIDEO_LENGTH):
        picture = draw(parts, Label(number, number // 4 % len(parts), 66 * number))
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts = number
        packets += [bytes(packet) for packet in context.encode(frame)]
    return packets + [bytes(packet) for packet in context.encode(None)]


def _shown(packets: Sequence[bytes], format_name: str) -> list[Picture | None]:
    container: Any = av.open(io.BytesIO(b"".join(packets)), format=format_name)
    decoder = VideoDecoder(container, CameraSettings())
    now, pictures = datetime.now(timezone.utc), []
    while (picture := decoder.read()) is not None:
        pictures.append(picture.frame(0, 0, now, "video").image)
    decoder.close()
    return pictures


def _differs(one: Picture, other: Picture) -> bool:
    return one.shape != other.shape or bool((np.abs(one.astype(int) - other) > VISIBLE).any())


@program(
    option("--count", type=int, default=400, help="damaged pictures of each kind and format"),
    option("--out", type=Path, default=result_path("undetected-damage")),
)
def main(options: argparse.Namespace) -> Values:
    """Damage every kind of picture in every way."""
    with tempfile.TemporaryDirectory() as folder:
        write_parts(Path(folder) / "parts.npy")
        parts = load_parts(Path(folder) / "parts.npy")
    measures: dict[str, Callable[[random.Random, str, int], tuple[int, int]]] = {
        "jpeg": lambda rng, kind, count: of_jpegs(parts, rng, kind, count),
        "h264": lambda rng, kind, count: of_videos("libx264", parts, rng, kind, count),
        "hevc": lambda rng, kind, count: of_videos("libx265", parts, rng, kind, count),
        "hevc_with_hash": lambda rng, kind, count: of_videos("libx265", parts, rng, kind, count, ":hash=1"),
    }
    results: dict[str, Any] = {}
    for name, measure in measures.items():
        for kind in KINDS:
            if name != "jpeg" and kind == "cut_with_end":
                continue
            harmed, passed = measure(random.Random(f"{name} {kind}"), kind, options.count)
            results.setdefault(name, {})[kind] = {"harmed": harmed, "passed_as_whole": passed}
            say(f"{name:14} {kind:12} {passed:4} of {harmed} pass as whole")
    return results


if __name__ == "__main__":
    raise SystemExit(main())
