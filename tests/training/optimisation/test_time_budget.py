"""Minutes are a promise: training takes what fits, looks again while it runs, and leaves time for what follows."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from tests.training.optimisation.test_optimise import FIRST, SECOND, SmallLearner, pictures  # noqa: E402
from training.optimisation.optimiser import rate_at  # noqa: E402
from training.optimisation.stages import BatchSource, Training  # noqa: E402
from training.optimisation.time_budget import TimeBudget  # noqa: E402

LONG = (replace(FIRST, steps=400, keep_best=False), replace(SECOND, steps=600))


class Machine:
    """A clock that only work moves on; `step_s` is what a step takes now."""

    def __init__(self, step_s=1.0):
        self.now_s = 0.0
        self.step_s = step_s

    def __call__(self):
        return self.now_s


def learner_on(machine):
    class Working(SmallLearner):
        def losses(self, stage, batch, share):
            machine.now_s += machine.step_s
            return super().losses(stage, batch, share)

    return Working()


def run(machine, seconds, after_s=40.0, change=lambda step: None, step_s=1.0):
    """Train for so long beside `after_s` for the rest; the training, and what was told of its progress."""
    budget = TimeBudget(seconds, {"first": step_s, "second": step_s}, after_s, clock=machine)
    told = []

    def progress(done, total, shown):
        told.append((done, total))
        change(done)

    source = BatchSource(pictures(), None, 0.0, "free", 3, None)
    training = Training(learner_on(machine), LONG, source, pictures(8), progress, lambda text: None, budget=budget)
    training.run(lambda: None)
    return training, told


def test_where_there_is_time_every_stage_gets_all_of_its_steps():
    training, _ = run(Machine(), seconds=2000)
    assert training.steps == 1000


def test_short_time_is_shared_out_among_the_stages_as_their_own_steps_are():
    machine = Machine()
    training, told = run(machine, seconds=250)
    # 250 s less a spare quarter over the 40 s that follow
    assert machine.now_s == pytest.approx(200, abs=6)
    assert told[-1][0] == training.steps == pytest.approx(200, abs=6)
    counts = {name: curve["total"][-1][0] for name, curve in training.curves.values.items()}
    assert counts["first"] == pytest.approx(80, abs=4)


def test_a_machine_that_becomes_busy_gets_fewer_steps_and_the_time_is_kept():
    machine = Machine()

    def others_come(step):
        if step == 40:
            machine.step_s = 3.0

    _, told = run(machine, seconds=300, change=others_come)
    # what follows is three times as slow then, and time is left for it
    assert 300 - machine.now_s == pytest.approx(40 * 3 * 1.25, abs=25)
    assert told[-1][0] < 110
    assert told[-1][0] == told[-1][1]


def test_a_machine_that_becomes_idle_gets_more_steps():
    machine = Machine(step_s=3.0)

    def others_go(step):
        if step == 20:
            machine.step_s = 1.0

    _, told = run(machine, seconds=600, change=others_go, step_s=3.0)
    assert told[-1][0] > 300


def test_a_run_that_goes_on_has_only_the_time_that_was_left():
    machine = Machine()
    budget = TimeBudget(100, {"first": 1.0}, 10.0, clock=machine)
    budget.spend(60)
    assert budget.left_s == 40


def test_rates_rise_in_the_first_tenth_and_fall_to_nothing():
    assert rate_at(0.0) == pytest.approx(1 / 25)
    assert rate_at(0.1) == pytest.approx(1.0)
    assert rate_at(0.55) == pytest.approx(0.5, abs=0.01)
    assert rate_at(1.0) == pytest.approx(0.0, abs=1e-5)
