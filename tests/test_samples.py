import csv

import cv2

from edge.samples import sample_bundle, sample_data, sample_line
from training.make_sample_line import SIZE_LIMIT_BYTES, pixels_sha256, selection


def _manifest() -> list[dict[str, str]]:
    with (sample_data() / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_picture_decodes_to_the_pixels_in_the_manifest():
    rows = _manifest()
    assert [row["file"] for row in rows] == [sample.file for sample in selection()]
    for row in rows:
        image = cv2.imread(str(sample_data() / row["file"]), cv2.IMREAD_COLOR)
        assert image.shape == (int(row["height_px"]), int(row["width_px"]), 3), row["file"]
        assert pixels_sha256(image) == row["pixels_sha256"], row["file"]


def test_the_folders_hold_nothing_beyond_the_manifest():
    files = {path.relative_to(sample_data()).as_posix() for path in sample_data().rglob("*.webp")}
    assert files == {row["file"] for row in _manifest()}


def test_training_and_test_parts_are_different_pictures():
    rows = _manifest()
    assert len({row["pixels_sha256"] for row in rows}) == len(rows)
    assert len({row["source"] for row in rows}) == len(rows)


def test_the_line_shows_unseen_parts_mostly_good_and_never_the_same_twice_in_a_row():
    line = sample_line()
    assert all(path.is_file() for path in line)
    assert all(path.parent.parent.name == "test" for path in line)
    assert sum(path.parent.name == "good" for path in line) == 3 * sum(path.parent.name == "anomaly" for path in line)
    assert all(one != other for one, other in zip(line, line[1:] + line[:1], strict=True))


def test_the_pictures_stay_small_and_carry_their_licence():
    files = [path for path in sample_data().rglob("*") if path.is_file() and sample_bundle() not in path.parents]
    assert sum(path.stat().st_size for path in files) < SIZE_LIMIT_BYTES
    assert "Attribution-ShareAlike 4.0" in (sample_data() / "LICENSE").read_text(encoding="utf-8")
    assert "14bed61caa82d07bcbd32ca583359eacfd954c30" in (sample_data() / "README.md").read_text(encoding="utf-8")
