"""Everyone gets the same turns on the same pictures; what others' tools print is read."""

import time

import numpy as np
import pytest

from benchmarks.studies import third_party
from edge.backends import installed
from edge.core.errors import MissingDependency

PICTURES = [np.full((4, 4, 3), level, np.uint8) for level in range(5)]


def test_everyone_sees_the_same_pictures_as_often():
    seen = {"a": [], "b": [], "c": []}
    contenders = {name: lambda picture, name=name: seen[name].append(int(picture[0, 0, 0])) for name in seen}
    times = third_party.take_turns(contenders, PICTURES, rounds=3)
    assert seen["a"] == seen["b"] == seen["c"] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert {len(values) for values in times.values()} == {3 * (third_party.CALLS_PER_TURN - 1)}


def test_each_round_another_one_begins():
    order = []
    contenders = {name: lambda picture, name=name: order.append(name) for name in "ab"}
    third_party.take_turns(contenders, PICTURES, rounds=2)
    assert "".join(order) == "aaaabbbb" + "bbbbaaaa"


def test_times_are_those_of_the_contender():
    times = third_party.take_turns(
        {"slow": lambda picture: time.sleep(0.01), "fast": lambda picture: None}, PICTURES, 2
    )
    assert min(times["slow"]) >= 10
    assert min(times["fast"]) < 10


def test_ratios_are_to_our_frame_to_verdict():
    assert third_party.times_ours({third_party.OURS: 5.0, "other": 150.0}) == {third_party.OURS: 1.0, "other": 30.0}


def test_the_median_of_benchmark_app_is_read():
    output = "[ INFO ] Latency:\n[ INFO ]    Median:        4.55 ms\n[ INFO ]    Average:       4.78 ms\n"
    assert third_party.app_median_ms(output) == 4.55


def test_a_benchmark_app_that_fails_is_told_with_its_last_words():
    with pytest.raises(MissingDependency, match="cannot open"):
        third_party.app_median_ms("[ ERROR ] cannot open the model")


@pytest.mark.skipif(installed("anomalib"), reason="anomalib is installed here")
def test_without_anomalib_the_fix_is_named(capsys):
    assert third_party.main(["--rounds", "2"]) == 2
    assert "docs/figures/benchmark.md" in capsys.readouterr().err
