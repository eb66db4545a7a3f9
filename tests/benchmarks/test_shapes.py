"""Sketched networks are what their names say, and their multiply-adds are counted right."""

import io

import numpy as np
import pytest

from benchmarks.studies import shapes
from benchmarks.studies.shapes import Sketch, block, candidates, dense, measure, page, table


def output_of(sketch, picture):
    import onnxruntime

    return onnxruntime.InferenceSession(sketch.model()).run(None, {"image": picture})[0]


def test_a_sketch_runs_and_has_the_side_it_says(subtests):
    sketches = [
        (Sketch(32).conv(4, 3, 2), 16),
        (Sketch(32).conv(4, 6, 2), 16),
        (Sketch(32).conv(4, 2, 2), 16),
        (Sketch(32).conv(4, 4, 4).enlarge(), 16),
        (Sketch(32).space_to_depth().conv(8).depth_to_space(), 32),
        (Sketch(32).conv(4, 7).skip(lambda body: body.conv(4, groups=4)), 32),
    ]
    for number, (sketch, side) in enumerate(sketches):
        with subtests.test(number=number):
            assert output_of(sketch, np.zeros((1, 3, 32, 32), np.float32)).shape == (1, 1, side, side)


def test_multiply_adds_are_those_of_a_convolution():
    sketch = Sketch(32).conv(8, 3, 2).conv(8, 3, groups=8).conv(16, 1)
    assert sketch.gmac * 1e9 == 16 * 16 * (8 * 3 * 9 + 8 * 9 + 16 * 8)


def test_a_block_counts_itself_alone():
    found = block("group", "name", 64, 8, dense(8))
    assert found.gmac * 1e9 == pytest.approx(64 * 64 * 8 * 8 * 9)


def test_every_candidate_is_a_valid_network_and_has_its_own_name():
    import onnx

    found = candidates()
    assert len({(shape.group, shape.name) for shape in found}) == len(found)
    for shape in found:
        assert shape.gmac > 0
        onnx.load(io.BytesIO(shape.many.model()))


def test_a_page_marks_the_fastest_of_each_table():
    rows = [
        {"group": "kind", "name": name, "per_block": True, "gmac": 0.1, "ms": ms, "gmac_per_s": rate}
        for name, ms, rate in (("dense", 2.0, 50.0), ("thin", 1.0, 20.0), ("lost", 3.0, None))
    ]
    device = {"processor": "Some CPU", "cores": 2, "load_average": [0.5, 0.5, 0.5]}
    text = page({"device": device, "date_utc": "2026-01-02T03:04:05", "shapes": rows}, "shapes.json")
    assert "| dense | 100.00 | 2.000 | **50** |" in text
    assert "| thin | 100.00 | **1.000** | 20 |" in text
    assert "| lost | 100.00 | 3.000 | – |" in text
    assert "Some CPU, 2 cores, 2026-01-02" in text


def test_a_measurement_has_a_row_for_each_shape(monkeypatch):
    monkeypatch.setattr(shapes, "INPUT_SIDE", 64)
    chosen = [
        shapes.Shape("stem", "small", Sketch(64).conv(4, 3, 2).conv(4)),
        shapes.Shape("stem", "large", Sketch(64).conv(32).conv(32)),
    ]
    values = measure(chosen, rounds=3, threads=1)
    assert [row["name"] for row in values["shapes"]] == ["small", "large"]
    assert values["shapes"][0]["gmac"] == pytest.approx(32 * 32 * 4 * (27 + 36) / 1e9, abs=1e-5)
    assert all(row["ms"] > 0 for row in values["shapes"])
    assert "large" in table(values)
