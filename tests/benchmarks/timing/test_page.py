"""A page that shows all of a report and fetches nothing."""

import re
import subprocess
import sys
from xml.etree import ElementTree

from benchmarks.timing.report.page import curves_picture, report_page
from tests.benchmarks.timing.reports import noisy, report
from tests.paths import ROOT


def test_the_page_shows_stages_distribution_and_outliers_and_needs_nothing_else():
    page = report_page(report(noisy(6, 0), noisy(5, 1)))
    assert page.count("<svg") == 3
    for word in ("preprocess", "p99.9", "bare engine", "Slowest frames", "governor performance"):
        assert word in page
    assert not re.findall(r"(?:src|href)=|@import|url\(", page)


def test_every_outlier_is_a_dot_with_its_time():
    found = report([6.0] * 99 + [321.0], [5.0] * 100)
    assert "321.00 ms at 99.0 s, most of it in sink" in report_page(found)


def curves():
    figures = {
        "end_to_end_p50_ms": 6.0, "end_to_end_p99_ms": 9.0, "engine_p50_ms": 5.0, "preprocess_p50_ms": 0.3,
        "overhead_ratio_p50": 1.2, "frames_per_s": 160.0,
    }  # fmt: skip
    sides = [{"side_px": side, **figures} for side in (128, 256, 512)]
    streams = [{"streams": count, **figures} for count in (1, 2)]
    network = [{"side_px": side, "engine_p50_ms": side / 50, "ms_per_megapixel": 80.0} for side in (128, 256)]
    points = {"frame_sides": sides, "streams": streams, "network_sides": network}
    return {**report(noisy(6, 0), noisy(5, 1)), "mode": "curves", **points}


def test_curves_are_a_page_or_a_picture_of_their_own():
    assert report_page(curves()).count("<svg") == 3
    picture = ElementTree.fromstring(curves_picture(curves()))
    assert len(picture.findall("{http://www.w3.org/2000/svg}svg")) == 3


def test_a_network_that_cannot_be_stretched_has_no_curve():
    assert report_page({**curves(), "network_sides": []}).count("<svg") == 2


def test_names_from_outside_are_escaped():
    page = report_page(report(noisy(6, 0), noisy(5, 1), cadence="<script>alert(1)</script>"))
    assert "<script>" not in page


def test_measuring_and_showing_need_neither_torch_nor_a_plotting_library():
    code = (
        "import sys\n"
        "for name in ('torch', 'matplotlib', 'onnx', 'openvino', 'onnxruntime'): sys.modules[name] = None\n"
        "from benchmarks.timing.measure import run, throughput\n"
        "from benchmarks.timing.report import curves, page, regression, report, table\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
