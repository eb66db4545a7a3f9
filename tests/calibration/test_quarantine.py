"""Which samples the network finds unlike the others: defects, but neither a changed scene nor the tail of good ones."""

import numpy as np
import pytest

from calibration.outliers import outlier_limit
from calibration.samples.quarantine import suspicion_scores
from edge.backends.cpu import open_network
from edge.bundles.bundle import load_bundle
from tests.small_bundle import bad_part, good_part


@pytest.fixture
def looked_at(bundle_path):
    """SuspicionScores on pictures, by the bundle's INT8 network."""
    bundle = load_bundle(bundle_path)
    network = open_network("openvino", bundle.read("model_int8"), bundle.manifest, 1)

    def look(pictures):
        fields = (bundle.preprocess.field(picture) for picture in pictures)
        return suspicion_scores(network, bundle.manifest, fields, bundle.calibration("int8"))

    yield look
    network.close()


@pytest.mark.parametrize("dimmed", [1.0, 0.6], ids=["usual light", "dimmer light"])
def test_defects_among_good_parts_are_suspicious_in_any_light(looked_at, dimmed):
    parts = [good_part(seed) for seed in range(60)] + [bad_part(seed) for seed in range(3)]
    found = looked_at([(part * dimmed).astype(np.uint8) for part in parts])
    assert set(found.suspicious.tolist()) == {60, 61, 62}


def test_many_defects_in_different_places_do_not_hide_each_other(looked_at):
    def scratched(seed):
        part = good_part(seed)
        y, x = np.random.default_rng(seed).integers(2, 40, 2)
        part[y : y + 3, x : x + 20] = 5
        return part

    found = looked_at([good_part(seed) for seed in range(40)] + [scratched(seed) for seed in range(12)])
    assert set(range(40, 52)) >= set(found.suspicious.tolist())
    assert len(found.suspicious) >= 9


def test_the_live_version_says_what_it_would_have_said_on_the_line(looked_at):
    found = looked_at([good_part(7), bad_part(7), good_part(8), good_part(9), good_part(10)])
    assert int(np.argmax(found.live)) == 1


@pytest.mark.parametrize("tail", ["exponential", "normal"])
def test_hardly_any_good_part_is_suspected_for_its_tail(tail):
    random = np.random.default_rng(0)
    draw = random.exponential if tail == "exponential" else lambda size: np.abs(random.normal(2, 0.5, size))
    suspected = 0
    for _ in range(20):
        scores = -np.expm1(-draw(size=500)).astype(np.float32)
        suspected += np.count_nonzero(scores > outlier_limit(scores))
    assert suspected / 10_000 < 0.002
