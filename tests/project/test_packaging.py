"""What a wheel carries: these packages and no others, the sample data, the documented settings."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from edge.samples import sample_data, sample_line
from tests.paths import ROOT

PACKAGES = {"edge", "training", "export", "calibration", "benchmarks"}
# a factory's line is slow, and the whole archive is read at every installation; the sample line takes 12.7 MB of it
SIZE_LIMIT_BYTES = 14_200_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    # a copy, so that nothing built or left over in the working tree slips in or stays behind
    source = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "config.yaml", "README.md", "LICENSE"):
        if (ROOT / file).exists():
            shutil.copy(ROOT / file, source)
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-input", "--wheel-dir", str(target), str(source)]
    isolation = [] if not _setuptools_is_recent() else ["--no-build-isolation"]
    result = subprocess.run(command + isolation, capture_output=True, text=True, timeout=300)
    if result.returncode != 0 and not isolation and "No matching distribution found for setuptools" in result.stderr:
        pytest.skip("building needs setuptools 77 or newer, which is neither installed nor within reach")
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = target.glob("*.whl")
    return zipfile.ZipFile(path)


def _setuptools_is_recent() -> bool:
    try:
        import setuptools
    except ImportError:
        return False
    return int(setuptools.__version__.split(".")[0]) >= 77


def test_the_top_level_names_are_exactly_these(wheel):
    tops = {PurePosixPath(name).parts[0] for name in wheel.namelist()}
    meta = {top for top in tops if top.endswith((".dist-info", ".data"))}
    assert tops - meta == PACKAGES


def test_every_module_of_the_packages_is_inside(wheel):
    modules = {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    # programs that made a number once; they are run from a checkout
    studies = {name for name in modules if name.startswith("benchmarks/studies/")}
    assert studies
    assert modules - studies <= set(wheel.namelist())
    assert not studies & set(wheel.namelist())


def test_the_sources_of_the_gpu_kernels_are_inside(wheel):
    folder = ROOT / "edge" / "kernels" / "cuda"
    sources = {path.relative_to(ROOT).as_posix() for pattern in ("*.cu", "*.h") for path in folder.glob(pattern)}
    assert len(sources) > 5
    assert sources <= set(wheel.namelist())


def test_every_file_of_the_sample_data_is_inside(wheel):
    files = {path.relative_to(ROOT).as_posix() for path in sample_data().rglob("*") if path.is_file()}
    assert len(files) > len(set(sample_line()))
    assert files <= set(wheel.namelist())


def test_every_template_of_a_page_is_inside_with_style_and_script(wheel):
    folders = ("edge/pages/templates", "edge/web/templates", "edge/web/static")
    for folder in folders:
        files = {path.relative_to(ROOT).as_posix() for path in ROOT.glob(f"{folder}/*")}
        assert len(files) > 2
        assert files <= set(wheel.namelist()), folder


def test_every_starter_of_expert_rules_is_inside(wheel):
    rules = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("training/rules/library/*.yaml")}
    assert rules
    assert rules <= set(wheel.namelist())


def test_the_settings_and_both_licences_are_inside(wheel):
    names = wheel.namelist()
    (settings,) = [name for name in names if name.endswith(".data/data/share/edge-inspect/config.yaml")]
    assert wheel.read(settings) == (ROOT / "config.yaml").read_bytes()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert "edge/samples/aliens/LICENSE" in names


def test_nothing_but_code_and_declared_data_is_inside(wheel):
    suffixes = {PurePosixPath(name).suffix for name in wheel.namelist() if not name.startswith("edge/samples/")}
    meta = {"", ".txt"}
    assert suffixes <= {".py", ".yaml", ".cu", ".h", ".md", ".j2", ".css", ".js", ".svg"} | meta


def test_the_wheel_is_small_enough_for_a_factory(wheel):
    size = Path(str(wheel.filename)).stat().st_size
    assert size < SIZE_LIMIT_BYTES, f"{size / 1e6:.1f} MB"


def test_the_runtime_needs_neither_torch_nor_a_backend(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    needs = [line for line in wheel.read(name).decode().splitlines() if line.startswith("Requires-Dist:")]
    runtime = " ".join(line for line in needs if "extra ==" not in line)
    cpu = " ".join(line for line in needs if 'extra == "cpu"' in line)
    assert "numpy" in runtime
    assert "openvino" in cpu
    for heavy in ("torch", "onnx", "openvino"):
        assert heavy not in runtime
    assert "torch" not in cpu
