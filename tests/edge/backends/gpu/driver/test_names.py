"""Every name of pycuda's and of the driver's that our source uses exists in the real ones, and in the fakes."""

import json
from pathlib import Path

import pytest

from tests.edge.backends.gpu.driver.names import TABLE, driver_functions, driver_uses, pycuda_uses
from tests.edge.backends.gpu.fakes.fake_cuda import FakeGpu

REAL = json.loads(TABLE.read_text())
HEADER = Path("/usr/local/cuda/include/cuda.h")


def test_every_use_of_pycuda_is_a_name_that_it_has():
    uses = list(pycuda_uses())
    assert len(uses) > 20
    assert [use for use in uses if use[1] not in REAL["pycuda"][use[0]]] == []


def test_every_call_of_the_driver_has_the_name_and_the_number_of_arguments_of_its_header():
    uses = list(driver_uses())
    assert len(uses) > 10
    assert [use for use in uses if REAL["cuda.h"].get(use[0]) != use[1]] == []


def test_a_wrong_name_or_number_would_be_found():
    assert "retain_primary" not in REAL["pycuda"]["Device"]
    assert REAL["cuda.h"]["cuGraphLaunch"] == 2


@pytest.mark.skipif(not HEADER.exists(), reason="no CUDA toolkit is installed: there is no cuda.h to read")
def test_the_table_says_what_the_installed_header_says():
    found = driver_functions(HEADER.read_text(errors="replace"))
    assert {name: found[name] for name in REAL["cuda.h"]} == REAL["cuda.h"]


def test_the_fake_library_has_every_call_that_we_make():
    library = FakeGpu().library
    assert [use for use in driver_uses() if not callable(getattr(library, use[0], None))] == []
