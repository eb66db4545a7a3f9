"""Every name of TensorRT's that our source uses exists in the real bindings, version by version."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest

from edge.backends.gpu.tensorrt_versions import RTX_TARGETS
from tests.edge.backends.tensorrt_names.in_source import Use, problem, uses_on
from tests.edge.backends.tensorrt_names.record import RELEASES, RTX, TABLE, describe, names_of

TABLES = json.loads(TABLE.read_text())


def test_what_our_source_asks_of_this_version_is_there():
    for version in TABLES:
        uses = uses_on(version)
        assert len(uses) > 30, version
        assert [found for use in uses if (found := problem(use, TABLES[version]))] == [], version


def test_each_version_is_asked_for_what_is_its_own():
    def names(version):
        return {(use.class_name, use.member) for use in uses_on(version)}

    weak, strong = (
        ("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH"),
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
    )
    assert weak in names("8.6.1") and strong not in names("8.6.1")
    for version in ("10.3.0", "11.4.0.106"):
        assert strong in names(version) and weak not in names(version)
        assert ("BuilderFlag", "INT8") not in names(version)
        assert ("IBuilderConfig", "set_compute_capability") not in names(version)
    assert ("IBuilderConfig", "set_compute_capability") in names("rtx 1.7.1.116")


def test_a_name_that_tensorrt_11_lacks_would_be_found():
    for use, words in [
        (Use("BuilderFlag", "INT8", (), None, "here"), "here: BuilderFlag has no INT8"),
        (Use("IInt8Calibrator", None, (), None, "here"), "here: no class IInt8Calibrator"),
        (Use("Runtime", "deserialize_cuda_engine", ("blob",), None, "here"), "takes no blob"),
        (Use("Builder", "create_network", (), "engine", "here"), "engine holds a INetworkDefinition"),
    ]:
        assert words in (problem(use, TABLES["11.4.0.106"]) or ""), words


def test_the_default_targets_are_known_to_rtx():
    assert {f"SM{target}" for target in RTX_TARGETS} <= set(TABLES["rtx 1.7.1.116"]["ComputeCapability"])


@pytest.mark.skipif(find_spec(RTX) is None, reason="tensorrt-rtx is not installed (pip install 'edge-inspect[rtx]')")
def test_the_table_says_what_the_installed_rtx_bindings_say():
    assert describe(RTX) == TABLES["rtx 1.7.1.116"]


@pytest.fixture(scope="module")
def real_names(tmp_path_factory):
    """Version → its names, or the reason why pip cannot fetch it."""
    if sys.platform != "linux" or shutil.which("gcc") is None:
        pytest.skip("the bindings' libraries are replaced by empty ones, which needs Linux and gcc")

    def names(version):
        try:
            return names_of(version, tmp_path_factory.mktemp("bindings"))
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            if "pip" not in error.cmd:
                raise
            return f"pip cannot fetch {RELEASES[version][0]} here"

    with ThreadPoolExecutor() as threads:
        return dict(zip(RELEASES, threads.map(names, RELEASES), strict=True))


@pytest.mark.bindings
@pytest.mark.parametrize("version", RELEASES)
def test_the_table_says_what_the_real_bindings_say(version, real_names):
    if isinstance(real_names[version], str):
        pytest.skip(real_names[version])
    assert real_names[version] == TABLES[version]
