import shutil
import signal

import pytest

# a shell lets what it starts in the background ignore Ctrl-C, and so would the programs that the tests start and stop
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    # and nohup lets it ignore a terminal that closes
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(config, items):
    """Long tests run where they are asked for."""
    if "long" not in config.option.markexpr:
        for item in items:
            if "long" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="it takes minutes: `pytest -m long` runs it"))


@pytest.fixture(scope="session")
def _bundle_made_once(tmp_path_factory):
    pytest.importorskip("onnx", reason="onnx is not installed: no network can be written")
    from tests.small_bundle import make_bundle

    return make_bundle(tmp_path_factory.mktemp("bundle") / "plate").path


@pytest.fixture
def bundle_path(_bundle_made_once, tmp_path):
    """A fresh copy of a tiny, real, calibrated bundle."""
    return shutil.copytree(_bundle_made_once, tmp_path / "plate")
