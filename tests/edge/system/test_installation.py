from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from edge.core.errors import MissingDependency
from edge.system.installation import SIBLINGS, check_siblings


def _package(folder: Path) -> ModuleSpec:
    spec = ModuleSpec(folder.name, None, origin=str(folder / "__init__.py"), is_package=True)
    spec.submodule_search_locations = [str(folder)]
    return spec


def test_this_installation_is_whole():
    check_siblings()


def test_a_missing_sibling_is_named():
    with pytest.raises(MissingDependency, match="`training` is not installed beside `edge`") as caught:
        check_siblings(find_spec=lambda name: None)
    assert "virtual environment" in caught.value.fix


def test_a_foreign_package_of_the_same_name_is_refused_with_both_places(tmp_path):
    def find_spec(name: str) -> ModuleSpec:
        return _package(tmp_path / ("elsewhere" if name == "export" else "ours") / name)

    with pytest.raises(MissingDependency) as caught:
        check_siblings(tmp_path / "ours", find_spec)
    assert str(tmp_path / "elsewhere" / "export") in caught.value.message
    assert str(tmp_path / "ours" / "export") in caught.value.message


def test_a_module_file_of_the_same_name_is_refused(tmp_path):
    spec = ModuleSpec(SIBLINGS[0], None, origin=str(tmp_path / "training.py"))
    with pytest.raises(MissingDependency, match=r"training\.py"):
        check_siblings(tmp_path, lambda name: spec)


def test_a_bare_folder_counts_as_missing(tmp_path):
    spec = ModuleSpec(SIBLINGS[0], None, is_package=True)
    with pytest.raises(MissingDependency, match="is not installed"):
        check_siblings(tmp_path, lambda name: spec)
