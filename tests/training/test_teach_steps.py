"""How many steps `teach` trains: as many as fit the minutes, decided once for the same samples."""

import pytest

from edge.cli import teach
from edge.cli.parser import parse
from edge.cli.sample_folder import sample_folder
from edge.config import Settings
from tests.small_bundle import good_part
from training import pace


@pytest.fixture
def steps(tmp_path, monkeypatch):
    """Steps for a pace of this machine, and what was said of them."""

    def decide(seconds, *options, samples=1):
        monkeypatch.setattr(pace, "pace_of", lambda data, recipe: pace.Pace(steps=1000, seconds=seconds))
        told = []
        monkeypatch.setattr(teach, "say", told.append)
        with sample_folder(tmp_path / "plate") as folder:
            for seed in range(len(folder.paths()), samples):
                folder.store(good_part(seed))
            given = parse(["teach", "--camera", "x", "--product", "plate", *options])
            values = vars(given) | teach.NOT_ASKED | {"data": folder.root}
            return teach._steps(folder, type(given)(**values), Settings()), " ".join(told)

    return decide


def test_where_all_steps_fit_all_are_taken(steps):
    assert steps(300.0) == (1000, "training: 1000 steps of isstad tiny, about 6.2 min on this machine")


def test_as_many_steps_as_fit_beside_the_rest_and_what_all_would_need(steps):
    count, told = steps(810.0)
    assert count == 500
    assert "500 steps of isstad tiny, about 8.0 min on this machine; --minutes 15 would allow all 1000 steps" in told


def test_no_fewer_steps_than_are_worth_training_whatever_it_takes(steps):
    count, told = steps(4000.0)
    assert count == 300
    assert "about 21.2 min" in told and "longer than --minutes 8" in told


def test_the_same_samples_keep_their_steps_or_a_run_could_not_go_on(steps):
    assert steps(810.0)[0] == 500
    assert steps(300.0) == (500, "")


def test_other_samples_other_minutes_and_a_fresh_start_are_decided_anew(steps):
    assert steps(810.0)[0] == 500
    assert steps(810.0, "--minutes", "5")[0] == 300
    assert steps(900.0, "--minutes", "5", "--fresh")[0] == 300
    assert steps(405.0, samples=2)[0] == 1000
