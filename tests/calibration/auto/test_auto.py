"""`--method auto`, end to end on networks that train in seconds: what is there is tried, judged alike, and recorded."""

import json

import pytest

pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: nothing can be exported")

from benchmarks.studies.auto_choice import measure
from calibration.auto import auto
from calibration.auto.auto import auto_bundle, make_bundle
from calibration.pipeline.train import TrainingRequest
from edge.bundles.bundle import load_bundle
from edge.capture.images.image_reader import PLAIN
from edge.core.config import Settings
from edge.core.errors import UsageError
from tests.fakes import write_picture
from tests.small_bundle import bad_part, good_part
from training.run.preparation import Recipe
from training.run.run_files import load_run

AUTO = Recipe("auto", "smoke", 2, steps=2)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    for kind, part, seeds in (
        ("train/good", good_part, 20),
        ("test/good", good_part, 4),
        ("test/scratch", bad_part, 4),
    ):
        (folder / kind).mkdir(parents=True)
        for seed in range(seeds):
            write_picture(folder / kind / f"{seed:02}.png", part(seed + (0 if kind == "train/good" else 500)))
    return folder


@pytest.fixture(scope="module")
def two_methods():
    """As many as it takes to choose."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auto, "ORDER", ("isstad", "kist"))
        yield


@pytest.fixture(scope="module")
def made(parts, tmp_path_factory, two_methods):
    """The bundle, its folder of runs, and what was said."""
    place, told = tmp_path_factory.mktemp("made"), []
    request = TrainingRequest(parts, place / "plate", AUTO, 0.005)
    return auto_bundle(request, Settings(), PLAIN, told.append), request, told


def test_the_bundle_inspects_and_says_who_was_tried_and_why_it_is_this_one(made):
    bundle, request, told = made
    load_bundle(request.out).verify()
    record = json.loads((request.runs / "run.json").read_text())
    assert [each["method"] for each in record["contenders"]] == ["isstad", "kist"]
    assert record["chosen"] == bundle.manifest.method
    assert bundle.manifest.training.selection.startswith(f"method: auto, {record['why']} (isstad 0.")
    assert told[-3] == record["why"] or record["why"] in told


def test_all_are_judged_on_the_same_parts_that_none_of_them_saw(made):
    _, request, told = made
    judged = next(text for text in told if text.startswith("image AUROC on "))
    assert judged.startswith("image AUROC on 8 normals and ")
    assert "small deformation, large deformation, small foreign" in judged
    seen = [set(load_run(request.runs / name)[0].trained_on) for name in ("isstad", "kist")]
    assert seen[0] == seen[1] and len(seen[0]) == 12


def test_the_run_of_the_method_that_was_taken_is_the_run_of_the_folder(made):
    bundle, request, _ = made
    run, _ = load_run(request.runs)
    assert run.method == bundle.manifest.method
    assert (request.runs / "sheet.png").read_bytes() == (request.runs / run.method / "sheet.png").read_bytes()


def test_a_second_call_goes_on_with_the_runs_that_are_there_and_chooses_the_same(made, capfd):
    bundle, request, _ = made
    again = auto_bundle(request, Settings(), PLAIN, lambda text: None)
    assert capfd.readouterr().err.count("is finished (--fresh starts anew)") == 2
    assert again.manifest.score == bundle.manifest.score
    assert again.manifest.training == bundle.manifest.training


def test_what_the_choice_gives_away_is_measured_on_labelled_pictures(made, parts):
    _, request, _ = made
    values = measure(request.runs, parts)
    reached = {name: each["test_image_auroc"] for name, each in values["methods"].items()}
    assert set(reached) == {"isstad", "kist"} and all(0 <= value <= 1 for value in reached.values())
    assert values["regret"] == pytest.approx(max(reached.values()) - reached[values["taken"]], abs=1e-3)
    with pytest.raises(UsageError, match="is no folder of runs"):
        measure(parts, parts)


def test_a_method_for_which_no_time_is_left_is_named_and_the_first_is_made_all_the_same(parts, tmp_path, two_methods):
    told = []
    recipe = Recipe("auto", "smoke", 2, minutes=0.01)
    bundle = auto_bundle(TrainingRequest(parts, tmp_path / "plate", recipe, 0.005), Settings(), PLAIN, told.append)
    assert bundle.manifest.method == "isstad"
    assert "  kist: not tried, there was no time left" in told


def test_minutes_that_are_too_few_for_one_method_are_refused(parts, tmp_path):
    recipe = Recipe("kist", "smoke", 2, minutes=0.001)
    with pytest.raises(UsageError, match="too short for kist here"):
        make_bundle(TrainingRequest(parts, tmp_path / "plate", recipe, 0.005), Settings(), PLAIN, lambda text: None)


def test_a_variant_that_no_method_has_is_refused(parts, tmp_path):
    with pytest.raises(UsageError, match="no method has the variant 'vast'"):
        auto_bundle(
            TrainingRequest(parts, tmp_path / "plate", Recipe("auto", "vast", 0), 0.005), Settings(), PLAIN, print
        )
