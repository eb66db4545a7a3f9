"""A package that the system has and the environment does not see is told as exactly that."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge.backends.gpu.system_packages import hidden_package
from edge.backends.gpu.tensorrt_versions import open_tensorrt
from edge.core.errors import HiddenDependency, MissingDependency
from edge.core.hardware import JETSON_PAGE
from tests.paths import ROOT

JETPACK_6 = "usr/lib/python3.10/dist-packages"


def system_with(root: Path, folder: str, package: str = "tensorrt") -> Path:
    path = root / folder / package
    path.mkdir(parents=True)
    return path


def test_an_environment_that_does_not_see_the_system_is_named_with_what_to_change(tmp_path):
    path = system_with(tmp_path, JETPACK_6)
    hidden = hidden_package("tensorrt", tmp_path, seen=["/somewhere"], version=(3, 10))
    assert hidden is not None
    assert hidden.message == (
        f"tensorrt is installed on this system ({path}), but the environment {sys.prefix} does not see it"
    )
    assert f"`include-system-site-packages = true` in {sys.prefix}/pyvenv.cfg" in hidden.fix
    assert "python3 -m venv --system-site-packages" in hidden.fix


def test_a_package_of_another_python_is_named_with_that_python(tmp_path):
    path = system_with(tmp_path, JETPACK_6)
    hidden = hidden_package("tensorrt", tmp_path, seen=[], version=(3, 12))
    assert hidden is not None
    assert hidden.message == f"tensorrt is installed on this system for Python 3.10 ({path}), and this is Python 3.12"
    assert "`python3.10 -m venv --system-site-packages`" in hidden.fix


def test_the_own_python_s_package_counts_before_another_s(tmp_path):
    system_with(tmp_path, JETPACK_6)
    own = system_with(tmp_path, "usr/local/lib/python3.12/dist-packages")
    hidden = hidden_package("tensorrt", tmp_path, seen=[], version=(3, 12))
    assert hidden is not None and str(own) in hidden.message


def test_folders_of_every_python_3_belong_to_the_running_one(tmp_path):
    system_with(tmp_path, "usr/lib/python3/dist-packages")
    hidden = hidden_package("tensorrt", tmp_path, seen=[], version=(3, 12))
    assert hidden is not None and "does not see it" in hidden.message


def test_what_is_seen_or_not_there_is_not_hidden(tmp_path):
    assert hidden_package("tensorrt", tmp_path, seen=[]) is None
    path = system_with(tmp_path, JETPACK_6)
    assert hidden_package("tensorrt", tmp_path, seen=["", str(path.parent)], version=(3, 10)) is None


@pytest.mark.parametrize(("product", "package"), [("tensorrt", "tensorrt"), ("tensorrt-rtx", "tensorrt_rtx_bindings")])
def test_opening_a_tensorrt_says_where_it_lies_hidden(tmp_path, monkeypatch, product, package):
    # None in sys.modules: the import fails as if it were not installed
    for name in ("tensorrt", "tensorrt_bindings", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependency, match="cannot be imported"):
        open_tensorrt(product, tmp_path)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    path = system_with(tmp_path, f"usr/lib/python{version}/dist-packages", package)
    with pytest.raises(HiddenDependency, match="does not see it") as caught:
        open_tensorrt(product, tmp_path)
    assert str(path) in caught.value.message


def test_the_page_that_messages_name_exists():
    assert (ROOT / JETSON_PAGE).is_file()
