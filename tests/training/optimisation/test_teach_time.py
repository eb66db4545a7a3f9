"""What `teach` announces of its minutes is true, whatever the machine: fewer steps, a smaller network, or a refusal."""

import re

import pytest

pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from calibration.findings.advice import defects_found
from calibration.pipeline import time_plan
from calibration.pipeline.time_plan import TimePlan, plan_training
from calibration.pipeline.train import TrainingRequest, train_bundle
from calibration.samples.sample_folder import sample_folder
from edge.capture.images.image_reader import PLAIN
from edge.cli.making.train import recipe_of
from edge.cli.parser import parse
from edge.core.config import Settings
from edge.core.errors import UsageError
from tests.fakes import write_picture
from tests.small_bundle import good_part
from training.optimisation import step_budget as pace
from training.optimisation.time_budget import TimeBudget
from training.run.preparation import Recipe

TINY = ("--method", "isstad", "--variant", "tiny", "--minutes", "8")


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """What is planned on a machine where a step of the tiny network takes so long, one of a smaller a quarter."""
    monkeypatch.setattr("export.onnx_graph.onnx_from_module", lambda *given: b"")

    def decide(step_s, *options, samples=16):
        def pace_of(made):
            share = 1.0 if made.shape == (128, 128) else 0.25
            return pace.Pace(step_s={stage.name: share * step_s for stage in made.stages})

        monkeypatch.setattr(pace, "pace_of", pace_of)
        told = []
        monkeypatch.setattr(time_plan, "say", told.append)
        with sample_folder(tmp_path / "plate") as folder:
            for seed in range(len(folder.paths()), samples):
                folder.store(good_part(seed))
            given = parse(["teach", "--camera", "x", "--product", "plate", "--layout", "aligned", *TINY, *options])
            recipe = recipe_of(given, Settings())
            return plan_training(folder, recipe, recipe.minutes, fresh=given.fresh), told[-1]

    return decide


def test_where_all_steps_fit_all_are_taken_and_it_is_ready_sooner(plan):
    made, told = plan(0.1)
    assert (made.recipe.variant, made.all_steps) == ("tiny", 1300)
    assert re.fullmatch(r"training: ready in about 2\.\d min; the network gets all of its 1300 steps", told)


def test_on_a_slower_machine_the_minutes_stay_and_the_steps_become_fewer(plan):
    made, told = plan(0.7)
    assert made.recipe.variant == "tiny"
    steps = int(re.search(r"about (\d+) of 1300 steps", told)[1])
    assert steps == pytest.approx(480 / 0.7, rel=0.05)
    assert told.startswith("training: ready in 8 min") and "--minutes 17 would allow all of them" in told


def test_where_hardly_any_steps_fit_a_smaller_network_is_taken_and_the_minutes_stay(plan):
    # 1,300 steps of this machine would take 171 minutes
    made, told = plan(7.9)
    assert made.recipe.variant == "mini"
    assert told.startswith("training: ready in 8 min")


def test_minutes_that_cannot_be_kept_are_refused_before_anything_is_trained(plan):
    with pytest.raises(UsageError, match="8 min are too short here") as caught:
        plan(300.0)
    assert re.search(r"give --minutes \d+ or more", caught.value.fix)


def test_a_run_that_was_cut_off_keeps_its_network(plan):
    assert plan(7.9)[0].recipe.variant == "mini"
    assert plan(0.1)[0].recipe.variant == "mini"
    assert plan(0.1, "--minutes", "9")[0].recipe.variant == "tiny"
    assert plan(0.1, "--fresh")[0].recipe.variant == "tiny"


def test_where_no_time_is_left_the_network_stays_in_fp32_and_the_bundle_still_judges(tmp_path):
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: nothing can be exported")
    (tmp_path / "parts" / "train" / "good").mkdir(parents=True)
    for seed in range(18):
        write_picture(tmp_path / "parts" / "train" / "good" / f"{seed:02}.png", good_part(seed))
    recipe = Recipe("kist", "smoke", 0, minutes=8.0)
    request = TrainingRequest(tmp_path / "parts", tmp_path / "b", recipe, 0.005, "plate", tmp_path / "run")
    plan = TimePlan(recipe, TimeBudget(0.0, {}, after_s=1.0), pace.Pace(), 60, 1.0)
    told = []
    bundle = train_bundle(request, Settings(), PLAIN, told.append, None, plan)
    assert bundle.precision("auto") == "fp32"
    # it looks at the time every five steps
    assert bundle.manifest.training.steps == 5
    assert any("no time is left to round it to INT8" in text for text in told)
    found = defects_found(bundle)
    assert found.auroc is None and [drawn for _, drawn in found.found.values()] == [24, 24, 24]
