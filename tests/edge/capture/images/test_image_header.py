"""Every kind of picture file: its limits are known before it is decoded, and one kind gives one result."""

from __future__ import annotations

import io
import struct
from itertools import product

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from edge.capture.images.image_header import is_picture_file
from edge.capture.images.image_io import decode_picture
from edge.core.errors import UndecodableImage
from tests.fakes import picture

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

LOSSLESS = {
    "PNG": {}, "BMP": {}, "PPM": {}, "TIFF": {}, "WEBP": {"lossless": True}, "JPEG2000": {}, "TGA": {},
}  # fmt: skip
LOSSY = {"JPEG": {}, "GIF": {}, "AVIF": {}}
KINDS = {**LOSSLESS, **LOSSY}


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rgb(bgr: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(bgr[:, :, ::-1]))


def test_a_lossless_kind_gives_its_pixels(subtests):
    for kind in LOSSLESS:
        with subtests.test(kind=kind):
            np.testing.assert_array_equal(decode_picture(saved(rgb(picture(4)), kind, **LOSSLESS[kind])), picture(4))


def test_a_lossy_kind_is_near_its_pixels():
    for kind in LOSSY:
        decoded = decode_picture(saved(rgb(picture(4)), kind))
        assert np.abs(decoded.astype(int) - picture(4)).mean() < 8, kind


def test_a_picture_beyond_the_limit_is_refused_by_its_header_alone(subtests):
    for kind in KINDS:
        with subtests.test(kind=kind):
            whole = saved(rgb(picture(4, 200, 300)), kind, **KINDS[kind])
            # markers of a JPEG are walked to its end; of the others most of the pixels are not even there
            header = whole if kind in ("JPEG", "WEBP", "AVIF") else whole[:6000]
            with pytest.raises(UndecodableImage, match=r"300x200 px .* camera\.max_megapixels \(0\.05\)"):
                decode_picture(header, max_megapixels=0.05)


def test_a_large_tile_of_a_small_tiff_is_refused():
    # width, height, bits, compression, black is zero, channels, tile width and height, where it lies, its bytes
    tags = {256: 40, 257: 30, 258: 8, 259: 1, 262: 1, 277: 1, 322: 32768, 323: 32768, 324: 200, 325: 100}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    tiff = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(300)
    with pytest.raises(UndecodableImage, match="need room for 1073"):
        decode_picture(tiff)


def test_a_cut_off_file_is_refused(capfd, subtests):
    for kind, share in product(KINDS, [0.3, 0.6, 0.95]):
        with subtests.test(kind=kind, share=share):
            whole = saved(rgb(picture(4, 200, 300)), kind, **KINDS[kind])
            with pytest.raises(UndecodableImage):
                decode_picture(whole[: int(len(whole) * share)])
            # OpenCV's own words are switched off by the program
            said = capfd.readouterr().err
            assert kind in ("BMP", "PPM") or said == ""


def test_a_damaged_tiff_is_not_filled_in(subtests):
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 40, (120, 160), np.uint8))
    for compression in ["tiff_lzw", "packbits"]:
        with subtests.test(compression=compression):
            damaged = bytearray(saved(noise, "TIFF", compression=compression))
            damaged[len(damaged) // 2 : len(damaged) // 2 + 300] = bytes(300)
            with pytest.raises(UndecodableImage):
                decode_picture(bytes(damaged))


def test_a_file_of_several_pictures_is_refused_with_their_number(subtests):
    for kind in ["TIFF", "GIF", "WEBP", "PNG", "AVIF"]:
        with subtests.test(kind=kind):
            several = saved(rgb(picture(1)), kind, save_all=True, append_images=[rgb(picture(2)), rgb(picture(3))])
            with pytest.raises(UndecodableImage, match=f"the {kind} holds 3 pictures"):
                decode_picture(several)


def test_a_tiff_gives_its_pixels_as_stored_whatever_turn_it_notes(subtests):
    for compression, orientation in product([None, "tiff_lzw"], range(1, 9)):
        with subtests.test(compression=compression, orientation=orientation):
            tags = TiffImagePlugin.ImageFileDirectory_v2()
            tags[274] = orientation
            turned = saved(rgb(picture(4)), "TIFF", tiffinfo=tags, compression=compression)
            np.testing.assert_array_equal(decode_picture(turned), picture(4))


def test_a_photo_s_exif_turn_is_not_applied():
    exif = Image.Exif()
    exif[274] = 6
    for kind in ("PNG", "WEBP"):
        turned = saved(rgb(picture(4)), kind, exif=exif, **LOSSLESS[kind])
        np.testing.assert_array_equal(decode_picture(turned), picture(4))


def test_pixels_that_are_no_grey_and_no_colour_are_refused_by_name(subtests):
    for mode in ["CMYK", "F", "I", "LAB"]:
        with subtests.test(mode=mode), pytest.raises(UndecodableImage, match=mode):
            decode_picture(saved(Image.new(mode, (40, 30)), "TIFF"))


def test_twelve_bits_of_grey_are_kept_until_the_conversion(subtests):
    deep = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    for kind in ["TIFF", "JPEG2000", "PNG"]:
        with subtests.test(kind=kind):
            decoded = decode_picture(saved(Image.fromarray(deep), kind), 12)
            np.testing.assert_array_equal(decoded[:, :, 1], deep >> 4)


def test_palettes_and_alpha_become_plain_pixels(subtests):
    for mode, kind in product(["1", "L", "LA", "P", "RGBA"], ["PNG", "TIFF"]):
        with subtests.test(mode=mode, kind=kind):
            image = rgb(picture(4)).convert(mode)
            shown = np.asarray(rgb(picture(4)).convert(mode).convert("RGB"))[:, :, ::-1]
            if (kind, mode) == ("TIFF", "P"):
                shown = np.asarray(Image.open(io.BytesIO(saved(image, kind))).convert("RGB"))[:, :, ::-1]
            np.testing.assert_array_equal(decode_picture(saved(image, kind)), shown)


def test_a_file_is_looked_at_by_its_bytes_when_its_name_says_nothing(tmp_path):
    for kind in KINDS:
        (tmp_path / "part").write_bytes(saved(rgb(picture(1)), kind, **KINDS[kind]))
        assert is_picture_file(tmp_path / "part"), kind
    for content in (b"", b"hello", b"\0\0\0\x18ftypisom" + bytes(3000), b"<html>404</html>", bytes(5000)):
        (tmp_path / "part").write_bytes(content)
        assert not is_picture_file(tmp_path / "part"), content[:20]


def test_no_damage_raises_anything_else():
    random = np.random.default_rng(2)
    for kind, options in KINDS.items():
        whole = saved(rgb(picture(1, 24, 32)), kind, **options)
        for _ in range(60):
            damaged = bytearray(whole)
            for at in random.integers(0, min(len(whole), 300), 3):
                damaged[at] = random.integers(256)
            try:
                decode_picture(bytes(damaged))
            except UndecodableImage as error:
                assert str(error)
