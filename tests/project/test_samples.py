import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.core.errors import UsageError
from edge.samples import sample_bundle, sample_data, sample_line
from training.data.make_sample_line import SIZE_LIMIT_BYTES, Sample, build, pixels_sha256, selection


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


def _published(sample: Sample) -> str:
    return f"{sample.kind}/{sample.number}.png"


def _split(sample: Sample) -> str:
    return f"{sample.folder}/{sample.number:03d}.png"


@pytest.mark.parametrize("name", [_published, _split])
def test_the_data_set_is_built_from_the_published_folder_or_from_a_split_one(tmp_path, name):
    random = np.random.default_rng(0)
    images = {sample: random.integers(0, 256, (5, 7, 3), np.uint8) for sample in selection()}
    for sample, image in images.items():
        (tmp_path / "source" / name(sample)).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "source" / name(sample)), image)
    total = build(tmp_path / "source", tmp_path / "target")
    assert 0 < total < SIZE_LIMIT_BYTES
    for sample, image in images.items():
        assert np.array_equal(cv2.imread(str(tmp_path / "target" / sample.file)), image)
    assert (tmp_path / "target" / "line.txt").read_bytes() == (sample_data() / "line.txt").read_bytes()


def test_a_source_without_the_pictures_is_refused_and_leaves_the_target_alone(tmp_path):
    kept: Path = tmp_path / "target" / "test" / "kept.webp"
    kept.parent.mkdir(parents=True)
    kept.touch()
    with pytest.raises(UsageError, match=r"no picture for aliens-dataset/normal/1\.png"):
        build(tmp_path, tmp_path / "target")
    assert kept.exists()
