"""How long a run will take is told from a few of its steps; a run that is finished is not trained again."""

import json

import pytest

pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from tests.fakes import write_picture
from tests.small_bundle import good_part
from training.fit import Recipe, fit
from training.pace import Pace, pace_of
from training.run_files import RECORD


@pytest.fixture
def parts(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for seed in range(20):
        write_picture(folder / f"{seed}.png", good_part(seed))
    return folder


def test_the_time_of_a_run_is_the_usual_time_of_its_steps_and_not_of_the_first(parts):
    moments = iter([0.0, 90.0, 90.5, 91.0, 99.0])
    pace = pace_of(parts, Recipe("kist", "smoke", 0, steps=40), clock=lambda: next(moments))
    assert pace == Pace(steps=40, seconds=40 * 4.25)


def test_only_so_many_steps_fit_into_a_time_and_never_more_than_the_run_has():
    pace = Pace(steps=1000, seconds=500.0)
    assert pace.steps_in(250.0) == 500
    assert pace.steps_in(9000.0) == 1000


def test_stages_are_timed_each_by_itself(parts):
    ticks = iter(range(1000))
    assert pace_of(parts, Recipe("isstad", "smoke", 0, steps=30), clock=lambda: float(next(ticks))).seconds == 30.0


def test_a_finished_run_is_given_back_and_any_other_is_trained(parts, tmp_path):
    recipe, directory, told = Recipe("kist", "smoke", 0, steps=2), tmp_path / "run", []
    first = fit(parts, directory, recipe)
    again = fit(parts, directory, recipe, notice=told.append)
    assert again == first and f"the run in {directory} is finished (--fresh starts anew)" in told
    before = (directory / RECORD).stat().st_mtime_ns
    fit(parts, directory, recipe, fresh=True)
    assert (directory / RECORD).stat().st_mtime_ns > before
    assert fit(parts, directory, Recipe("kist", "smoke", 0, steps=3)).training.steps == 3
    record = json.loads((directory / RECORD).read_text())
    assert record["training"]["steps"] == 3
