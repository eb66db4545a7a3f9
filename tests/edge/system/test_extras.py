"""A command whose packages are missing says which extra brings them, before it has done anything."""

import os
import subprocess
import sys

import pytest

from edge.cli import main
from edge.core.errors import MissingDependency, install_extra
from edge.system.extras import missing_package, require
from tests.paths import ROOT


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'edge-inspect[plc]'"),
        ('{"url": "file:///a/edge.whl", "archive_info": {}}', "pip install 'edge-inspect[plc]'"),
        ('{"url": "file:///a/copy", "dir_info": {}}', "pip install 'edge-inspect[plc]'"),
        ("cut off {", "pip install 'edge-inspect[plc]'"),
        (
            '{"url": "file:///home/a%20b/copy", "dir_info": {"editable": true}}',
            f"{sys.executable} -m pip install --editable '/home/a b/copy[plc]'",
        ),
    ],
)
def test_an_extra_is_brought_from_where_the_program_came_from(monkeypatch, tmp_path, origin, command):
    folder = tmp_path / "edge_inspect-9.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: edge-inspect\nVersion: 9\n")
    if origin is not None:
        (folder / "direct_url.json").write_text(origin)
    monkeypatch.syspath_prepend(tmp_path)
    assert install_extra("plc") == command


@pytest.mark.parametrize(("package", "extra"), [("onnx", "export"), ("torch", "train"), ("onnxscript", "train")])
def test_a_missing_package_is_named_with_its_extra(monkeypatch, package, extra):
    monkeypatch.setattr("edge.system.extras.find_spec", lambda name: None if name == package else sys)
    with pytest.raises(MissingDependency, match=f"needs {package}, which is not installed") as refusal:
        require(extra)
    assert refusal.value.fix == install_extra(extra)


def test_an_import_that_fails_deep_inside_is_explained_the_same_way():
    refusal = missing_package(ModuleNotFoundError("no", name="onnx.helper"))
    assert refusal is not None
    assert "needs onnx, which is not installed" in refusal.message
    assert refusal.fix == install_extra("export")


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        ("raise ImportError('numpy.core.multiarray failed to import')", ["was built for NumPy 1", "'numpy<2'"]),
        ("raise ImportError('libGL.so.1: no such file', name='cv2')", ["OpenCV cannot be imported: libGL.so.1"]),
    ],
)
def test_an_opencv_that_cannot_be_imported_is_one_message(tmp_path, failure, words):
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2/__init__.py").write_text(failure)
    found = subprocess.run(
        [sys.executable, "-m", "edge", "doctor"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 2
    assert "Traceback" not in found.stderr
    assert not [word for word in words if word not in found.stderr], found.stderr


def test_another_import_that_fails_is_not_explained_away():
    assert missing_package(ImportError("cannot import name 'a' from 'b'", name="b")) is None


def test_a_module_that_no_extra_brings_is_no_missing_package():
    assert missing_package(ModuleNotFoundError("no", name="nowhere_to_be_found")) is None


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    [
        (["train", "--data", "d", "--out", "b"], "torch", "train"),
        (["fit", "--data", "d", "--run-dir", "r", "--method", "kist"], "torch", "train"),
        (["defects", "--data", "d", "--out", "s.png"], "torch", "train"),
        (["compare", "--data", "d", "--out", "o"], "matplotlib", "train"),
        (["teach", "--product", "plate", "--camera", "d"], "torch", "train"),
        (["export", "--run-dir", "r", "--out", "b"], "onnxscript", "train"),
        (["quantize", "--bundle", "b", "--data", "d"], "onnx", "export"),
        (["records", "export", "--parquet", "o"], "pyarrow", "parquet"),
        (["recalibrate", "d", "--bundle", "b"], "onnx", "export"),
    ],
)
def test_a_command_that_lacks_a_package_refuses_before_it_looks_at_anything(
    command, package, extra, monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edge.system.extras.find_spec", lambda name: None if name == package else sys)
    assert main(command) == 2
    error = capsys.readouterr().err
    assert f"needs {package}, which is not installed" in error
    assert install_extra(extra) in error
    assert not list(tmp_path.iterdir())
