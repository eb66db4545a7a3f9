"""Whole JPEGs, whatever surrounds them, give OpenCV's pixels; cut and damaged ones give none."""

from __future__ import annotations

import io
from itertools import product

import cv2
import numpy as np
import pytest
from PIL import Image

from edge.capture.images.image_io import decode_picture
from edge.capture.images.jpeg import END, decode_jpeg, jpeg_layout
from edge.core.errors import UndecodableImage
from tests.fakes import picture

SAMPLING = {"444": 0x111111, "422": 0x211111, "420": 0x221111, "440": 0x121111, "411": 0x411111}


def jpeg(image: np.ndarray, *, progressive: bool = False, sampling: str = "420", restart: int = 0) -> bytes:
    options = [
        cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive), cv2.IMWRITE_JPEG_RST_INTERVAL, restart,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING[sampling],
    ]  # fmt: skip
    return cv2.imencode(".jpg", image, options)[1].tobytes()


def noisy(height: int, width: int) -> np.ndarray:
    random = np.random.default_rng(5)
    return np.clip(picture(5, height, width).astype(int) + random.integers(-25, 26, (height, width, 3)), 0, 255).astype(
        np.uint8
    )


def decoded(encoded: bytes) -> np.ndarray:
    return decode_jpeg(encoded, jpeg_layout(encoded))


def by_opencv(encoded: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)


def scan_start(encoded: bytes) -> int:
    at = encoded.rindex(b"\xff\xda")
    return at + 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")


def without_tables(encoded: bytes) -> bytes:
    """As cameras with Motion JPEG send it: the Huffman tables are the standard ones, and left out."""
    while (at := encoded.find(b"\xff\xc4")) >= 0:
        encoded = encoded[:at] + encoded[at + 2 + int.from_bytes(encoded[at + 2 : at + 4], "big") :]
    return encoded


def test_the_pixels_are_those_of_opencv(subtests):
    for sampling, progressive, restart in product(SAMPLING, [False, True], [0, 3]):
        with subtests.test(sampling=sampling, progressive=progressive, restart=restart):
            for size in ((1, 1), (7, 13), (16, 16), (61, 83)):
                encoded = jpeg(noisy(*size), progressive=progressive, sampling=sampling, restart=restart)
                layout = jpeg_layout(encoded)
                assert (layout.height_px, layout.width_px, layout.channels, layout.end) == (*size, 3, len(encoded))
                np.testing.assert_array_equal(decode_jpeg(encoded, layout), by_opencv(encoded))


def test_a_grey_picture_has_three_equal_channels():
    encoded = cv2.imencode(".jpg", picture(1)[:, :, 0])[1].tobytes()
    assert jpeg_layout(encoded).channels == 1
    np.testing.assert_array_equal(decoded(encoded), by_opencv(encoded))


def test_motion_jpeg_without_huffman_tables_is_decoded():
    encoded = jpeg(noisy(60, 80), sampling="422")
    np.testing.assert_array_equal(decoded(without_tables(encoded)), by_opencv(encoded))


def test_what_follows_the_end_is_not_looked_at(subtests):
    encoded, noise = jpeg(picture(2)), b"\0\0\0\x18ftypmp42" + b"\xff\xda\xff\xd8" * 20
    for behind in (b"maker notes", bytes(5000), b"\xff" * 9, noise, jpeg(picture(3))):
        with subtests.test(behind=behind[:12]):
            assert jpeg_layout(encoded + behind).end == len(encoded)
            np.testing.assert_array_equal(decoded(encoded + behind), by_opencv(encoded))


def test_the_end_of_a_thumbnail_is_not_the_end():
    thumbnail, whole = jpeg(picture(1, 8, 8)), jpeg(picture(2))
    holding = whole[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + whole[2:]
    assert jpeg_layout(holding).end == len(holding)
    with pytest.raises(UndecodableImage, match="cut off"):
        jpeg_layout(holding[:-2])


def test_a_rotation_that_the_file_notes_is_not_applied():
    plain = jpeg(picture(2))
    note = bytes.fromhex("ffe1001e457869660000") + b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    np.testing.assert_array_equal(decoded(plain[:2] + note + plain[2:]), by_opencv(plain))


def test_a_picture_that_breaks_off_is_refused_with_and_without_an_end_marker(subtests):
    for progressive, share in product([False, True], [0.1, 0.35, 0.6, 0.98]):
        with subtests.test(progressive=progressive, share=share):
            encoded = jpeg(noisy(120, 160), progressive=progressive)
            start = scan_start(encoded) if not progressive else encoded.index(b"\xff\xda") + 20
            cut = encoded[: start + int(share * (len(encoded) - 2 - start))]
            with pytest.raises(UndecodableImage, match="cut off"):
                jpeg_layout(cut)
            with pytest.raises(UndecodableImage, match=r"damaged|cut off"):
                decoded(cut + END)
            with pytest.raises(UndecodableImage, match="another picture begins"):
                jpeg_layout(encoded[: scan_start(encoded) + 40].rstrip(b"\xff") + encoded)


def test_a_damaged_stretch_is_refused(subtests):
    stretches = {"zeroed": bytes(200), "garbled": b"\x5a" * 200, "left out": b""}
    for restart, kind in product([0, 5], stretches):
        with subtests.test(restart=restart, kind=kind):
            encoded = jpeg(noisy(120, 160), restart=restart)
            at = scan_start(encoded) + 700
            with pytest.raises(UndecodableImage, match="damaged"):
                decoded(encoded[:at] + stretches[kind] + encoded[at + 200 :])


def test_zeros_before_the_end_marker_are_padding_of_webcams_other_bytes_are_not():
    encoded = jpeg(noisy(60, 80))
    padded = encoded[:-2] + bytes(64) + END
    np.testing.assert_array_equal(decoded(padded), by_opencv(encoded))
    with pytest.raises(UndecodableImage, match="extraneous bytes"):
        decoded(encoded[:-2] + b"\x11" * 64 + END)
    start = scan_start(encoded)
    with pytest.raises(UndecodableImage, match="damaged"):
        decoded(encoded[: (start + len(encoded)) // 2] + bytes(500) + END)


def test_kinds_that_are_not_decoded_are_named():
    buffer = io.BytesIO()
    Image.new("CMYK", (16, 16)).save(buffer, "JPEG")
    with pytest.raises(UndecodableImage, match=r"4 channels.*save it as RGB"):
        jpeg_layout(buffer.getvalue())
    baseline = jpeg(picture(1))
    for code, said in ((b"\xc3", "lossless"), (b"\xc9", "arithmetic-coded")):
        with pytest.raises(UndecodableImage, match=said):
            jpeg_layout(baseline.replace(b"\xff\xc0", b"\xff" + code, 1))
    with pytest.raises(UndecodableImage, match="12 bits"):
        jpeg_layout(baseline.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c", 1))


def test_a_beginning_alone_is_no_picture(subtests):
    for encoded in [b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xe1\x00\x01", b"GIF"]:
        with subtests.test(encoded=encoded), pytest.raises(UndecodableImage):
            jpeg_layout(encoded)


def test_no_damage_raises_anything_else_or_writes_to_the_terminal(capfd):
    random = np.random.default_rng(3)
    encoded = jpeg(noisy(40, 48))
    for _ in range(400):
        damaged = bytearray(encoded)
        for at in random.integers(2, len(encoded), 4):
            damaged[at] = random.integers(256)
        try:
            decode_picture(bytes(damaged))
        except UndecodableImage as error:
            assert str(error)
    assert capfd.readouterr() == ("", "")
