"""Masks and folders as people and tools leave them: read as they were meant, or told."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks.quality.labelled import LabelledPicture, TruthReader, list_test_pictures
from benchmarks.quality.mask_files import mask_path
from benchmarks.quality.predictions import Prediction, predict_all
from edge.capture.images.image_reader import ImageReader
from edge.core.config import FreshnessSettings
from edge.core.errors import UsageError
from edge.preprocessing.preprocess import Preprocess
from edge.preprocessing.regions import FieldOfView
from tests.benchmarks.test_accuracy import labelled_folder
from tests.fakes import picture, write_picture

WHERE = np.zeros((48, 64), np.uint8)
WHERE[10:20, 30:50] = 1


def palette(path):
    image = Image.fromarray(WHERE)
    image.putpalette([0, 0, 0, 128, 0, 0] + [0] * 750)
    image.save(path)


MASKS = {
    "black and white": lambda path: write_picture(path, WHERE * 255),
    "0 and 1": lambda path: write_picture(path, WHERE),
    "labels": lambda path: write_picture(path, WHERE * 3),
    "red palette": palette,
    "red on black": lambda path: write_picture(path, np.dstack([WHERE * 0, WHERE * 0, WHERE * 255])),
    "transparent layer": lambda path: write_picture(path, np.dstack([WHERE * 0 + 255] * 3 + [WHERE * 255])),
    "255 of 16 bits": lambda path: write_picture(path, WHERE.astype(np.uint16) * 255),
    "65535 of 16 bits": lambda path: write_picture(path, WHERE.astype(np.uint16) * 65535),
}


def truth_of(data, mask, reader=None):
    picture_file = LabelledPicture(data / "a.png", "scratch", mask, None)
    view = FieldOfView(0, 0, 64, 48)
    return TruthReader(data, reader or ImageReader()).truth(picture_file, np.zeros((48, 64, 3), np.uint8), view)


def test_a_mask_marks_the_same_place_however_it_is_written(tmp_path, subtests):
    MASKS["black and white"](tmp_path / "plain.png")
    expected = truth_of(tmp_path, tmp_path / "plain.png").mask
    assert 0 < expected.mean() < 0.1
    for kind in MASKS:
        with subtests.test(kind=kind):
            MASKS[kind](tmp_path / "mask.png")
            np.testing.assert_array_equal(truth_of(tmp_path, tmp_path / "mask.png").mask, expected)


def test_a_mask_is_found_by_its_picture_s_name_whatever_its_suffix(tmp_path):
    for name in ["7_mask.png", "7_mask.PNG", "7_mask.bmp", "7.jpg", "7_mask.TIF", "7.png"]:
        (tmp_path / name).write_bytes(b"x")
        assert mask_path(tmp_path, "7") == tmp_path / name, name
        assert mask_path(tmp_path, "8") is None, name
        (tmp_path / name).unlink()


def predicted(data, freshness=None):
    said: list[str] = []
    reader = ImageReader(freshness=freshness, notice=said.append)
    from benchmarks.quality.labelled import SeenPictures

    def score(image, reference):
        return Prediction(float(image.mean()), cv2.resize(image[:, :, 0].astype(np.float32), (16, 16)))

    return predict_all(score, data, Preprocess(32, 32), SeenPictures(), reader=reader), said


def test_hidden_folders_are_no_classes_and_nested_pictures_are_told(tmp_path):
    data = labelled_folder(tmp_path / "data")
    before = len(list_test_pictures(data))
    for name in (".ipynb_checkpoints", "__MACOSX"):
        (data / "test" / name).mkdir()
        write_picture(data / "test" / name / "1-checkpoint.png", picture(1))
    nested = data / "test" / "scratch" / "cam1"
    nested.mkdir()
    for number in range(2):
        (data / "test" / "scratch" / f"{number}.png").rename(nested / f"{number}.png")
    write_picture(data / "test" / "loose.png", picture(1))
    result, said = predicted(data)
    assert len(result.pictures) == before - 2
    assert {shown.kind for shown in result.pictures} == {"good", "scratch"}
    assert any(text.endswith("left out: 1 sub-folder (cam1 with 2 pictures)") for text in said)
    assert any("left out: 1 beside the folders that are read (loose.png)" in text for text in said)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda mask: 255 - mask, "6 of 6 masks mark most of the picture: a mask is bright where the defect is"),
        (lambda mask: mask * 0, "6 of 6 masks mark nothing inside the inspected region"),
    ],
)
def test_masks_that_cannot_be_right_are_told(tmp_path, change, told):
    data = labelled_folder(tmp_path / "data")
    for path in (data / "ground_truth" / "scratch").iterdir():
        write_picture(path, change(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)))
    assert told in predicted(data)[1]


def test_a_missing_mask_is_told_as_the_reason_for_missing_figures(tmp_path):
    data = labelled_folder(tmp_path / "data")
    (data / "ground_truth" / "scratch" / "0_mask.png").unlink()
    assert "1 of 6 defective pictures have no mask: there are no pixel figures" in predicted(data)[1]


def test_a_test_picture_that_the_line_would_not_judge_is_counted_and_told(tmp_path):
    data = labelled_folder(tmp_path / "data")
    total = len(list_test_pictures(data))
    write_picture(data / "test" / "good" / "0.png", np.zeros((48, 64, 3), np.uint8))
    result, said = predicted(data, FreshnessSettings())
    assert (result.n_invalid, len(result.pictures), result.n_left_out) == (1, total - 1, 0)
    assert any(f"1 of {total} test pictures would be INVALID on the line" in text for text in said)
    with pytest.raises(UsageError, match="test pictures would be INVALID"):
        predicted(data, FreshnessSettings(saturated_level=10, black_level=1, saturated_share=0.1))
