"""Rates are counted, and their share of the engine's limit is of the same rounds."""

import pytest

from benchmarks.timing.measure.throughput import measure_throughput
from edge.core.config import Settings
from tests.fakes import BrightnessBackend, inspector, picture


class SteadyFlood:
    """An engine that says how fast it is instead of being it."""

    def __init__(self, per_s):
        self.per_s, self.turns = per_s, 0

    def run(self, seconds):
        self.turns += 1
        return self.per_s

    def close(self): ...


def test_the_share_is_that_of_the_engines_own_limit():
    flood = SteadyFlood(100.0)
    found = measure_throughput(
        [picture(0)], [inspector(BrightnessBackend(slow_s=0.02))], flood, Settings(), rounds=3, seconds=0.3
    )
    assert found["frames_per_s"] <= 50
    assert found["share_of_engine_limit"] == pytest.approx(found["frames_per_s"] / 100, abs=0.001)
    assert len(found["rounds"]["frames_per_s"]) == 3
    # and one to warm up
    assert flood.turns == 4


def test_several_inspectors_do_more_than_one():
    def rate(count):
        inspectors = [inspector(BrightnessBackend(slow_s=0.03)) for _ in range(count)]
        return measure_throughput([picture(0)], inspectors, SteadyFlood(1.0), Settings(), 2, 0.5)["frames_per_s"]

    assert rate(4) > 1.8 * rate(1)
