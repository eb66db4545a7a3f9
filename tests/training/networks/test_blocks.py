"""The network's parts are what their words say."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from training.networks.blocks import EdgeTrunk  # noqa: E402


def test_the_stem_equals_space_to_depth_and_a_3x3_convolution():
    stem = EdgeTrunk((8, 12), 4).encoder[0][0]
    weight = torch.empty(8, 12, 3, 3)
    for channel in range(3):
        for row in range(2):
            for column in range(2):
                weight[:, 4 * channel + 2 * row + column] = stem.weight[:, channel, row::2, column::2]
    picture = torch.rand(1, 3, 16, 24)
    expected = torch.nn.functional.conv2d(torch.nn.functional.pixel_unshuffle(picture, 2), weight, padding=1)
    assert torch.allclose(stem(picture), expected, atol=1e-6)


def test_the_reconstruction_has_the_size_of_the_picture():
    trunk = EdgeTrunk((8, 12, 16), 4).eval()
    assert trunk.stride == 8
    assert trunk(torch.zeros(1, 3, 32, 16)).shape == (1, 3, 32, 16)
