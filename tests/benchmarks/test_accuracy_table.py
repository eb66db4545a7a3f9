"""A result says which network it is of, and how much of the part that network sees."""

import pytest

from benchmarks.quality.accuracy_table import METRICS, PRECISIONS, model_name, with_earlier_seeds
from edge.bundles.bundle import ModelBundle
from edge.core.errors import UsageError
from tests.small_bundle import manifest


def test_a_model_is_named_by_method_variant_field_and_what_was_left_out(tmp_path):
    plain = manifest(64)
    training = plain.training.model_copy(update={"ablations": ("graph",), "n_weak": 5})
    taught = plain.model_copy(update={"training": training})
    name = f"{plain.method} {plain.variant} 64px"
    assert model_name(ModelBundle(tmp_path, plain, "")) == name
    assert model_name(ModelBundle(tmp_path, taught, "")) == f"{name} without-graph weak-5"


def result(model, commit, **auroc_of_seeds):
    seeds = [
        {"seed": int(name.removeprefix("seed")), **{p: dict.fromkeys(METRICS, auroc) for p in PRECISIONS}}
        for name, auroc in auroc_of_seeds.items()
    ]
    return {"data_set": "tiles", "model": model, "commit": commit, "seeds": seeds}


def test_seeds_are_added_to_those_of_an_earlier_result():
    joined = with_earlier_seeds(
        result("kist", "new", seed1=0.6, seed2=0.9), result("kist", "old", seed0=0.6, seed1=0.1)
    )
    assert [seed["seed"] for seed in joined["seeds"]] == [0, 1, 2]
    assert joined["seeds"][0]["commit"] == "old"
    assert joined["over_seeds"]["int8"]["image_auroc"]["mean"] == pytest.approx(0.7)


def test_seeds_of_another_model_are_not_joined():
    with pytest.raises(UsageError, match="'slsg', not 'kist'"):
        with_earlier_seeds(result("kist", "new", seed1=0.6), result("slsg", "old", seed0=0.6))
