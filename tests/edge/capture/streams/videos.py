"""Small videos made with PyAV: every picture shows its number, and can be damaged before it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

HEIGHT, WIDTH, CELLS = 96, 128, 8
KEY_EVERY = 10


def numbered(number: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """uint8 (H, W, 3): the number in black and white columns, on a ground that changes with it."""
    height, width = size
    noise = np.random.default_rng(number).integers(60, 190, (height // 8, width // 8, 3), dtype=np.uint8)
    picture = np.kron(noise, np.ones((8, 8, 1), np.uint8))
    bits = [number >> place & 1 for place in range(CELLS)]
    picture[height // 3 : 2 * height // 3] = np.repeat(np.array(bits, np.uint8) * 255, width // CELLS)[None, :, None]
    return picture


def number_in(picture: np.ndarray) -> int:
    row = picture[picture.shape[0] // 2].mean(axis=1)
    cells = row.reshape(CELLS, -1).mean(axis=1) > 127
    return sum(1 << place for place, bit in enumerate(cells) if bit)


def encoded(count: int, codec: str = "libx264", **options: str) -> tuple[list[bytes], av.VideoCodecContext]:
    """The compressed pictures in Annex B, without reordering, a key frame every KEY_EVERY."""
    try:
        context = av.CodecContext.create(codec, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this FFmpeg has no {codec}")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.framerate, context.time_base = Fraction(10), Fraction(1, 10)
    context.options = {"g": str(KEY_EVERY), "bf": "0", "crf": "10", "tune": "zerolatency", **options}
    packets: list[bytes] = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(numbered(number), format="bgr24")
        frame.pts = number
        packets += [bytes(packet) for packet in context.encode(frame)]
    packets += [bytes(packet) for packet in context.encode(None)]
    return packets, context


def write_stream(path: Path, packets: Sequence[bytes]) -> Path:
    """A raw H.264 file."""
    path.write_bytes(b"".join(packets))
    return path


def write_container(path: Path, count: int, codec: str = "libx264", rate: int = 10, **options: str) -> Path:
    """A file in the container that its suffix names."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = {"g": str(KEY_EVERY), **options}
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def copied(path: Path, out: Path, keep: Callable[[int], bool] = lambda number: True) -> Path:
    """The same packets in another container, without coding them anew."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.dts is not None and keep(number):
                packet.stream = stream
                target.mux(packet)
    return out
