"""What the kernels execute, by pixel: counted from nvcc's PTX."""

import json

import pytest

from benchmarks.gpu.kernel_counts import main
from benchmarks.gpu.kernels import FRAME_SIDE
from edge.kernels.cuda.compilers import find_nvcc


@pytest.mark.long
@pytest.mark.skipif(find_nvcc() is None, reason="nvcc is not installed: there is no PTX to execute")
def test_every_score_path_is_counted_by_the_pixel(tmp_path):
    assert main(["--element", "f16", "--out", str(tmp_path / "counts.json")]) == 0
    paths = json.loads((tmp_path / "counts.json").read_text())["score_paths"]
    per_pixel = {name: path["per_pixel"] for name, path in paths.items()}
    # three planes of bytes and of FP16, each once; statistics; 16 bits of evidence and the counters
    assert per_pixel["l1"]["residual_f16_pixel_1"]["bytes"] == pytest.approx(
        {"ld.global": 3 + 6 + 8, "st.global": 2 + 4 * 1028 / FRAME_SIDE**2, "ld.shared": 4, "st.shared": 4}, abs=0.01
    )
    spent = [per_pixel[name][f"residual_f16_{kind}_1"]["instructions"] for name, kind in
             (("l1", "pixel"), ("gms", "gms"), ("all", "all"))]  # fmt: skip
    assert spent == sorted(spent) and spent[0] > 50
    assert paths["shipped bundle"]["launches"] == ["preprocess_f16", "evidence_f16_4", "reduce_gaussian"]
