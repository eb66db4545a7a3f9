"""The sheet that an expert looks at."""

import cv2
import numpy as np
import pytest

from edge.core.errors import UsageError
from tests.training.rules.plates import bad_plate, good_plate, zmap
from training.labelling import NormalReference, load_rules, pseudo_labels
from training.labelling.pseudo_labels import ANOMALOUS, IGNORED
from training.labelling.sheet import label_sheet

REFERENCE = NormalReference(levels=(1.5, 2.0))


def labelled(count, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  scratch: if darker is high and elongation is elongated then anomalous with 0.95\n")
    pictures = [bad_plate(seed)[0] for seed in range(count)]
    zmaps = [zmap(picture) for picture in pictures]
    book = load_rules(rules)
    return pictures, zmaps, [pseudo_labels(p, z, book, REFERENCE) for p, z in zip(pictures, zmaps, strict=True)]


def test_there_is_a_row_for_each_part_and_the_labels_are_seen(tmp_path):
    pictures, zmaps, labels = labelled(2, tmp_path)
    out = tmp_path / "new" / "sheet.png"
    label_sheet(pictures, zmaps, labels, out)
    sheet = cv2.imread(str(out))
    tile = sheet.shape[0] // 2
    assert sheet.shape[0] > 2 * 256
    # the third tile of the first row, without headings: red where anomalous, darker than the picture where ignored
    overlay = sheet[31 : 31 + 256, 6 + 2 * 262 : 6 + 2 * 262 + 256].astype(int)
    state = cv2.resize(labels[0].state.astype(np.int16), (256, 256), interpolation=cv2.INTER_NEAREST)
    redness = overlay[..., 2] - overlay[..., 0]
    assert np.median(redness[state == ANOMALOUS]) > 60
    assert np.median(overlay[state == IGNORED]) < 0.6 * np.median(overlay[state == 0])
    # text stands beside both rows
    for row in (sheet[31:tile], sheet[tile + 20 :]):
        assert (row[:, 3 * 262 + 6 :] < 100).any()


def test_every_shape_fits(tmp_path):
    for height, width in [(33, 97), (97, 33), (300, 300), (1, 1)]:
        picture = np.resize(good_plate(0), (height, width, 3))
        z = np.full((height, width), 1.0, np.float32)
        label_sheet([picture], [z], [pseudo_labels(picture, z, None, REFERENCE)], tmp_path / "sheet.jpg")
        assert (tmp_path / "sheet.jpg").stat().st_size > 1000, (height, width)


def test_a_name_that_is_no_picture_and_a_place_that_is_no_folder_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"\.txt: a sheet of labels is a picture"):
        label_sheet([], [], [], tmp_path / "sheet.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"sheet\.png: "):
        label_sheet([], [], [], tmp_path / "file" / "sheet.png")
