"""INT8 beside FP32: the ratio is of one run, and the right way round."""

from __future__ import annotations

import json

import pytest

from benchmarks.studies import precisions
from tests.small_bundle import make_bundle

pytest.importorskip("openvino", reason="openvino is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")


def test_each_precision_is_timed_and_the_faster_one_has_the_smaller_time(tmp_path, monkeypatch, capsys):
    make_bundle(tmp_path / "part")
    spent = {"fp32": 6.0, "int8": 2.0}
    opened = iter(spent)
    monkeypatch.setattr(precisions, "open_network", lambda *_: FakeNetwork(next(opened)))
    monkeypatch.setattr(precisions, "_call_ms", lambda network: spent[network.precision])
    out = tmp_path / "precisions.json"
    assert precisions.main(["--bundle", str(tmp_path / "part"), "--calls", "8", "--out", str(out)]) == 0
    (row,) = json.loads(out.read_text())["networks"]
    assert (row["fp32_ms"]["p50"], row["int8_ms"]["p50"]) == (6.0, 2.0)
    assert (row["speedup_p50"], row["speedup_paired"]) == (3.0, 3.0)
    assert "3.00 (3.00)" in capsys.readouterr().out


def test_networks_of_a_real_bundle_run(tmp_path, capsys):
    make_bundle(tmp_path / "part")
    assert precisions.main(["--bundle", str(tmp_path / "part"), "--calls", "3"]) == 0
    assert "times as fast" in capsys.readouterr().out


def test_a_folder_that_is_no_bundle_is_one_message(tmp_path, capsys):
    assert precisions.main(["--bundle", str(tmp_path / "nothing")]) == 4
    assert "no such bundle directory" in capsys.readouterr().err


class FakeNetwork:
    def __init__(self, precision: str) -> None:
        self.precision = precision

    def close(self) -> None:
        pass
