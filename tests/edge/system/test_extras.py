"""A command whose packages are missing says which extra brings them, before it has done anything."""

import sys

import pytest

from edge.core.errors import MissingDependency
from edge.system.extras import needs


@pytest.mark.parametrize(("package", "extra"), [("onnx", "export"), ("torch", "train"), ("onnxscript", "train")])
def test_a_missing_package_is_named_with_its_extra(monkeypatch, package, extra):
    monkeypatch.setattr("edge.system.extras.find_spec", lambda name: None if name == package else sys)
    with pytest.raises(MissingDependency, match=f"needs {package}, which is not installed") as refusal:
        needs("edge.core.errors", extra)
    assert refusal.value.fix == f"pip install 'edge-inspect[{extra}]'"


def test_a_module_that_lacks_what_it_imports_is_told_the_same_way():
    with pytest.raises(MissingDependency, match="needs nowhere_to_be_found"):
        needs("nowhere_to_be_found", "cpu")
