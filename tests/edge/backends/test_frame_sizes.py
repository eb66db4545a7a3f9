"""A folder with pictures of any number of sizes takes no more memory than a few of them."""

import pytest

from edge.backends.base import MOST_FRAME_SIZES
from edge.backends.cpu import CpuBackend, open_network
from edge.bundles.bundle import load_bundle
from edge.core.latency import StageClock
from edge.preprocessing.preprocess import Preprocess
from tests.small_bundle import SIZE, good_part

POLYGON = ((4, 4), (40, 4), (40, 30), (4, 30))


@pytest.fixture(params=["openvino", "plain network"])
def backend(request, bundle_path):
    pytest.importorskip("openvino", reason="openvino is not installed: no network can run")
    from edge.backends.cpu_openvino import OpenVinoBackend, OpenVinoEngine

    bundle = load_bundle(bundle_path)
    model, calibration = bundle.read("model_fp32"), bundle.calibration("fp32")
    preprocess = Preprocess(SIZE, SIZE, polygon=POLYGON)
    if request.param == "openvino":
        engine = OpenVinoEngine(model, bundle.manifest, calibration, 1, 1, masked=True)
        return OpenVinoBackend(engine, bundle.manifest, preprocess, calibration)
    return CpuBackend(open_network("openvino", model, bundle.manifest, 1), bundle.manifest, preprocess, calibration)


def test_masks_are_kept_for_a_few_frame_sizes(backend):
    kept = backend._paths if isinstance(backend, CpuBackend) else backend._weights
    first = backend.score(good_part(0), StageClock(0)).score
    for wider in range(3 * MOST_FRAME_SIZES):
        backend.score(good_part(0, 48, 64 + wider), StageClock(0))
        assert len(kept) <= MOST_FRAME_SIZES
    assert backend.score(good_part(0), StageClock(0)).score == first
