"""Bytes of every handled pixel format become the colours that the sensor saw."""

import numpy as np
import pytest

from edge.capture.genicam.driver import PixelLayout
from edge.capture.genicam.formats import bgr_of
from edge.capture.genicam.pixel_formats import HANDLED, handled_name
from edge.core.errors import UndecodableImage

RED, GREEN, BLUE = 200, 120, 40
HEIGHT, WIDTH = 7, 10
# the colours of the first two pixels of the first two rows
MOSAICS = {
    "BayerRG8": ((RED, GREEN), (GREEN, BLUE)),
    "BayerGR8": ((GREEN, RED), (BLUE, GREEN)),
    "BayerGB8": ((GREEN, BLUE), (RED, GREEN)),
    "BayerBG8": ((BLUE, GREEN), (GREEN, RED)),
}
PIXELS = {"RGB8": (RED, GREEN, BLUE), "BGR8": (BLUE, GREEN, RED), "RGBa8": (RED, GREEN, BLUE, 9)}


def converted(rows, name, *, padding=0, width=WIDTH, sensor_bits=16):
    """What is made of rows (h, bytes), with so many bytes of anything behind each, and behind all."""
    rows = np.pad(rows.view(np.uint8), ((0, 0), (0, padding)), constant_values=255)
    data = np.concatenate([rows.ravel(), np.full(100, 77, np.uint8)])
    return bgr_of(data, PixelLayout(name, width, rows.shape[0], rows.shape[1]), sensor_bits)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("name", MOSAICS)
def test_a_mosaic_of_one_colour_is_that_colour(name, padding):
    rows = np.tile(np.array(MOSAICS[name], np.uint8), (4, 5))[:HEIGHT]
    shown = converted(rows, name, padding=padding)
    assert shown.shape == (HEIGHT, WIDTH, 3)
    assert (shown == (BLUE, GREEN, RED)).all()


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("name", PIXELS)
def test_pixels_of_several_bytes_are_put_in_order(name, padding):
    rows = np.tile(np.array(PIXELS[name], np.uint8), (HEIGHT, WIDTH))
    assert (converted(rows, name, padding=padding) == (BLUE, GREEN, RED)).all()


@pytest.mark.parametrize(("name", "sensor_bits", "shift"), [("Mono10", 16, 2), ("Mono12", 16, 4), ("Mono16", 14, 6)])
def test_of_grey_the_upper_eight_bits_are_kept(name, sensor_bits, shift):
    grey = np.random.default_rng(0).integers(0, 256 << shift, (HEIGHT, WIDTH)).astype("<u2")
    shown = converted(grey, name, padding=3, sensor_bits=sensor_bits)
    assert (shown == (grey >> shift)[:, :, None]).all()


def test_grey_of_eight_bits_stays_as_it_is_at_the_size_of_one_pixel():
    assert converted(np.array([[93]], np.uint8), "Mono8", width=1).tolist() == [[[93, 93, 93]]]


@pytest.mark.parametrize(
    ("name", "rows", "says"),
    [
        ("Mono12Packed", np.zeros((HEIGHT, WIDTH), np.uint8), "pixel format Mono12Packed is not supported"),
        ("RGB8", np.zeros((HEIGHT, WIDTH), np.uint8), "10x7 px of RGB8 do not fit rows of 10 bytes"),
        ("Mono10", np.full((HEIGHT, WIDTH), 1024, "<u2"), "grey value 1024 does not fit 10 bits"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(name, rows, says):
    with pytest.raises(UndecodableImage, match=says):
        converted(rows, name)


def test_too_few_bytes_are_no_picture():
    with pytest.raises(UndecodableImage, match="69 bytes are too few"):
        bgr_of(np.zeros(69, np.uint8), PixelLayout("Mono8", WIDTH, HEIGHT, WIDTH), 16)


def test_every_name_that_is_handled_can_be_converted():
    for name in HANDLED:
        shown = bgr_of(np.zeros(8 * HEIGHT * WIDTH, np.uint8), PixelLayout(name, WIDTH, HEIGHT, 4 * WIDTH), 12)
        assert not shown.any()
    assert (handled_name("RGB8Packed"), handled_name("YUV422_8")) == ("RGB8", None)
