"""What a data folder may hold, and what is refused before anything is trained."""

import shutil

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from benchmarks.studies.drawn_parts import Lying, Scene, frame_of, part_drawn
from edge.core.config import AlignSettings
from edge.core.errors import RuleError, UsageError
from edge.preprocessing.normal_samples import aligned_to_parts
from edge.preprocessing.preprocess import Preprocess
from tests.fakes import write_picture
from tests.small_bundle import bad_part, good_part
from training.data.dataset import layout_of, load_normal_samples, load_textures, load_weak, split_held_out
from training.fit import Recipe, fit

FIELD = Preprocess(32, 32)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "train" / "good").mkdir(parents=True)
    for number in range(18):
        write_picture(tmp_path / "train" / "good" / f"{number:02}.png", good_part(number))
    return tmp_path


def add(data, folder, name, picture):
    (data / folder).mkdir(parents=True, exist_ok=True)
    write_picture(data / folder / name, picture)
    return data / folder / name


def test_a_test_picture_among_the_good_parts_is_refused_with_both_names(data):
    (data / "test" / "good").mkdir(parents=True)
    shutil.copy(data / "train/good/03.png", data / "test/good/other_name.png")
    with pytest.raises(UsageError, match=r"03\.png is the same picture as .*other_name\.png"):
        load_normal_samples(data, FIELD)


def test_mixed_sizes_are_said_and_stretched(data):
    add(data, "train/good", "large.png", good_part(99, 60, 90))
    notices = []
    normals = load_normal_samples(data, FIELD, notices.append)
    assert normals.fields.shape == (19, 32, 32, 3)
    assert notices == ["the good parts have 2 sizes, from 64x48 to 90x60 px: each is stretched to the network's field"]


def test_weak_anomalies_keep_their_kind_and_come_once(data):
    first = add(data, "train/weak/scratch", "a.png", bad_part(1))
    shutil.copy(first, data / "train/weak/scratch/again.png")
    add(data, "train/weak/dent", "b.png", bad_part(2))
    weak = load_weak(data, FIELD, load_normal_samples(data, FIELD))
    assert weak.kinds == ("dent", "scratch")
    assert weak.fields.shape == (2, 32, 32, 3)
    assert len(set(weak.hashes)) == 2


def test_no_weak_folder_means_no_weak_anomalies(data):
    assert load_weak(data, FIELD, load_normal_samples(data, FIELD)).fields.shape == (0, 32, 32, 3)


def test_an_empty_weak_folder_is_a_mistake(data):
    (data / "train" / "weak").mkdir()
    with pytest.raises(UsageError, match="holds no pictures in folders of their own"):
        load_weak(data, FIELD, load_normal_samples(data, FIELD))


def test_a_part_cannot_be_good_and_defective(data):
    (data / "train/weak/scratch").mkdir(parents=True)
    shutil.copy(data / "train/good/03.png", data / "train/weak/scratch/x.png")
    with pytest.raises(UsageError, match="is also among the good parts"):
        load_weak(data, FIELD, load_normal_samples(data, FIELD))


def test_textures_are_cropped_to_the_aspect_of_the_field(data):
    assert load_textures(data, (16, 16)) is None
    wood = good_part(1, 40, 100)
    add(data, "textures", "wood.png", wood)
    assert load_textures(data, (16, 16)).shape == (1, 16, 16, 3)
    assert np.array_equal(load_textures(data, (40, 40))[0], wood[:, 30:70])
    assert np.array_equal(load_textures(data, (20, 100))[0], wood[10:30])


def test_parts_that_always_lie_the_same_way_are_aligned_and_textures_are_free(data):
    aligned, correlation = layout_of(load_normal_samples(data, FIELD))
    assert (aligned, correlation > 0.9) == ("aligned", True)
    random = np.random.default_rng(0)
    for number in range(18):
        write_picture(data / "train/good" / f"{number:02}.png", random.integers(0, 255, (48, 64, 3), np.uint8))
    free, correlation = layout_of(load_normal_samples(data, FIELD))
    assert (free, correlation < 0.3) == ("free", True)


def test_the_polygon_becomes_a_weight_of_the_field(data):
    inside = Preprocess(32, 32, None, ((0, 0), (31, 0), (31, 47), (0, 47)))
    weight = load_normal_samples(data, inside).weight
    assert weight[:, :15].all() and not weight[:, 18:].any()


def test_the_split_is_a_matter_of_the_seed(data):
    normals = load_normal_samples(data, FIELD)
    trained, held_out = split_held_out(normals, 5)
    assert set(trained.hashes) | set(held_out.hashes) == set(normals.hashes)
    assert len(held_out.hashes) == 8
    assert split_held_out(normals, 5)[1].hashes == held_out.hashes
    assert split_held_out(normals, 6)[1].hashes != held_out.hashes


def test_rules_are_a_file_or_a_starter_by_name_and_unknown_ones_are_refused_before_training(data, tmp_path):
    def start(rules):
        fit(data, tmp_path / "run", Recipe("kist", "smoke", 0, rules=rules, steps=1))

    with pytest.raises(UsageError, match="no rules named `magnetic_tiles`") as caught:
        start("magnetic_tiles")
    assert caught.value.fix == "did you mean `magnetic_tile`?"
    with pytest.raises(UsageError, match="no such file"):
        start(str(tmp_path / "rules.yaml"))
    broken = tmp_path / "broken.yaml"
    broken.write_text("rules:\n  crack: if gray is low then anomalous with 0.9\n")
    with pytest.raises(RuleError, match="unknown feature `gray`"):
        start(str(broken))
    assert not list((tmp_path / "run").glob("*.json"))


def tray(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    parts = [(part_drawn("bolt", random), Lying(90 + 150 * place, 120, float(random.uniform(0, 360)), 130))
             for place in range(2)]  # fmt: skip
    return frame_of(parts, Scene(), random, 240, 320)


def test_every_part_of_a_tray_is_a_sample_and_has_a_name_of_its_own(tmp_path):
    for seed in range(8):
        add(tmp_path, "train/good", f"{seed}.png", tray(seed))
    preprocess = aligned_to_parts(Preprocess(64, 256), tmp_path, AlignSettings(mode="upright"))
    samples = load_normal_samples(tmp_path, preprocess)
    assert samples.fields.shape == (16, 64, 256, 3)
    assert len(set(samples.hashes)) == 16
    add(tmp_path, "train/weak/bent", "0.png", tray(99))
    with pytest.raises(UsageError, match="shows 2 parts, and which of them is defective is not known"):
        load_weak(tmp_path, preprocess, samples)
