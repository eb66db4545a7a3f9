"""Weakly labelled training pictures leave the test, and nothing else changes."""

import cv2
import numpy as np
import pytest

from benchmarks.quality.weak_split import main
from edge.preprocessing.part_names import part_names


@pytest.fixture
def data(tmp_path):
    """Three good parts, six scratched and four dented ones, with masks and a list of groups (pairs)."""
    root, rows = tmp_path / "data", ["file,class,group"]
    for kind, count in (("train/good", 2), ("test/good", 3), ("test/scratch", 6), ("test/dent", 4)):
        (root / kind).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(root / kind / f"{number}.png"), np.full((4, 4), number, np.uint8))
            rows.append(f"{kind}/{number}.png,{kind.split('/')[1]},{kind}-{number // 2}")
            if kind.startswith("test/") and kind != "test/good":
                mask = root / "ground_truth" / kind.split("/")[1] / f"{number}_mask.png"
                mask.parent.mkdir(parents=True, exist_ok=True)
                mask.write_bytes(b"mask")
    (root / "manifest.csv").write_text("\n".join(rows))
    return root


def files(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def split(data, out, *arguments):
    code = main(["--data", str(data), "--out", str(out), *arguments])
    return code, files(out) if out.exists() else set()


def test_drawn_pictures_move_to_training_and_everything_else_stays(data, tmp_path, capsys):
    code, made = split(data, tmp_path / "weak", "--per-kind", "2")
    assert code == 0
    weak = {name for name in made if name.startswith("train/weak/") and name.endswith(".png")}
    assert sorted(name.split("/")[2] for name in weak) == ["dent", "dent", "scratch", "scratch"]
    moved_from = {name.replace("train/weak/", "test/") for name in weak}
    assert made - weak - {"train/weak/groups.csv"} == files(data) - moved_from
    assert "4 weak pictures: dent 2, scratch 2" in capsys.readouterr().out


def test_files_are_links_unless_copies_are_asked_for(data, tmp_path):
    split(data, tmp_path / "links", "--per-kind", "1")
    split(data, tmp_path / "copies", "--per-kind", "1", "--copy")
    link, copied = (tmp_path / name / "train/good/0.png" for name in ("links", "copies"))
    assert link.is_symlink()
    assert not copied.is_symlink()
    assert link.read_bytes() == copied.read_bytes()


def test_the_draw_depends_on_the_seed_and_on_no_other_kind(data, tmp_path):
    def scratches(name, *arguments):
        return {f for f in split(data, tmp_path / name, "--per-kind", "2", *arguments)[1] if "weak/scratch" in f}

    first = scratches("a", "--seed", "1")
    assert scratches("b", "--seed", "1", "--kinds", "scratch") == first
    assert {frozenset(scratches(str(seed), "--seed", str(seed))) for seed in range(5)} != {frozenset(first)}


def test_kinds_that_are_not_named_stay_unseen(data, tmp_path, capsys):
    _, made = split(data, tmp_path / "weak", "--per-kind", "2", "--kinds", "dent")
    assert not [name for name in made if name.startswith("train/weak/scratch")]
    assert "unseen kinds: scratch" in capsys.readouterr().out


def test_other_pictures_of_a_drawn_part_leave_the_test_too(data, tmp_path, capsys):
    _, made = split(data, tmp_path / "weak", "--per-kind", "1", "--kinds", "scratch")
    (weak,) = (name for name in made if name.startswith("train/weak/scratch"))
    number = int(weak.split("/")[-1].removesuffix(".png"))
    assert f"test/scratch/{number ^ 1}.png" not in made
    assert len([name for name in made if name.startswith("test/scratch/")]) == 4
    assert "other pictures of the same parts, now in neither: 1" in capsys.readouterr().out


def test_parts_are_drawn_whole_or_a_few_pictures_of_each(data, tmp_path):
    def scratches(name, *arguments):
        made = split(data, tmp_path / name, "--per-kind", "2", "--kinds", "scratch", *arguments)[1]
        return sorted(int(f.split("/")[-1].removesuffix(".png")) // 2 for f in made if "weak/scratch" in f)

    one, other = scratches("whole")
    assert one == other
    one, other = scratches("spread", "--of-a-part", "1")
    assert one != other


def test_what_is_known_of_weak_pictures_lies_beside_them(data, tmp_path):
    split(data, tmp_path / "weak", "--per-kind", "2", "--kinds", "dent")
    root = tmp_path / "weak" / "train" / "weak"
    pictures = sorted((root / "dent").iterdir())
    names = part_names(root, pictures)
    assert len(pictures) == 2
    assert len(set(names)) == 1
    assert names[0].startswith("test/dent-")


def test_names_say_which_pictures_show_one_part_where_no_list_does(data, tmp_path):
    (data / "manifest.csv").unlink()
    for number in range(6):
        picture = data / "test" / "scratch" / f"{number}.png"
        picture.rename(picture.with_name(f"part{number // 3}_{number}.png"))
    _, made = split(data, tmp_path / "weak", "--per-kind", "1", "--kinds", "scratch")
    assert len([name for name in made if name.startswith("test/scratch/")]) == 3
    _, made = split(data, tmp_path / "single", "--per-kind", "1", "--kinds", "scratch", "--parts", "single")
    assert len([name for name in made if name.startswith("test/scratch/")]) == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--per-kind", "3"], "dent: 3 pictures for training, of 2 of 2 parts, leave none to test"),
        (["--per-kind", "1", "--kinds", "rust"], "no defect kind rust"),
        (["--per-kind", "0"], "--per-kind and --of-a-part must be above zero"),
    ],
)
def test_what_cannot_be_split_is_refused_before_anything_is_written(data, tmp_path, capsys, arguments, words):
    code, made = split(data, tmp_path / "weak", *arguments)
    assert (code, made) == (2, set())
    assert words in capsys.readouterr().err


def test_a_folder_in_use_is_left_alone(data, tmp_path, capsys):
    (tmp_path / "weak").mkdir()
    (tmp_path / "weak" / "thesis.txt").write_text("do not touch")
    code, made = split(data, tmp_path / "weak", "--per-kind", "1")
    assert (code, made) == (2, {"thesis.txt"})
    assert split(data, data / "weak", "--per-kind", "1")[0] == 2
    assert "lies inside" in capsys.readouterr().err
