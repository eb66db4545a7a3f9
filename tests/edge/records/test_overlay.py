"""The picture with the verdict on it: never covering what was inspected, readable at any size."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from edge.core.datatypes import Decision, Fault, Frame, Reason
from edge.preprocessing.regions import FieldOfView
from edge.records.overlay import draw_overlay
from tests.edge.records.records_fakes import START, inspector, look


def whole(frame):
    return FieldOfView(0, 0, frame.image.shape[1], frame.image.shape[0])


def test_any_picture_gets_a_banner_above_it():
    for case in product([(1, 1), (48, 64), (3, 700), (380, 550), (1080, 1920)], Decision):
        size, decision = case
        frame, verdict = look(1, decision, size=size)
        drawn = draw_overlay(frame, verdict, whole(frame))
        factor = drawn.shape[1] // size[1]
        assert drawn.dtype == np.uint8 and drawn.shape[1] >= 320, case
        assert drawn.shape[1] == size[1] * factor and 40 < drawn.shape[0] - size[0] * factor < 140, case


def test_a_tall_narrow_picture_stays_small_enough_for_a_jpeg():
    for size in [(257, 1), (9000, 3), (4000, 30)]:
        frame, verdict = look(1, Decision.NG, size=size)
        drawn = draw_overlay(frame, verdict, whole(frame))
        assert drawn.shape[1] >= 320, size
        assert size[0] < drawn.shape[0] < 10_000, size


def test_the_picture_of_a_normal_part_is_left_as_it_is():
    frame, verdict = look(1, Decision.OK, size=(100, 400))
    drawn = draw_overlay(frame, verdict, whole(frame))
    heat = np.abs(drawn[-100:].astype(int) - frame.image).max()
    assert heat == 0


def test_the_defect_glows_and_the_rest_does_not():
    frame, verdict = look(1, Decision.NG, size=(120, 400))
    drawn = draw_overlay(frame, verdict, whole(frame))[-120:].astype(int)
    inside = drawn[45:55, 150:190]
    assert inside[..., 2].mean() > inside[..., 0].mean() + 60
    assert np.array_equal(drawn[100:], frame.image[100:])


def test_the_frame_itself_is_not_drawn_on():
    frame, verdict = look(1, Decision.NG, size=(120, 400))
    before = frame.image.copy()
    draw_overlay(frame, verdict, whole(frame))
    assert np.array_equal(frame.image, before)


def test_the_map_lies_on_its_field_of_view():
    frame, verdict = look(1, Decision.NG, size=(120, 400))
    view = FieldOfView(200, 60, 100, 30)
    drawn = draw_overlay(frame, verdict, view)[-120:].astype(int)
    changed = np.argwhere(np.abs(drawn[62:88, 202:298] - frame.image[62:88, 202:298]).max(axis=2) > 40)
    assert len(changed) > 0


def test_decisions_differ_in_colour():
    plates = {tuple(draw_overlay(*look(1, decision), None)[2, 2]) for decision in Decision}
    assert len(plates) == 3


def test_a_long_reason_with_foreign_letters_is_cut_to_fit():
    frame, _ = look(1)
    verdict = inspector().invalid(frame, Fault(Reason.WRONG_SIZE, "größe " * 100))
    drawn = draw_overlay(frame, verdict, None)
    # the right edge of the banner stays free
    assert len(np.unique(drawn[4:30, -4:].reshape(-1, 3), axis=0)) == 1


def test_a_frame_without_a_picture_is_an_error():
    frame = Frame(3, 0, START, "cam", None, Fault(Reason.NO_FRAME, "nothing"))
    with pytest.raises(ValueError, match="frame 3 has no image"):
        draw_overlay(frame, inspector().inspect(frame), None)
