"""What PLC and outputs cost is measured in both states, and everything recorded reaches the broker meanwhile."""

import io
import os
import shutil

import pytest

from benchmarks.timing.measure.plant_cost import SETTLE, measure_cost
from benchmarks.timing.measure.plc_times import measure_times
from benchmarks.timing.report.table import plc_table
from edge.core.config import Settings
from tests.small_bundle import bad_part, good_part

pytest.importorskip("pymodbus", reason="the extra `plc` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `metrics` is not installed")
PICTURES = [good_part(1), bad_part(2), good_part(3)]


@pytest.mark.mosquitto
def test_both_states_are_measured_in_turns_and_nothing_is_lost(bundle_path):
    if shutil.which("mosquitto", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"])) is None:
        pytest.skip("mosquitto is not installed: there is no broker to publish to")
    pytest.importorskip("paho.mqtt.client", reason="the extra `mqtt` is not installed")
    # on busy cores a part waits for its picture and its verdict, and is timed nevertheless
    patient = {"freshness": {"max_age_ms": 30_000}, "trigger": {"frame_timeout_ms": 30_000}}
    inspection = {"bundle": str(bundle_path), "deadline_ms": 30_000}
    settings = Settings.model_validate({"inspection": inspection, **patient})
    values = measure_cost(settings, PICTURES, "20/s", pairs=1, block=SETTLE + 5)
    assert values["published"] == 2 * (SETTLE + 5)
    assert 0 < values["asked_for_by_plc"] <= SETTLE + 6
    assert values["with"]["p50_ms"] > 0 and values["without"]["p50_ms"] > 0


def test_times_from_trigger_to_result_are_measured_at_each_rate(bundle_path):
    first, second = measure_times(bundle_path, {}, PICTURES, (10.0, 40.0), parts=6)
    assert (first["rate_per_s"], second["rate_per_s"]) == (10.0, 40.0)
    for found in (first, second):
        assert found["parts"] == 6
        assert 0 < found["trigger_to_result_ms"]["p50"] <= found["trigger_to_result_ms"]["max"]


def test_the_table_says_whether_the_cost_is_within_its_limit():
    from rich.console import Console

    levels = {"p50_ms": 10.0, "p95_ms": 11.0, "p99_ms": 12.0}
    ratio = {"median_of_pairs": 1.041, "quartiles": [0.99, 1.06]}
    report = {
        "bundle": {"method": "memory", "variant": "light"},
        "run": {"backend": "openvino", "precision": "int8", "frame_px": [48, 64], "cadence": "10/s", "streams": 1},
        "limit": 1.03,
        "cost": {"without": levels, "with": levels, "ratio_of_medians": ratio, "published": None},
        "trigger_to_result": [
            {
                "rate_per_s": 5.0, "parts": 7, "troubles": ["no result in time: 1 parts"],
                "trigger_to_result_ms": {"p50": 12.0, "p99": 13.0, "p99.9": 14.0, "max": 15.0},
            },
        ],
    }  # fmt: skip
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(plc_table(report))
    shown = console.export_text()
    for words in ("1.041 (0.990 to 1.060), at most 1.03: TOO MUCH", "5 parts a second", "15.00", "no result in time"):
        assert words in shown
