"""The reconstructor: its cost, its operators, its bottleneck."""

from itertools import product

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from tests.training.cost import GMAC_LIMIT, multiply_adds  # noqa: E402
from training.methods import METHODS  # noqa: E402
from training.methods.base import Batch, Design  # noqa: E402
from training.networks.kist_network import HighPassReconstructor  # noqa: E402


def test_a_variant_returns_a_picture_of_its_size_within_two_gmac():
    method = METHODS["kist"]
    for case in product(["aligned", "free"], ["smoke", "tiny", "edge"]):
        layout, variant = case
        size = method.variants[variant].size
        network = method.learner(Design(variant, layout)).network.eval()
        outputs = network(torch.zeros(2, 3, size, size))
        assert {name: tuple(value.shape) for name, value in outputs.items()} == {"recon": (2, 3, size, size)}, case
        assert multiply_adds(network, size) / 1e9 <= GMAC_LIMIT, case


def test_only_operators_that_quantise_cleanly_are_used():
    clean = (
        torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.ReLU, torch.nn.Upsample,
        torch.nn.PixelUnshuffle, torch.nn.PixelShuffle,
    )  # fmt: skip
    for variant in ["smoke", "tiny", "edge"]:
        leaves = [m for m in METHODS["kist"].learner(Design(variant)).network.modules() if not list(m.children())]
        assert all(isinstance(leaf, clean) for leaf in leaves), variant
        assert all(leaf.mode == "nearest" for leaf in leaves if isinstance(leaf, torch.nn.Upsample)), variant


def test_the_full_variant_has_the_size_of_large_reconstructors_and_sees_high_frequencies_alone():
    network = METHODS["kist"].learner(Design("full")).network.eval()
    # multiply-adds grow with the number of pixels
    assert multiply_adds(network, 32) * (256 / 32) ** 2 / 1e9 == pytest.approx(165, abs=1)
    # away from the border, which the box of 15 reaches around
    grey, lit = torch.zeros(1, 3, 32, 32), torch.full((1, 3, 32, 32), 0.5)
    with torch.no_grad():
        assert network(grey)["recon"].shape == (1, 3, 32, 32)
        assert torch.allclose(network(grey)["recon"], network(lit)["recon"], atol=1e-5)


def test_the_network_on_high_frequencies_quantises():
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: no network can be quantized")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: nothing can be exported")
    import onnxruntime

    from calibration.ranges import collect_ranges
    from export.onnx_graph import onnx_from_module
    from export.qdq import quantized_for_cpu

    torch.manual_seed(0)
    model = onnx_from_module(HighPassReconstructor(4), (32, 32), ("recon",))
    pictures = [picture.numpy() for picture in torch.rand(4, 3, 32, 32) * 2 - 1]
    quantized = quantized_for_cpu(model, collect_ranges(model, pictures))
    operators = {node.op_type for node in onnx.load_model_from_string(model).graph.node}
    assert operators <= {"Conv", "Relu", "Add", "Concat", "MaxPool", "AveragePool", "Resize"}
    exact, rounded = (
        onnxruntime.InferenceSession(each, providers=["CPUExecutionProvider"]).run(None, {"image": pictures[0][None]})[
            0
        ]
        for each in (model, quantized)
    )
    assert abs(exact - rounded).max() < 0.1 * (exact.max() - exact.min())


def test_the_loss_falls_when_the_picture_is_approached():
    learner = METHODS["kist"].learner(Design("smoke"))
    clean = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    batch, stage = Batch(clean, clean, torch.zeros(2, 1, 32, 32)), METHODS["kist"].variants["smoke"].stages[0]

    def loss(offset):
        learner.network = Returning(clean + offset)
        return float(learner.losses(stage, batch, 0.0)["total"])

    far, near, same = (loss(offset) for offset in (0.3, 0.1, 0.0))
    assert far > near > same
    assert same == pytest.approx(0, abs=1e-4)


class Returning(torch.nn.Module):
    """Reconstructs one picture of 0..1, whatever it is shown."""

    def __init__(self, picture):
        super().__init__()
        self.picture = picture

    def forward(self, image):
        return {"recon": self.picture * 2 - 1}


def test_score_candidates_scale_with_the_field():
    small, large = (METHODS["kist"].score_candidates(size, "aligned") for size in (128, 256))
    assert len(small) == len(large) >= 4
    assert {(spec.map_scale, spec.image_score.k) for spec in small.values()} == {(1, 25), (1, 250), (2, 6), (2, 62)}
    assert {(spec.map_scale, spec.image_score.k) for spec in large.values()} == {(1, 100), (1, 1000), (2, 25), (2, 250)}
