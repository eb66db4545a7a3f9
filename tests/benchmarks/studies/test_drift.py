"""The simulations run the line's own code, and their files say what was found."""

import json

import cv2
import numpy as np
import pytest

from benchmarks.studies.alignment import framed, moved
from benchmarks.studies.alignment import main as alignment_main
from benchmarks.studies.drift import CASES, main
from tests.edge.monitoring.drift.parts import plate


@pytest.fixture
def plates(tmp_path):
    folder = tmp_path / "plates"
    folder.mkdir()
    for seed in range(12):
        assert cv2.imwrite(str(folder / f"{seed}.png"), plate(seed))
    return folder


def test_every_change_is_simulated_and_named(plates, tmp_path, capsys):
    out = tmp_path / "drift.json"
    arguments = ["--data", str(plates), "--runs", "1", "--quiet-runs", "1", "--quiet-parts", "400", "--repeats", "1"]
    arguments += ["--chart-blocks", "10"]
    assert main([*arguments, "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    assert set(result["cases"]) == {case.name for case in CASES}
    assert result["cases"]["light -12 %"]["named"] == {"light down": 1}
    assert result["without_change"]["alarms"] == 0
    assert "light down" in capsys.readouterr().out


def test_moved_pictures_keep_their_part_inside_the_frame():
    large = framed(plate(0))
    assert large.shape[0] > plate(0).shape[0]
    again = moved(large, np.random.default_rng(0), 0.1, 8.0)
    assert abs(float(again.mean()) - float(large.mean())) < 2


def test_a_folder_that_is_not_there_is_named(tmp_path, capsys):
    assert main(["--data", str(tmp_path / "nowhere")]) == 2
    assert alignment_main(["--bundle", str(tmp_path / "nowhere")]) == 4
    assert capsys.readouterr().err.count("nowhere") == 2
