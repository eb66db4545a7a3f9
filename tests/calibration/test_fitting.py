"""A fitting that is shown further parts later comes to what one that saw all of them at once does."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: there is no network to fit")

from calibration import baseline
from edge.backends.cpu import open_network
from edge.preprocessing.preprocess import Preprocess
from tests.small_bundle import SIZE, blur_network, good_part, manifest


def test_parts_shown_later_join_in_the_threshold_and_leave_the_statistics(monkeypatch):
    monkeypatch.setattr(baseline, "MOST_IN_STATISTICS", 10)
    preprocess, wanted = Preprocess(SIZE, SIZE), manifest()
    fields = [preprocess.field(good_part(seed)) for seed in range(30)]
    network = open_network("openvino", blur_network(), wanted, 1)
    shown = [baseline.Shown(network, field) for field in fields]
    fitting = baseline.Fitting(wanted, iter(shown))
    first = fitting.calibration("0" * 64, preprocess, 0.05, None, "")
    fitting.score_more(shown[10:])
    later = fitting.calibration("0" * 64, preprocess, 0.05, None, "")
    once = baseline.calibrate(network, "0" * 64, wanted, preprocess, fields, budget=0.05, created_utc="")
    network.close()
    assert (len(first.scores), len(later.scores)) == (10, 30)
    assert np.array_equal(first.mean, later.mean)
    # not to the bit: OpenCV's rounding follows where an array lies in memory
    for name in ("mean", "inv_std", "scores", "ng_scores"):
        np.testing.assert_allclose(getattr(later, name), getattr(once, name), rtol=1e-5)
    assert later.threshold == pytest.approx(once.threshold, rel=1e-5)
    assert later.pixel_threshold == pytest.approx(once.pixel_threshold, rel=1e-5)
