"""A result says which network it is of, and how much of the part that network sees."""

from benchmarks.accuracy_table import model_name
from edge.bundle import ModelBundle
from tests.small_bundle import manifest


def test_a_model_is_named_by_method_variant_field_and_what_was_left_out(tmp_path):
    plain = manifest(64)
    training = plain.training.model_copy(update={"ablations": ("graph",), "n_weak": 5})
    taught = plain.model_copy(update={"training": training})
    name = f"{plain.method} {plain.variant} 64px"
    assert model_name(ModelBundle(tmp_path, plain, "")) == name
    assert model_name(ModelBundle(tmp_path, taught, "")) == f"{name} without-graph weak-5"
