"""One verdict of several cameras: the worst, with the camera that decided; and never OK without every picture."""

import itertools
import time
from datetime import datetime, timezone

import numpy as np
import pytest

from edge.capture.group.joined import Joiner
from edge.core.datatypes import Decision, Fault, Frame, Reason
from edge.core.errors import ModelError
from edge.inspection.group.inspector import group_inspector
from edge.inspection.inspector import Inspector
from edge.preprocessing.preprocess import Preprocess
from tests.fakes import BrightnessBackend, BrokenBackend

OK, NG, INVALID = Decision


def shows(grey, size=(24, 32)):
    return Frame(0, time.perf_counter_ns(), datetime.now(timezone.utc), "fake", np.full((*size, 3), grey, np.uint8))


def nothing(reason=Reason.NO_FRAME):
    fault = Fault(reason, "nothing came")
    return Frame(0, time.perf_counter_ns(), datetime.now(timezone.utc), "fake", None, fault)


def judge(threshold, bundle="b", backend=None, **more):
    return Inspector(backend or BrightnessBackend(), Preprocess(32, 32), threshold, threshold, bundle * 64, **more)


def judged(left, right, frames, doubt=None):
    group = group_inspector([("left", left), ("right", right)])
    return group.inspect(Joiner(("left", "right")).joined(3, frames, doubt))


# in 255ths: below both thresholds, above both
GOOD, BAD = 51, 204


@pytest.mark.parametrize(("left", "right"), list(itertools.product([GOOD, BAD, None], repeat=2)))
def test_the_worst_camera_decides(left, right):
    of = {GOOD: OK, BAD: NG, None: INVALID}
    worst = max((of[left], of[right]), key=[OK, NG, INVALID].index)
    verdict = judged(judge(0.5), judge(0.6), [nothing() if grey is None else shows(grey) for grey in (left, right)])
    assert verdict.decision is worst and verdict.frame_index == 3
    if (left, right) != (None, None):
        assert [each.verdict.decision for each in verdict.cameras] == [of[left], of[right]]


def test_the_verdict_is_that_of_the_highest_score_in_proportion_to_its_threshold():
    # right's score is lower, and nearer to its threshold
    verdict = judged(judge(0.9, "l"), judge(0.3, "r"), [shows(100), shows(70)])
    assert verdict.decision is OK and verdict.threshold == 0.3 and verdict.bundle_sha256 == "r" * 64
    assert verdict.score == pytest.approx(70 / 255) and verdict.detail.startswith("camera right: score 0.2745 <= ")


def test_an_invalid_part_names_every_camera_without_a_picture_and_what_the_others_found():
    verdict = judged(judge(0.5), judge(0.5), [shows(BAD), nothing()])
    assert (verdict.reason, verdict.score) == (Reason.NO_FRAME, None)
    assert verdict.detail.startswith("camera right: nothing came; camera left: NG, score 0.8 > threshold 0.5")


def test_places_are_in_pixels_of_the_joined_picture():
    part = shows(GOOD)
    part.image[4:10, 8:14] = 250
    part = Frame(0, part.captured_ns, part.utc, "fake", part.image)
    verdict = judged(judge(0.9), judge(0.15), [shows(GOOD, (40, 50)), part])
    (region,) = verdict.regions
    assert (region.x >= 50, region.y < 12, verdict.decision) == (True, True, NG)
    own = verdict.cameras[1]
    assert own.field == (0, 0, 32, 24) and own.verdict.regions[0].x == region.x - 50


def test_pictures_that_may_be_of_two_parts_are_not_judged():
    backend = BrightnessBackend()
    doubt = Fault(Reason.MISSED_FRAME, "cannot be told")
    verdict = judged(judge(0.5, backend=backend), judge(0.5, backend=backend), [shows(GOOD), shows(GOOD)], doubt)
    assert (verdict.decision, verdict.detail, backend.scored) == (INVALID, "cannot be told", 0)


@pytest.mark.parametrize("error", [ModelError("no memory", fix="x"), RuntimeError("no memory")])
def test_a_model_that_fails_for_one_camera_is_named(error):
    verdict = judged(judge(0.5), judge(0.5, backend=BrokenBackend(error)), [shows(GOOD), shows(GOOD)])
    assert verdict.reason is Reason.MODEL_ERROR and verdict.detail.startswith("camera right: ")
    assert "no memory" in verdict.detail and verdict.cameras[0].verdict.decision is OK


def test_an_unsure_camera_marks_the_part_for_review():
    verdict = judged(judge(0.9), judge(0.9, review_threshold=0.1), [shows(100), shows(GOOD)])
    assert verdict.decision is OK and verdict.review and verdict.detail.startswith("camera left")


def test_a_frame_without_views_is_invalid_for_every_camera():
    group = group_inspector([("left", judge(0.5)), ("right", judge(0.5))])
    verdict = group.inspect(shows(GOOD))
    assert verdict.decision is INVALID
    assert [each.verdict.decision for each in verdict.cameras] == [INVALID, INVALID]


class Closing(BrightnessBackend):
    def __init__(self):
        super().__init__()
        self.closed = 0

    def close(self):
        self.closed += 1


def test_a_group_with_another_inspector_leaves_the_others_open():
    shared, old, new = Closing(), Closing(), Closing()
    group = group_inspector([("left", judge(0.5, backend=shared)), ("right", judge(0.5, backend=old))])
    following = group.with_inspector(["right"], judge(0.4, backend=new))
    group.backend.close()
    assert (shared.closed, old.closed, new.closed) == (0, 1, 0)
    following.backend.close()
    assert (shared.closed, old.closed, new.closed) == (1, 1, 1)
