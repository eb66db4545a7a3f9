"""A drift is named, measured, dated and over when it is over; what does not change stays silent."""

from __future__ import annotations

import numpy as np
import pytest

from edge.core.errors import BundleError
from edge.monitoring.alarm_log import Moment
from edge.monitoring.drift.measures import measure
from edge.monitoring.drift.reference import DriftReference, reference_from_bytes
from edge.monitoring.drift.watch import DriftWatch, MeasuredPart
from edge.preprocessing.preprocess import Preprocess
from edge.preprocessing.regions import FieldOfView
from tests.edge.monitoring.drift.parts import CHANGES, HEIGHT, WIDTH, moment, plate, reference_of

VIEW = FieldOfView(0, 0, WIDTH, HEIGHT)
SCORES = np.array([0.1, 0.12, 0.15, 0.11, 0.2, 0.14, 0.16, 0.13])


@pytest.fixture(scope="module")
def reference() -> DriftReference:
    made = reference_of((plate(seed) for seed in range(24)), Preprocess(32, 32))
    assert made is not None
    return made


class Line:
    """Parts that run past a watch."""

    def __init__(self, reference: DriftReference, more: float = 0.0) -> None:
        """more: by how much held-out scores and the threshold lie above the usual."""
        self.watch = DriftWatch(reference, SCORES + more, 0.6 + more, VIEW, every=1e6)
        self._placement = reference.placement
        self._random = np.random.default_rng(0)
        self.index = 0

    def run(self, parts: int, change=lambda picture: picture, score: float = 0.14) -> None:
        for _ in range(parts):
            values = measure(change(plate(1000 + self.index)), VIEW).values(self._placement)
            seen = Moment(moment(self.index), self.index)
            self.watch.add(MeasuredPart(values, score + self._random.normal(0, 0.03), seen))
            self.index += 1

    @property
    def kind(self) -> str | None:
        return None if self.watch.drift is None else self.watch.drift.change.kind


@pytest.mark.parametrize("kind", CHANGES)
def test_each_change_is_named_and_dated(reference, kind):
    line = Line(reference)
    line.run(80)
    assert line.kind is None
    line.run(64, CHANGES[kind])
    assert line.kind == kind
    assert abs(line.watch.drift.since.seen.frame_index - 80) <= 16


def test_a_message_says_how_much_and_what_to_do(reference):
    line = Line(reference)
    line.run(40)
    line.run(40, CHANGES["light down"])
    change = line.watch.drift.change
    assert change.what == "light down 12 %"
    assert "lamp" in change.advice and "recalibrate" in change.advice


def test_a_shift_is_told_in_pixels_with_its_direction(reference):
    line = Line(reference)
    line.run(40)
    line.run(40, CHANGES["position"])
    assert line.watch.drift.change.what == "picture shifted 6 px (6 to the right)"


def test_a_drift_that_goes_away_is_over(reference):
    line = Line(reference)
    line.run(40)
    line.run(40, CHANGES["focus"])
    assert line.kind == "focus"
    line.run(48)
    assert line.kind is None


def test_another_drift_in_its_place_is_another_one(reference):
    line = Line(reference)
    line.run(40)
    line.run(40, CHANGES["noise"])
    line.run(80, CHANGES["light down"])
    assert line.kind == "light down"
    assert line.watch.drift.since.seen.frame_index >= 80


def test_scores_that_rise_alone_are_told_as_such(reference):
    line = Line(reference)
    line.run(40)
    line.run(80, score=0.3)
    assert line.kind == "scores"
    assert line.watch.drift.change.what.startswith("scores rising")


def test_high_scores_are_compared_with_high_scores(reference):
    usual, raised = Line(reference, more=0.35), Line(reference, more=0.35)
    usual.run(120, score=0.49)
    raised.run(120, score=0.65)
    assert (usual.kind, raised.kind) == (None, "scores")


def test_scores_that_rise_with_the_light_are_no_second_cause(reference):
    line = Line(reference)
    line.run(40)
    line.run(80, CHANGES["light down"], score=0.3)
    assert line.kind == "light down"


def test_a_reference_survives_its_file(reference):
    read = reference_from_bytes(reference.to_bytes())
    assert read is not None
    np.testing.assert_array_equal(read.values, reference.values)
    np.testing.assert_array_equal(read.effects, reference.effects)


def test_a_damaged_reference_is_refused_with_what_to_do(reference):
    with pytest.raises(BundleError, match="drift reference cannot be read") as raised:
        reference_from_bytes(reference.to_bytes()[:200])
    assert "calibrate" in raised.value.fix


def test_too_few_parts_make_no_reference():
    assert reference_of((plate(seed) for seed in range(4)), Preprocess(32, 32)) is None
