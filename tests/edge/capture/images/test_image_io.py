from itertools import product

import cv2
import numpy as np
import pytest

from edge.capture.images.image_io import UndecodableImage, bgr_from_buffer, decode_picture, list_pictures
from edge.capture.images.image_reader import read_image
from edge.core.errors import UsageError
from tests.fakes import picture, write_picture

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def encoded(suffix: str, image: np.ndarray) -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def test_grey_becomes_three_equal_channels():
    for size in [(1, 1), (7, 13), (60, 80)]:
        grey = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        bgr = bgr_from_buffer(grey)
        assert bgr.shape == (*size, 3) and bgr.dtype == np.uint8, size
        assert all((bgr[:, :, channel] == grey).all() for channel in range(3)), size


def test_a_grey_picture_with_a_channel_axis_is_grey():
    assert bgr_from_buffer(np.full((5, 4, 1), 9, np.uint8)).shape == (5, 4, 3)


def test_bgr_is_passed_through():
    image = picture(1)
    assert (bgr_from_buffer(image) == image).all()


def test_alpha_is_dropped():
    image = np.dstack([picture(1), np.zeros((60, 80), np.uint8)])
    assert (bgr_from_buffer(image) == picture(1)).all()


def test_the_top_eight_significant_bits_of_16_bit_grey_are_kept():
    for bits in [10, 12, 14, 16]:
        grey = np.array([[0, 1 << (bits - 8), (1 << bits) - 1, 100 << (bits - 8)]], np.uint16)
        assert bgr_from_buffer(grey, bits)[0, :, 0].tolist() == [0, 1, 255, 100], bits


def test_a_value_beyond_the_sensor_bits_is_refused_not_clipped():
    with pytest.raises(UndecodableImage, match=r"4096 does not fit camera\.sensor_bits 12"):
        bgr_from_buffer(np.full((2, 2), 4096, np.uint16), 12)


def test_any_other_kind_is_named_and_refused(subtests):
    bytes_of = [(4, 4, 2), (4, 4, 5), (0, 4, 3), (4,), (1, 4, 4, 3)]
    others = [((4, 4), np.float32), ((4, 4, 3), np.uint16), ((4, 4), np.int16)]
    for shape, kind in [*((shape, np.uint8) for shape in bytes_of), *others]:
        buffer = np.zeros(shape, kind)
        with (
            subtests.test(kind=buffer.dtype, shape=buffer.shape),
            pytest.raises(UndecodableImage, match=str(buffer.dtype)),
        ):
            bgr_from_buffer(buffer)


def test_a_lossless_file_gives_its_pixels():
    for suffix in [".png", ".bmp", ".tiff"]:
        assert (decode_picture(encoded(suffix, picture(3))) == picture(3)).all(), suffix


def test_a_16_bit_png_keeps_its_depth_until_the_conversion():
    deep = (np.arange(256, dtype=np.uint16) * 16 + 15).reshape(16, 16)
    assert (decode_picture(encoded(".png", deep), 12)[:, :, 0].ravel() == np.arange(256)).all()


def test_half_a_part_is_not_a_part(subtests):
    for suffix, share in product([".png", ".jpg", ".bmp", ".tiff", ".webp"], [0.02, 0.5, 0.95]):
        with subtests.test(suffix=suffix, share=share):
            whole = encoded(suffix, picture(2, 120, 160))
            with pytest.raises(UndecodableImage):
                decode_picture(whole[: int(len(whole) * share)])


def test_a_missing_end_marker_alone_is_a_cut_off_picture(subtests):
    for suffix, tail in [(".jpg", 2), (".png", 12)]:
        with subtests.test(suffix=suffix), pytest.raises(UndecodableImage, match="cut off"):
            decode_picture(encoded(suffix, picture(2))[:-tail])


def test_a_thumbnail_s_end_marker_does_not_hide_that_the_jpeg_is_cut_off():
    thumbnail, whole = encoded(".jpg", picture(1, 8, 8)), encoded(".jpg", picture(2))
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    with pytest.raises(UndecodableImage, match="cut off"):
        decode_picture(whole[:2] + segment + whole[2:-2])


def test_bytes_behind_the_end_marker_do_no_harm():
    assert decode_picture(encoded(".jpg", picture(2)) + b"camera notes").shape == (60, 80, 3)


def test_a_png_with_a_damaged_byte_is_refused():
    damaged = bytearray(encoded(".png", picture(2)))
    damaged[len(damaged) // 2] ^= 0xFF
    with pytest.raises(UndecodableImage):
        decode_picture(bytes(damaged))


@pytest.mark.parametrize(("content", "said"), [(b"", "empty"), (b"hello", "it is not a JPEG, PNG")])
def test_a_file_without_a_picture_is_a_usage_error_with_its_path(tmp_path, content, said):
    path = tmp_path / "part.png"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"part\.png.*{said}") as caught:
        read_image(path)
    assert caught.value.exit_code == 2 and caught.value.fix


def test_a_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_image(tmp_path / "part.png")


def test_pictures_are_listed_in_natural_order_without_hidden_and_other_files(tmp_path):
    for name in ("part10.png", "part2.PNG", "part1.jpg", "._part3.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    write_picture(tmp_path / "a.bmp", picture(0))
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_pictures(tmp_path)] == ["a.bmp", "part1.jpg", "part2.PNG", "part10.png"]
    assert [path.name for path in list_pictures(f"{tmp_path}/part*")] == ["part1.jpg", "part2.PNG", "part10.png"]


def test_subfolders_are_not_searched(tmp_path):
    (tmp_path / "deeper").mkdir()
    write_picture(tmp_path / "deeper" / "a.png", picture(0))
    with pytest.raises(UsageError, match="no pictures"):
        list_pictures(tmp_path)


@pytest.mark.parametrize("where", ["missing", "*.png"])
def test_no_folder_and_no_match_are_usage_errors(tmp_path, where):
    with pytest.raises(UsageError):
        list_pictures(tmp_path / where)


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path):
    folder = tmp_path / "lot[1]"
    folder.mkdir()
    write_picture(folder / "a.png", picture(0))
    assert len(list_pictures(folder)) == 1
