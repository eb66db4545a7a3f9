"""Others' models are fitted on train/good alone and measured as ours are; their own half runs where anomalib is."""

import shutil

import numpy as np
import pytest

from benchmarks.quality.baselines.base import Fitting, MapBaseline
from benchmarks.quality.baselines.models import VariationModel
from benchmarks.quality.method_table import method_page
from benchmarks.studies.anomalib_detectors import DEFAULT_CORESET, load_encoder, recipe, require_anomalib, teacher
from benchmarks.studies.third_party_accuracy import main, table, third_party_values
from edge.backends import installed
from edge.core.errors import UsageError
from edge.preprocessing.normal_samples import read_normal_samples
from edge.preprocessing.preprocess import Preprocess
from tests.benchmarks.test_accuracy import labelled_folder
from tests.fakes import write_picture
from tests.small_bundle import good_part

needs_anomalib = pytest.mark.skipif(not installed("anomalib"), reason="anomalib is not installed")
SIDE = 64


class Variation:
    """A detector without a network in the place of another library's; its seeds hold out other parts."""

    label, steps, settings = "others' model", 0, {"tolerance": 2}

    def fit(self, data, seed, work):
        model = MapBaseline(VariationModel(), Preprocess(SIDE, SIDE))
        model.fit([part.picture for part in read_normal_samples(data)], Fitting(0.05, seed))
        return model.score


@pytest.fixture
def data(tmp_path):
    root = labelled_folder(tmp_path / "data")
    (root / "train" / "good").mkdir(parents=True)
    for number in range(16):
        write_picture(root / "train" / "good" / f"{number}.png", good_part(number))
    return root


def values_of(data, fitter, seeds=(0, 1)):
    return third_party_values("plates", data, fitter, SIDE, list(seeds), data.parent / "work")


def test_every_seed_is_fitted_and_measured_by_the_figures_of_evaluate(data):
    values = values_of(data, Variation())
    assert [entry["seed"] for entry in values["seeds"]] == [0, 1]
    for entry in values["seeds"]:
        assert entry["fp32"]["image_auroc"] == 1.0
        assert entry["fp32"]["pixel_auroc"] > 0.9
        assert (entry["fp32"]["n_good"], entry["fp32"]["n_defective"]) == (6, 6)
        assert entry["fp32"]["threshold"] is None
    both = [entry["fp32"]["pixel_auroc"] for entry in values["seeds"]]
    assert values["over_seeds"]["fp32"]["pixel_auroc"]["mean"] == pytest.approx(np.mean(both))
    assert values["over_seeds"]["fp32"]["recall"] is None
    assert (values["model"], values["good_parts"], values["settings"]) == ("others' model", 16, {"tolerance": 2})
    assert "| image_auroc | 1.0000 ± 0.0000 |" in table(values)


def test_good_test_pictures_among_the_fitted_ones_stop_it(data):
    shutil.copy(data / "test" / "good" / "0.png", data / "train" / "good" / "leak.png")
    with pytest.raises(UsageError, match="trained on 1 of the good test pictures"):
        values_of(data, Variation())


@pytest.mark.skipif(installed("anomalib"), reason="anomalib is installed here")
def test_without_anomalib_the_fix_is_named(data, capsys):
    assert main(["--name", "plates", "--data", str(data), "--model", "padim"]) == 2
    assert "docs/figures/benchmark.md" in capsys.readouterr().err


# --- anomalib's half


@needs_anomalib
@pytest.mark.parametrize("model", ["padim", "patchcore"])
def test_a_model_of_anomalib_places_a_scratch_and_becomes_a_row(data, model, tmp_path, capsys):
    results = tmp_path / "results"
    out = results / f"third-party-accuracy-plates-{model}.json"
    command = ["--name", "plates", "--data", str(data), "--model", model, "--size", str(SIDE), "--out", str(out)]
    assert main(command) == 0
    assert "| image_auroc | 1.0000" in capsys.readouterr().out
    assert f"{SIDE} px | 1 | 0 | 1.000 |" in method_page(results)


@needs_anomalib
def test_a_seed_gives_the_same_scores_again(data, tmp_path):
    made = recipe("padim", SIDE, DEFAULT_CORESET, 0, [], tmp_path)
    scores = [
        made.fit(data, seed, tmp_path / str(run))(good_part(99), None).score for run, seed in enumerate((3, 3, 4))
    ]
    assert scores[0] == scores[1] != scores[2]


@needs_anomalib
def test_efficientad_learns_with_the_encoder_as_teacher_and_good_parts_of_other_sets(data, tmp_path):
    made = recipe("efficientad", 256, DEFAULT_CORESET, 2, [data], tmp_path)
    linked = sorted(path.resolve() for path in (tmp_path / "other-parts").rglob("*.png"))
    assert linked == sorted((data / "train" / "good").iterdir())
    prediction = made.fit(data, 0, tmp_path / "fit")(good_part(99), None)
    assert np.isfinite(prediction.score)
    assert prediction.values.shape == (256, 256)
    assert made.settings["penalty_pictures"].startswith("good parts of data")


@needs_anomalib
@pytest.mark.parametrize(("share", "end"), [(DEFAULT_CORESET, "64 px"), (0.0025, "64 px, coreset 0.25 %")])
def test_a_row_says_where_it_departs_from_the_default_coreset(share, end, tmp_path):
    assert recipe("patchcore", SIDE, share, 0, [], tmp_path).label.endswith(f"PatchCore, EfficientNet-Lite0, {end}")


@needs_anomalib
def test_efficientad_says_what_it_needs(data, tmp_path):
    with pytest.raises(UsageError, match="pictures of other things"):
        recipe("efficientad", 256, DEFAULT_CORESET, 2, [], tmp_path)
    with pytest.raises(UsageError, match="field of 128 px"):
        recipe("efficientad", 128, DEFAULT_CORESET, 2, [data], tmp_path)


@needs_anomalib
def test_the_teacher_is_the_encoder_at_the_places_that_the_student_sees():
    require_anomalib()
    import torch
    from anomalib.models.components import TimmFeatureExtractor

    picture = torch.rand(1, 3, 128, 128)
    extractor = TimmFeatureExtractor("tf_efficientnet_lite0", ["blocks.1", "blocks.2"], pre_trained=False)
    load_encoder(extractor)
    features = teacher()(picture)
    assert features.shape == (1, 64, 24, 24)
    assert torch.equal(features[:, :24], extractor(2 * picture - 1)["blocks.1"][..., 4:-4, 4:-4])
