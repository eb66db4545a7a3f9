"""SLSG: its cost, its operators, its stages, and that it finds valid pieces in wrong places."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from edge.backends.openvino_core import openvino_core  # noqa: E402
from edge.kernels.reference import top_k_mean  # noqa: E402
from tests.training.cost import GMAC_LIMIT, multiply_adds  # noqa: E402
from tests.training.data.aligned_part import LABEL, SIDE, part, parts  # noqa: E402
from training.methods import METHODS  # noqa: E402
from training.methods.base import Batch, Design, TrainingData, seeded  # noqa: E402
from training.methods.slsg import balanced_l1, compactness_loss, hidden_cells  # noqa: E402
from training.networks.slsg_network import Shape, SlsgNetwork  # noqa: E402
from training.optimisation.stages import BatchSource, Training  # noqa: E402

METHOD = METHODS["slsg"]


def attached(ablations=frozenset(), seed=0, normals=None):
    """A smoke learner with its data, and where its batches come from."""
    torch.manual_seed(seed)
    learner = METHOD.learner(Design("smoke", "aligned", frozenset(ablations)))
    normals = parts(24) if normals is None else normals
    source = BatchSource(normals, None, 0.0, "aligned", seed, None)
    learner.attach(
        TrainingData(
            normals=normals, held_out=parts(8, first=100), weak=normals[:0], kinds=(), roi=None, rules=None,
            random=source.random, vary=source.vary, set_bank=source.set_bank,
            draws=source.apart, run_directory=Path(), notice=str,
            crop=source.crop,
        )
    )  # fmt: skip
    return learner, source


def train(ablations=frozenset()):
    learner, source = attached(ablations)
    stages = METHOD.variants["smoke"].stages
    Training(learner, stages, source, parts(8, first=100), lambda *shown: None, str).run(lambda: None)
    return learner.eval()


@pytest.fixture(scope="module")
def trained():
    return train()


def scores(learner, pictures):
    with torch.no_grad():
        probability = learner.network(pictures * 2 - 1)["seg_logit"].sigmoid()
    return np.array([top_k_mean(plane.numpy().astype(float), 25) for plane in probability[:, 0]])


def attention(graph, inputs, output):
    places = output.shape[2] * output.shape[3]
    return graph.dense * places**2 * (graph.key[0].out_channels + output.shape[1])


def test_a_variant_has_both_outputs_and_the_small_ones_stay_within_two_gmac():
    for variant in set(METHOD.variants) - {"pretrained"}:
        size = METHOD.variants[variant].size
        network = METHOD.learner(Design(variant)).network.eval()
        with torch.no_grad():
            outputs = network(torch.zeros(1, 3, size, size))
        grid = size // {"smoke": 8}.get(variant, 16)
        assert {name: tuple(value.shape) for name, value in outputs.items()} == {
            "seg_logit": (1, 1, size, size),
            "emb_dist": (1, 1, grid, grid),
        }, variant
        assert float(outputs["emb_dist"].min()) >= 0, variant
        if variant != "full":
            assert multiply_adds(network, size, attention, type(network.graph)) / 1e9 <= GMAC_LIMIT, variant


def test_every_part_can_be_left_out():
    for without in METHOD.ablations:
        learner, source = attached({without})
        stage = METHOD.variants["smoke"].stages[1]
        learner.prepare(stage)
        losses = learner.losses(stage, source.draw(stage, 4), 0.0)
        assert torch.isfinite(losses["total"]), without
        assert ("compactness" in losses) == (without != "compactness"), without


def test_only_the_graph_carries_a_change_beyond_the_receptive_field():
    for ablations, reaches in [((), True), (("dense",), True), (("graph",), False)]:
        torch.manual_seed(0)
        shape = Shape(128, (8, 16), (8,), 8)
        network = SlsgNetwork(shape, aligned=True, ablations=frozenset(ablations)).eval()
        before = torch.rand(1, 3, 128, 128, generator=seeded(0)) * 2 - 1
        after = before.clone()
        after[:, :, 4:12, 4:12] = 1.0
        with torch.no_grad():
            changed = (network(after)["seg_logit"] - network(before)["seg_logit"])[0, 0, 96:, :16].abs().max()
        assert bool(changed > 0) == reaches, ablations


def test_permuted_quadrants_of_a_normal_raise_its_score(trained):
    normal = parts(8, first=200)
    top, bottom = normal.split(SIDE // 2, 2)
    permuted = torch.cat([bottom.roll(SIDE // 2, 3), top.roll(SIDE // 2, 3)], 2)
    assert scores(trained, permuted).min() > scores(trained, normal).max() + 0.2


def test_a_valid_piece_in_a_wrong_place_is_found_where_it_lies(trained):
    normal = parts(8, first=200)
    strange = normal.clone()
    strange[:, :, 10:20, 36:58] = normal[:, :, LABEL[0], LABEL[1]]
    assert (scores(trained, strange) > scores(trained, normal)).mean() > 0.8
    with torch.no_grad():
        before, after = (trained.network(p * 2 - 1)["seg_logit"].mean((0, 1)) for p in (normal, strange))
    there, elsewhere = (after - before)[10:20, 36:58], (after - before)[56:]
    assert float(there.mean()) > 1
    assert float(there.mean()) > 2 * float(elsewhere.mean().abs())


def test_the_centre_is_the_mean_of_normal_places_and_stays(trained):
    centre = trained.network.centre.clone()
    assert float(centre.abs().max()) > 0
    stage = METHOD.variants["smoke"].stages[1]
    learner, source = attached()
    learner.prepare(stage)
    with torch.no_grad():
        embedded = learner.eval().network.embed(learner.network.features(parts(24) * 2 - 1)[-1])
    fixed = learner.network.centre.clone()
    assert torch.allclose(fixed, embedded.mean((0, 2, 3), keepdim=True), atol=1e-4)
    optimiser = torch.optim.SGD(learner.train().parameters(), 0.1)
    for _ in range(2):
        learner.losses(stage, source.draw(stage, 4), 0.0)["total"].backward()
        optimiser.step()
    assert torch.equal(learner.network.centre, fixed)


def test_normal_parts_lie_nearer_the_centre_than_parts_with_quadrants_permuted(trained):
    normal = parts(8, first=200)
    with torch.no_grad():
        near, far = (trained.network(p * 2 - 1)["emb_dist"].mean() for p in (normal, normal.roll(SIDE // 2, 3)))
    assert float(far) > 1.2 * float(near)


def test_the_encoder_learns_at_a_tenth_and_its_batch_norm_stands_still_in_the_second_half():
    learner, source = attached()
    stage = METHOD.variants["smoke"].stages[1]
    scales = {len(group["params"]): group["scale"] for group in learner.parameter_groups(stage)}
    assert scales[len(list(learner.network.encoder.parameters()))] == 0.1
    norm = next(m for m in learner.network.encoder.modules() if isinstance(m, torch.nn.BatchNorm2d))
    for share, moves in ((0.2, True), (0.7, False)):
        learner.train()
        before = norm.running_mean.clone()
        learner.losses(stage, source.draw(stage, 4), share)
        assert torch.equal(before, norm.running_mean) != moves


def test_the_validation_loss_repeats_itself():
    learner, source = attached()
    stage = METHOD.variants["smoke"].stages[1]
    batch = source.draw(stage, 4)
    with torch.no_grad():
        first, second = (float(learner.eval().validation_loss(stage, batch)) for _ in range(2))
    assert first == second


def test_pre_training_hides_a_third_to_a_half_of_the_cells_and_moves_some():
    pictures = parts(40, first=0)
    hidden = hidden_cells(pictures, seeded(0))
    grey = (hidden == 0.5).all(1).float().mean((1, 2))
    assert 0.3 <= float(grey.min()) < float(grey.max()) <= 0.5 + 1 / 16
    moved = ((hidden != pictures) & (hidden != 0.5)).any(1).flatten(1).any(1)
    assert 8 <= int(moved.sum()) <= 32


def test_losses_fall_when_the_truth_is_approached():
    masks = torch.zeros(1, 1, 16, 16)
    masks[..., 4:8, 4:8] = 1
    logits = [(masks * 2 - 1) * size for size in (-2.0, 0.5, 3.0)]
    l1 = [float(balanced_l1(logit.sigmoid(), masks)) for logit in logits]
    assert l1 == sorted(l1, reverse=True)
    places = torch.nn.functional.max_pool2d(masks, 4)
    compact = [float(compactness_loss(0.5 + places * step, masks)) for step in (-0.4, 0.0, 3.0)]
    assert compact == sorted(compact, reverse=True)


def test_the_second_stage_pairs_each_normal_with_an_altered_partner():
    learner, source = attached()
    stage = METHOD.variants["smoke"].stages[1]
    batch: Batch = source.draw(stage, 6)
    pictures, masks = learner._normals_and_partners(batch, seeded(0))
    assert pictures.shape[0] == masks.shape[0] == 12
    assert float(masks[:6].sum()) == 0
    assert (masks[6:].sum((1, 2, 3)) > 0).sum() >= 5


def test_the_exported_graph_needs_neither_topk_nor_gather_and_runs_in_int8(trained):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: nothing can be exported")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: nothing can be exported")
    pytest.importorskip("openvino", reason="openvino is not installed")
    from calibration.ranges import collect_ranges
    from export.onnx_graph import onnx_from_module
    from export.qdq import quantized_for_cpu

    exported = onnx_from_module(trained.network, (SIDE, SIDE), METHOD.outputs)
    operators = {node.op_type for node in onnx.load_model_from_string(exported).graph.node}
    assert not operators & {"TopK", "Gather", "GatherElements", "GatherND", "ScatterND"}
    images = list((parts(8, first=100) * 2 - 1).numpy())
    quantized = quantized_for_cpu(exported, collect_ranges(exported, images))
    mixed = part(200, kind=0, label=1)
    core = openvino_core()
    outputs = []
    for model in (exported, quantized):
        compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        outputs.append([np.asarray(value) for value in compiled((mixed * 2 - 1).numpy()[None]).values()])
    for exact, coarse in zip(*outputs, strict=True):
        spread = max(float(np.ptp(exact)), 1e-3)
        assert np.abs(exact - coarse).max() < 0.5 * spread
        assert np.corrcoef(exact.ravel(), coarse.ravel())[0, 1] > 0.95
