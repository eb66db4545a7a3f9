"""A picture on record is a PNG that every program opens, pixel for pixel."""

import io

import cv2
import numpy as np
from PIL import Image

from edge.records.writer.png import png_bytes
from tests.fakes import picture


def test_every_size_comes_back_pixel_for_pixel():
    for size in [(1, 1), (1, 7), (33, 1), (25, 31), (120, 161)]:
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        data = png_bytes(image)
        assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), image), size
        with Image.open(io.BytesIO(data)) as opened:
            assert np.array_equal(np.asarray(opened.convert("RGB"))[:, :, ::-1], image), size


def test_a_part_of_a_larger_picture_is_encoded_as_it_is_seen():
    whole = picture(1)
    assert np.array_equal(
        cv2.imdecode(np.frombuffer(png_bytes(whole[5:40, 7:60]), np.uint8), cv2.IMREAD_COLOR), whole[5:40, 7:60]
    )


def test_a_smooth_picture_is_compressed():
    image = picture(2, 480, 640)
    assert len(png_bytes(image)) < image.nbytes / 2
