"""What `make` would do, asked without doing it."""

import shutil
import subprocess
import sys

import pytest

from tests.paths import ROOT


def would_do(*arguments: str) -> str:
    """The commands of a dry run; PYTHON is this one, so that none is looked for."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    command = ["make", "--dry-run", "--no-print-directory", f"PYTHON={sys.executable}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_on_a_jetson_the_environment_sees_the_systems_packages_and_keeps_numpy_1(tmp_path):
    commands = would_do(f"VENV={tmp_path}/new", "JETSON=/etc/nv_tegra_release", "demo")
    assert f"-m venv --system-site-packages {tmp_path}/new" in commands
    assert "install --editable '.[cpu]' 'numpy<2'" in commands
    assert "docs/line/jetson.md" in commands


def test_elsewhere_the_environment_is_its_own(tmp_path):
    commands = would_do(f"VENV={tmp_path}/new", "JETSON=", "demo")
    assert f"-m venv  {tmp_path}/new" in commands
    assert "system-site-packages" not in commands and "numpy" not in commands and "jetson.md" not in commands


def test_the_oldest_versions_are_those_that_are_allowed():
    """tests/project/oldest.txt pins what `make oldest` runs with."""
    commands = would_do("OLDEST=nowhere", "oldest")
    assert "--constraint tests/project/oldest.txt" in commands and commands.rstrip().endswith("tests/edge")
    pins = dict(
        line.split("==") for line in (ROOT / "tests/project/oldest.txt").read_text().splitlines() if "==" in line
    )
    allowed = (ROOT / "pyproject.toml").read_text()
    assert pins.keys() == {"numpy", "opencv-python-headless"}
    for package, version in pins.items():
        floor = ".".join(version.split(".")[:2])
        assert f'"{package}>={floor}"' in allowed, package


def test_the_demo_says_where_its_pages_are(tmp_path):
    commands = would_do(f"VENV={tmp_path}/new", "demo")
    assert (
        f'echo "The same in a browser, with a shift on record: {tmp_path}/new/bin/edge-inspect demo --web"' in commands
    )
