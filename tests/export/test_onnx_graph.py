"""The exported graph computes what torch computes, under the contract's names, and tells nothing of its maker."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be exported")
onnx = pytest.importorskip("onnx", reason="onnx is not installed: nothing can be exported")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: nothing can be exported")

from edge.core.errors import UsageError  # noqa: E402
from export import onnx_graph  # noqa: E402
from export.graph import graph_from_onnx, with_outputs  # noqa: E402
from export.onnx_graph import OPSET, onnx_from_module  # noqa: E402
from training.networks.blocks import EdgeTrunk  # noqa: E402

SIDE = 32


class TwoHeads(torch.nn.Module):
    """A trunk with the contract's three outputs, given in another order than asked for."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trunk = EdgeTrunk((8, 16), 4)

    def forward(self, image):
        recon = self.trunk(image)
        return {"seg_logit": recon.mean(1, keepdim=True), "emb_dist": recon[:, :1, ::4, ::4].abs(), "recon": recon}


@pytest.fixture(scope="module")
def module():
    module = TwoHeads()
    # batch norm with history, so that folding it has something to get wrong
    module.train()
    for seed in range(3):
        module(torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 2 - 1)
    return module.eval()


@pytest.fixture(scope="module")
def exported(module):
    return onnx_from_module(module, (SIDE, SIDE), ("recon", "seg_logit", "emb_dist"))


def test_names_and_shapes_are_those_of_the_contract(exported):
    graph = onnx.load_model_from_string(exported).graph
    shapes = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert [value.name for value in graph.input] == ["image"]
    assert [value.name for value in graph.output] == ["recon", "seg_logit", "emb_dist"]
    assert shapes == {
        "image": [1, 3, SIDE, SIDE],
        "recon": [1, 3, SIDE, SIDE],
        "seg_logit": [1, 1, SIDE, SIDE],
        "emb_dist": [1, 1, SIDE // 4, SIDE // 4],
    }


def test_the_graph_computes_what_torch_computes(module, exported):
    import onnxruntime

    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    names = ["recon", "seg_logit", "emb_dist"]
    for seed in range(10, 13):
        picture = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        with torch.no_grad():
            expected = module(picture)
        for name, given in zip(names, session.run(names, {"image": picture.numpy()}), strict=True):
            assert np.abs(given - expected[name].numpy()).max() < 1e-4


def test_batch_norm_is_folded_and_the_opset_is_the_one_stated(exported):
    model = onnx.load_model_from_string(exported)
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == OPSET


def test_no_path_of_the_exporting_machine_is_in_the_file(exported):
    assert b".py" not in exported
    assert __file__.rsplit("/tests/", 1)[0].encode() not in exported


def test_the_graph_is_compared_on_the_pictures_given(module, monkeypatch):
    # a picture far outside the range that noise would cover is where the two differ most
    loud = np.full((3, SIDE, SIDE), 1e8, np.float32)
    monkeypatch.setattr(onnx_graph, "EXPORT_TOLERANCE", 1e-4)
    onnx_from_module(module, (SIDE, SIDE), ("recon",), [np.zeros((3, SIDE, SIDE), np.float32)])
    with pytest.raises(UsageError, match="differs from the trained network by"):
        onnx_from_module(module, (SIDE, SIDE), ("recon",), [np.zeros((3, SIDE, SIDE), np.float32), loud])


def test_an_operator_that_no_target_is_given_is_refused():
    class Enlarger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.shrink, self.enlarge = torch.nn.Conv2d(3, 4, 2, 2), torch.nn.ConvTranspose2d(4, 3, 2, 2)

        def forward(self, image):
            return {"recon": self.enlarge(self.shrink(image))}

    with pytest.raises(UsageError, match="ConvTranspose"):
        onnx_from_module(Enlarger(), (SIDE, SIDE), ("recon",))


def test_a_graph_that_differs_from_torch_is_refused(module, monkeypatch):
    # nothing is exact to a negative tolerance
    monkeypatch.setattr(onnx_graph, "EXPORT_TOLERANCE", -1.0)
    with pytest.raises(UsageError, match="differs from the trained network by") as refusal:
        onnx_from_module(module, (SIDE, SIDE), ("recon", "seg_logit", "emb_dist"))
    assert "checkpoint is untouched" in refusal.value.fix


def test_a_graph_with_fewer_outputs_computes_the_same_and_holds_nothing_that_only_the_others_need(module):
    import onnxruntime

    whole = onnx_from_module(module, (SIDE, SIDE), ("recon", "seg_logit", "emb_dist"))
    alone = with_outputs(whole, ("seg_logit",))
    onnx.checker.check_model(onnx.load_model_from_string(alone), full_check=True)
    assert graph_from_onnx(alone).outputs == ["seg_logit"]
    assert len(graph_from_onnx(alone).nodes) < len(graph_from_onnx(whole).nodes)
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, SIDE, SIDE)).astype(np.float32)
    first, again = (
        onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(["seg_logit"], {"image": image})[0]
        for model in (whole, alone)
    )
    assert np.array_equal(first, again)
    assert with_outputs(whole, ("emb_dist", "seg_logit", "recon")) == whole
