"""Which method `auto` takes of those it trained, and what it says of it."""

from pathlib import Path

import numpy as np
import pytest

from calibration.auto.contenders import Contender, outcome_of
from calibration.choice.figures import Figure
from calibration.choice.score_choice import Choice
from calibration.pipeline.train import Draft
from edge.core.manifest import ScoreSpec

RNG = np.random.default_rng(0)
# how the good parts that were drawn move every figure at once
COMMON = RNG.normal(0, 0.03, 200)


def contender(method, mean, *, steps=100, weighed=2, cost=10**8, own_spread=0.0):
    """A network that reached `mean`; own_spread: by which its figure moves apart from the others'."""
    draws = mean + COMMON + RNG.normal(0, own_spread, 200)
    choice = Choice(
        name="memory + 1 logit", spec=ScoreSpec(), figures={"memory + 1 logit": Figure(mean, {"marking": mean}, draws)},
        weighed=weighed, best="memory + 1 logit", tied=1, exhibits="8 normals and 96 defects of marking", run_ms=8.0,
    )  # fmt: skip
    return Contender(method, "pretrained", Draft(Path(method), choice, 2.0), steps, cost, 60.0)


def memory(mean, **others):
    return contender("memory", mean, steps=0, weighed=1, **others)


def test_a_method_that_is_clearly_better_is_taken():
    outcome = outcome_of([memory(0.80), contender("isstad", 0.90)], {})
    assert outcome.chosen.name == "isstad"
    assert outcome.lines()[-1] == "isstad is taken: it reached most"


def test_a_lead_that_chance_explains_goes_to_what_trains_nothing():
    outcome = outcome_of([memory(0.95), contender("slsg", 0.97, own_spread=0.03)], {})
    assert outcome.chosen.name == "memory"
    assert outcome.lines()[-1].startswith("memory is taken: slsg reached 0.020 more, which these parts cannot tell")


def test_a_small_lead_that_every_draw_shows_counts():
    outcome = outcome_of([memory(0.95), contender("slsg", 0.97)], {})
    assert outcome.chosen.name == "slsg"


@pytest.mark.parametrize(
    ("first", "second"),
    [({"weighed": 1}, {"weighed": 2}), ({"cost": 10**8}, {"cost": 2 * 10**8})],
    ids=["fewer evidences", "fewer multiplications"],
)
def test_of_trained_equals_the_simpler_and_then_the_faster_is_taken(first, second):
    tied = [contender("kist", 0.902, **second), contender("isstad", 0.9, **first), memory(0.7)]
    assert outcome_of(tied, {}).chosen.name == "isstad"


def test_what_was_left_out_is_said_and_recorded():
    outcome = outcome_of([memory(0.95)], {"kist": "not tried, there was no time left"})
    assert "  kist: not tried, there was no time left" in outcome.lines()
    assert outcome.lines()[-1] == "memory is taken: nothing else was tried"
    assert outcome.as_dict()["left_out"] == {"kist": "not tried, there was no time left"}
    assert outcome.record() == "method: auto, memory is taken: nothing else was tried (memory 0.950)"
