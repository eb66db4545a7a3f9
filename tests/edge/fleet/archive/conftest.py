import shutil

import pytest

from tests.edge.fleet.archive.archives import record_days, stricter


@pytest.fixture(scope="package")
def _made_once(_bundle_made_once, tmp_path_factory):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (the extra parquet)")
    place = tmp_path_factory.mktemp("archive")
    record_days(place / "records", _bundle_made_once)
    stricter(_bundle_made_once, place / "strict")
    return place


@pytest.fixture
def archive(_made_once, tmp_path):
    """Three days of four good parts and a scratched one each."""
    return shutil.copytree(_made_once / "records", tmp_path / "records")


@pytest.fixture
def strict(_made_once, tmp_path):
    """A bundle that rejects everything."""
    return shutil.copytree(_made_once / "strict", tmp_path / "strict")
