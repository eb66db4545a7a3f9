"""How fast a run goes here, and in what numbers, is told from a few real steps; a finished run is not trained again."""

import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from tests.fakes import write_picture  # noqa: E402
from tests.small_bundle import good_part  # noqa: E402
from training import fit as fitting  # noqa: E402
from training.fit import Recipe, fit  # noqa: E402
from training.optimisation.arithmetic import Arithmetic, of_gpu, quickest  # noqa: E402
from training.optimisation.stages import Training  # noqa: E402
from training.optimisation.step_budget import Pace, arithmetic_for, pace_of  # noqa: E402
from training.run.preparation import prepare  # noqa: E402
from training.run.run_files import RECORD, Resumable, load_run  # noqa: E402


@pytest.fixture
def parts(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for seed in range(20):
        write_picture(folder / f"{seed}.png", good_part(seed))
    return folder


def machine(half, plain=1.0, contiguous=2.0):
    """A processor on which a step in bfloat16 takes `half` seconds, in float32 `plain`; its first step is slower."""
    taken = []

    def step_s(arithmetic):
        taken.append(arithmetic.name)
        seconds = half if arithmetic.number == "bfloat16" else plain
        first = 3.0 if taken.count(arithmetic.name) == 1 else 1.0
        return first * seconds * (contiguous if arithmetic.memory == "contiguous" else 1.0)

    return step_s, taken


def test_a_processor_that_emulates_bfloat16_trains_in_float32_and_does_not_try_for_long():
    step_s, taken = machine(half=11.0)
    chosen = quickest(step_s)
    assert (chosen.number, chosen.memory) == ("float32", "channels_last")
    assert taken.count("bfloat16 channels_last") == 1
    assert chosen.step_ms["float32 channels_last"] == 1000.0
    assert "float32 channels_last 1000 ms, bfloat16 channels_last 33000 ms" in chosen.text()


def test_a_processor_that_computes_in_bfloat16_trains_in_it():
    step_s, _ = machine(half=0.4)
    assert quickest(step_s).number == "bfloat16"


def test_what_is_hardly_quicker_changes_nothing_or_every_run_would_choose_differently():
    step_s, _ = machine(half=0.9)
    assert quickest(step_s).number == "float32"


def test_the_order_in_memory_is_timed_in_the_numbers_that_were_chosen():
    step_s, taken = machine(half=0.4, contiguous=0.5)
    chosen = quickest(step_s)
    assert (chosen.number, chosen.memory) == ("bfloat16", "contiguous")
    assert "float32 contiguous" not in taken


def test_a_gpu_is_known_by_its_capability():
    numbers = [of_gpu(capability).number for capability in ((6, 1), (7, 5), (8, 0), (9, 0))]
    assert numbers == ["float32", "float16", "bfloat16", "bfloat16"]


def test_timing_leaves_no_trace_on_the_run(parts, tmp_path):
    recipe = Recipe("isstad", "smoke", 0, steps=100)
    made, untouched = (prepare(parts, tmp_path / name, recipe) for name in ("timed", "untimed"))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert arithmetic_for(made).step_ms
    assert torch.equal(torch.get_rng_state(), before)
    for one, other in zip(made.learner.parameters(), untouched.learner.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(made.batches.state()["random"], untouched.batches.state()["random"])


def test_a_short_run_is_over_before_timing_would_pay(parts, tmp_path):
    made = prepare(parts, tmp_path / "run", Recipe("isstad", "smoke", 0, steps=20))
    chosen = arithmetic_for(made)
    assert chosen.text() == "numbers: float32 channels_last (not timed for 20 steps)"


def test_the_run_file_and_the_person_are_told_what_was_chosen_and_why(parts, tmp_path, monkeypatch):
    chosen = Arithmetic("bfloat16", why="one step: ...", step_ms={"float32 channels_last": 9.0})
    monkeypatch.setattr(fitting, "arithmetic_for", lambda made: chosen)
    told = []
    fit(parts, tmp_path / "run", Recipe("kist", "smoke", 0, steps=2), notice=told.append)
    assert "numbers: bfloat16 channels_last (one step: ...)" in told
    assert load_run(tmp_path / "run")[0].arithmetic == chosen


@pytest.mark.parametrize("number", ["float32", "bfloat16", "float16"])
def test_a_run_that_goes_on_keeps_its_numbers(parts, tmp_path, number):
    made = prepare(parts, tmp_path / "run", Recipe("kist", "smoke", 0, steps=3))
    kept = Arithmetic(number, "contiguous", "chosen on another day")
    first = Training(made.learner, made.stages, made.batches, made.held_out, lambda *a: None, lambda text: None, kept)
    (tmp_path / "run").mkdir()
    keeper = Resumable(tmp_path / "run", {}, clock=iter(map(float, range(0, 10_000, 100))).__next__)
    first.run(lambda: keeper.save(first))
    again = prepare(parts, tmp_path / "run", Recipe("kist", "smoke", 0, steps=3))
    second = Training(again.learner, again.stages, again.batches, again.held_out, lambda *a: None, lambda text: None)
    assert Resumable(tmp_path / "run", {}).restore(second)
    assert second.arithmetic == kept


def test_the_time_of_a_step_is_the_usual_one_and_not_that_of_the_first(parts, tmp_path, monkeypatch):
    monkeypatch.setattr("training.optimisation.step_budget.arithmetic_for", lambda made, clock: Arithmetic())
    made = prepare(parts, tmp_path / "run", Recipe("kist", "smoke", 0, steps=40))
    moments = iter([0.0, 90.0, 90.5, 91.0, 99.0])
    pace = pace_of(made, clock=lambda: next(moments))
    assert list(pace.step_s.values()) == [4.25]
    assert pace.seconds(made.stages[:1]) == made.stages[0].steps * 4.25


def test_stages_are_timed_each_by_itself(parts, tmp_path):
    ticks = iter(range(1000))
    made = prepare(parts, tmp_path / "run", Recipe("isstad", "smoke", 0, steps=30))
    pace = pace_of(made, clock=lambda: float(next(ticks)))
    assert pace.step_s == {"masked": 1.0, "defects": 1.0}
    assert pace.seconds(made.stages) == 30.0
    assert Pace(step_s={"masked": 2.0}).seconds([replace(made.stages[0], steps=3)]) == 6.0


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
