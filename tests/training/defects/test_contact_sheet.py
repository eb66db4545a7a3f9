"""`edge-inspect defects` shows what a preset does to good parts before anything is trained with it."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no defects can be drawn")

from edge.cli import main  # noqa: E402
from tests.fakes import write_picture  # noqa: E402
from tests.small_bundle import good_part  # noqa: E402
from training.defects import Drawn  # noqa: E402
from training.run.defect_sheet import contact_sheet  # noqa: E402

RED = (0, 0, 255)


@pytest.fixture
def parts(tmp_path):
    (tmp_path / "parts").mkdir()
    for number in range(5):
        write_picture(tmp_path / "parts" / f"{number}.png", good_part(number))
    return tmp_path / "parts"


def red_pixels(sheet):
    return np.argwhere((sheet == RED).all(2))


def test_the_sheet_shows_normal_defective_and_outline_side_by_side():
    normal, defective = torch.full((1, 3, 32, 32), 0.5), torch.full((1, 3, 32, 32), 0.5)
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:16, 8:16] = 1
    defective[..., 8:16, 8:16] = 1.0
    sheet = contact_sheet(normal, Drawn(defective, mask, ["stain"]))
    row = sheet[-32 - 6 : -6, 6:]
    assert (row[12, 12], row[12, 32 + 12], row[2, 2]) == (pytest.approx(128), pytest.approx(255), pytest.approx(128))
    outline = red_pixels(row)
    assert outline[:, 1].min() == 64 + 8 and outline[:, 1].max() == 64 + 15
    assert len(outline) == 28


def test_the_command_writes_a_sheet_and_tells_what_is_on_it(parts, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    given = ["--preset", "surface", "--size", "64", "--count", "7"]
    assert main(["defects", "--data", str(parts), *given, "--out", str(out)]) == 0
    assert len(red_pixels(cv2.imread(str(out)))) > 20
    told = capsys.readouterr().err
    assert "7 artificial defects of surface" in told
    assert sum(int(part.rsplit(" ", 1)[1]) for part in told.splitlines()[0].split(", ")) == 7


def test_the_same_seed_writes_the_same_sheet(parts, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        arguments = ["--size", "48", "--count", "4", "--seed", str(seed), "--out", str(tmp_path / f"{name}.png")]
        assert main(["defects", "--data", str(parts), *arguments]) == 0
    first, again, other = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert first == again != other


def test_defects_stay_inside_the_polygon_of_the_settings(parts, tmp_path):
    (tmp_path / "line.yaml").write_text("roi:\n  polygon: [[0, 0], [31, 0], [31, 47], [0, 47]]\n")
    out = tmp_path / "sheet.png"
    arguments = ["--data", str(parts), "--size", "64", "--count", "1", "--out", str(out)]
    for seed in range(4):
        assert main(["defects", "--config", str(tmp_path / "line.yaml"), *arguments, "--seed", str(seed)]) == 0
        columns = red_pixels(cv2.imread(str(out)))[:, 1] - (6 + 2 * 64)
        assert len(columns) and columns.max() <= 32


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "surfaces", "--out", "a.png"], "choose one of: reconstruction, draem"),
        (["--out", "a.jpg"], "ends in .png"),
        (["--data", "nowhere", "--out", "a.png"], "nowhere: no such folder"),
    ],
)
def test_what_cannot_be_drawn_is_explained(parts, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["defects", "--data", str(parts), *arguments]) == 2
    assert words in capsys.readouterr().err
