"""Every command that reads good parts reads them as the line does: same settings, same refusal, same words."""

import json

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: no network can be quantized")

from edge.cli import main
from tests.fakes import write_picture
from tests.small_bundle import bad_part, good_part, make_bundle, parts_folder

READS_GOOD_PARTS = {
    "quantize": ["quantize", "--bundle", "plate", "--data", "parts"],
    "calibrate": ["calibrate", "--bundle", "plate", "--data", "parts"],
    "gate": ["gate", "--bundle", "plate", "--data", "parts"],
    "recalibrate": ["recalibrate", "parts", "--bundle", "plate"],
    "train": ["train", "--data", "parts", "--out", "new", "--method", "kist", "--variant", "smoke"],
    "teach": ["teach", "--camera", "parts", "--product", "plate", "--yes"],
    "compare": ["compare", "--data", "parts", "--out", "new", "--variant", "smoke"],
    "defects": ["defects", "--data", "parts", "--out", "sheet.png"],
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_bundle(tmp_path / "plate")
    return tmp_path


def backlit(number: int) -> np.ndarray:
    """A needle that is all that is dark before a white light."""
    image = np.full((48, 64, 3), 255, np.uint8)
    image[10 + number % 5 : 40 + number % 5, 30 + number % 3] = 20 + number
    return image


@pytest.mark.parametrize("command", READS_GOOD_PARTS)
def test_parts_that_the_line_would_not_judge_end_the_command_and_name_the_setting(place, capsys, command):
    if command in ("train", "teach", "compare", "defects"):
        pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
    (place / "config.yaml").write_text("freshness: {saturated_share: 0.95}\n")
    for number in range(24):
        folder = place / "parts" / "train" / "good"
        folder.mkdir(parents=True, exist_ok=True)
        write_picture(folder / f"{number:02d}.png", backlit(number))
    for kind in ("good", "bad"):
        (place / "parts" / "test" / kind).mkdir(parents=True)
        write_picture(place / "parts" / "test" / kind / "1.png", good_part(900 + len(kind)))
    arguments = [word.replace("parts", "parts/train/good") if command == "teach" else word for word in
                 READS_GOOD_PARTS[command]]  # fmt: skip
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "24 of 24 pictures of good parts would be INVALID on the line" in said
    assert "fix: if they are right as they are, set freshness.saturated_share: 0.995" in said


def test_a_bundle_is_calibrated_with_the_bits_that_the_line_reads(place, capsys):
    """12-bit parts, read with 16 bits, are black here and on the line alike; with 12 bits they are as 8-bit parts."""
    for number in range(24):
        deep = good_part(number)[:, :, 0].astype(np.uint16) * 16
        (place / "parts").mkdir(exist_ok=True)
        write_picture(place / "parts" / f"{number:02d}.png", deep)
    assert main(["calibrate", "--bundle", "plate", "--data", "parts"]) in (0, 2)
    assert "camera.sensor_bits: 12 fits them" in capsys.readouterr().err
    (place / "config.yaml").write_text("camera: {sensor_bits: 12}\n")
    assert main(["calibrate", "--bundle", "plate", "--data", "parts"]) == 0
    assert "sensor_bits" not in capsys.readouterr().err
    assert main(["--camera", "parts", "--bundle", "plate", "--no-record", "--json"]) == 0
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(verdicts) == 24 and sum(each["decision"] == "OK" for each in verdicts) >= 22


def test_a_challenge_refuses_a_golden_part_that_the_line_would_not_judge(place, capsys):
    for kind, picture in (("good", np.zeros((48, 64, 3), np.uint8)), ("bad", bad_part(1))):
        (place / "golden" / kind).mkdir(parents=True)
        write_picture(place / "golden" / kind / "1.png", picture)
    assert main(["challenge", "--data", "golden", "--bundle", "plate", "--record-dir", "records"]) == 1
    assert "INVALID  good/1.png: black: 0 % of the picture reaches grey level 8" in " ".join(
        capsys.readouterr().out.split()
    ).replace("INVALID good", "INVALID  good")


def test_what_is_left_out_of_good_parts_is_told_once(place, capsys):
    folder = parts_folder(place / "parts")
    good = folder / "train" / "good" if (folder / "train" / "good").is_dir() else folder
    (good / "notes.txt").write_text("x")
    write_picture(good / "zz.png", np.zeros((48, 64, 3), np.uint8))
    assert main(["calibrate", "--bundle", "plate", "--data", str(folder)]) == 0
    said = capsys.readouterr().err
    assert said.count("left out: 1 without a picture's suffix (notes.txt)") == 1
    assert said.count("pictures of good parts would be INVALID on the line, and are left out: 1 black (zz.png") == 1
