"""The sparsity prior: cost, operators and INT8 of its network, and what its two stages learn."""

import io
import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from edge.backends.openvino_core import openvino_core  # noqa: E402
from edge.kernels.cpu import planes_from_field  # noqa: E402
from edge.preprocessing.preprocess import Preprocess  # noqa: E402
from tests.small_bundle import good_part  # noqa: E402
from tests.training.cost import GMAC_LIMIT, multiply_adds  # noqa: E402
from training.fit import pictures_from_fields  # noqa: E402
from training.methods import METHODS  # noqa: E402
from training.methods.base import Batch, Design, TrainingData  # noqa: E402
from training.methods.sparsity_learner import area_prior  # noqa: E402
from training.optimisation.stages import BatchSource, Training  # noqa: E402

METHOD = METHODS["sparsity_prior"]
SIDE = METHOD.variants["smoke"].size
LAYOUTS = ("aligned", "free")


def fields(part, seeds):
    return np.stack([Preprocess(SIDE, SIDE).field(part(seed)) for seed in seeds])


# rows and columns of a blot
BLOT = (slice(14, 21), slice(40, 50))


def blotted_part(seed):
    picture = good_part(seed, SIDE, SIDE)
    picture[BLOT] = 25
    return picture


NORMALS = pictures_from_fields(fields(good_part, range(24)))
HELD_OUT = pictures_from_fields(fields(good_part, range(100, 108)))
ON_BLOT = torch.zeros(8, 1, SIDE, SIDE, dtype=torch.bool)
ON_BLOT[(..., *BLOT)] = True
DEFECTIVE = pictures_from_fields(fields(blotted_part, range(200, 208)))


def attach(learner, weak=None, rules=None, notices=None, tmp_path=None):
    source = BatchSource(NORMALS, None, 0.0, "aligned", 0, None)
    learner.attach(
        TrainingData(
            normals=NORMALS, held_out=HELD_OUT, weak=NORMALS[:0] if weak is None else weak, kinds=(), roi=None,
            rules=rules, random=source.random, vary=source.vary, set_bank=source.set_bank,
            draws=source.apart, run_directory=tmp_path,
            notice=[].append if notices is None else notices.append, crop=source.crop,
        )
    )  # fmt: skip
    return source


def train(learner, stage, steps, source):
    """Through one stage of the smoke variant; the curves."""
    stage = replace(METHOD.variants["smoke"].stages[stage], steps=steps)
    training = Training(learner, (stage,), source, HELD_OUT, lambda *shown: None, [].append)
    training.run(lambda: None)
    learner.eval()
    return training.curves.values[stage.name]


@pytest.fixture(scope="module")
def first_stage():
    """State of a learner whose generator is trained, and its curves."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    learner = METHOD.learner(Design("smoke"))
    curves = train(learner, 0, 60, attach(learner))
    return learner.state_dict(), curves


def segmenter_trained(first_stage, steps, ablations=(), **data):
    """A learner that went through the second stage as well."""
    torch.manual_seed(0)
    learner = METHOD.learner(Design("smoke", ablations=frozenset(ablations)))
    source = attach(learner, **data)
    learner.load_state_dict(first_stage[0])
    train(learner, 1, steps, source)
    return learner


@pytest.fixture(scope="module")
def trained(first_stage):
    return segmenter_trained(first_stage, 90)


def masks(learner, pictures):
    with torch.no_grad():
        return torch.sigmoid(learner.network(pictures * 2 - 1)["seg_logit"])


# --- the network


def test_a_variant_of_the_edge_stays_within_two_gmac():
    for layout, variant in product(LAYOUTS, ["smoke", "tiny", "edge"]):
        size = METHOD.variants[variant].size
        network = METHOD.learner(Design(variant, layout)).network
        assert multiply_adds(network, size) / 1e9 <= GMAC_LIMIT, (layout, variant)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_full_variant_is_larger_than_that_of_the_edge_and_of_the_same_field(layout):
    size = METHOD.variants["full"].size
    assert size == METHOD.variants["edge"].size
    full, edge = (multiply_adds(METHOD.learner(Design(v, layout)).network, size) for v in ("full", "edge"))
    assert full > 4 * edge


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_outputs_are_a_reconstruction_and_a_logit_for_each_pixel(layout):
    network = METHOD.learner(Design("smoke", layout)).network.eval()
    outputs = network(torch.zeros(2, 3, SIDE, SIDE))
    shapes = {name: tuple(value.shape) for name, value in outputs.items()}
    assert shapes == {"recon": (2, 3, SIDE, SIDE), "seg_logit": (2, 1, SIDE, SIDE)}


def test_only_operators_that_quantise_cleanly_are_used():
    for variant in set(METHOD.variants) - {"pretrained"}:
        clean = (torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.ReLU, torch.nn.Upsample, torch.nn.PixelShuffle)
        leaves = [m for m in METHOD.learner(Design(variant)).network.modules() if not list(m.children())]
        assert all(isinstance(leaf, clean) for leaf in leaves), variant


def test_the_discriminator_is_no_part_of_what_is_deployed():
    learner = METHOD.learner(Design("smoke"))
    assert not set(learner.network.parameters()) & set(learner.adversary.parameters())
    assert METHOD.learner(Design("smoke", ablations=frozenset({"adversary"}))).adversary is None


# --- what is learned


def test_clean_parts_get_next_to_no_mask_and_blotted_ones_do(trained):
    clean, blotted = masks(trained, HELD_OUT), masks(trained, DEFECTIVE)
    assert float(clean.mean()) < 0.003
    assert float(blotted.mean()) > 5 * float(clean.mean())


def test_the_mask_of_a_blot_lies_on_the_blot(trained):
    found = masks(trained, DEFECTIVE)
    assert float(found[ON_BLOT].mean()) > 10 * float(found[~ON_BLOT].mean())


def test_the_segmenters_stage_leaves_the_generator_alone():
    torch.manual_seed(0)
    learner = METHOD.learner(Design("smoke"))
    source = attach(learner)
    before = {name: value.clone() for name, value in learner.network.generator.state_dict().items()}
    train(learner, 1, 2, source)
    after = learner.network.generator.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items() if value.is_floating_point())


def test_a_normal_residual_is_explained_and_a_defect_is_not(trained):
    with torch.no_grad():
        clean, blotted = (trained.unexplained(p, trained.network.generator(p * 2 - 1)) for p in (HELD_OUT, DEFECTIVE))
    assert float(clean.mean()) < 0.03
    assert float(blotted[ON_BLOT].mean()) > 10 * float(clean.mean())
    assert 0 <= float(blotted.min()) <= float(blotted.max()) <= 1


def test_without_artificial_masks_the_prior_alone_finds_blots(first_stage):
    learner = segmenter_trained(first_stage, 100, ablations=("synthetic",))
    found = masks(learner, DEFECTIVE)
    assert float(found[ON_BLOT].mean()) > 4 * float(found[~ON_BLOT].mean())
    assert float(found[ON_BLOT].mean()) > 20 * float(masks(learner, HELD_OUT).mean())


def test_the_area_on_production_pictures_keeps_to_the_rules(first_stage, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("picture: {area: [0.02, 0.05]}\n")
    learner = segmenter_trained(first_stage, 90, weak=DEFECTIVE, rules=rules)
    areas = masks(learner, DEFECTIVE).mean((1, 2, 3))
    assert 0.02 < float(areas.min()) < float(areas.max()) < 0.05
    assert float(masks(learner, HELD_OUT).mean()) < 0.01


def test_rules_without_an_area_leave_the_usual_one(tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("product: plate\n")
    assert area_prior(rules) is None
    assert area_prior(None) is None
    rules.write_text("picture: {area: [0.001, 0.2]}\n")
    assert area_prior(rules) == (0.001, 0.2)


def test_left_out_parts_are_left_out_of_the_loss():
    batch = Batch(DEFECTIVE, HELD_OUT, ON_BLOT.float())
    stage = METHOD.variants["smoke"].stages[1]
    totals = {}
    for ablation in ("", "sparsity", "synthetic"):
        torch.manual_seed(0)
        learner = METHOD.learner(Design("smoke", ablations=frozenset({ablation} - {""})))
        attach(learner)
        learner.prepare(stage)
        learner.set_up(stage)
        losses = {name: float(value.detach()) for name, value in learner.eval().losses(stage, batch, 0.5).items()}
        totals[ablation] = losses["total"]
    assert totals[""] - totals["sparsity"] == pytest.approx(0.5 * losses["sparsity"], rel=1e-3)
    assert totals[""] - totals["synthetic"] == pytest.approx(0.2 * losses["synthetic"], rel=1e-3)


# --- the adversary


def test_a_diverging_discriminator_does_not_end_the_run():
    torch.manual_seed(0)
    learner, notices = METHOD.learner(Design("smoke")), []
    source = attach(learner, notices=notices)
    spoiled = iter([1e30, math.nan, math.inf])

    def blow_up(step, *shown):
        if step % 6 == 0 and (value := next(spoiled, None)) is not None:
            with torch.no_grad():
                for parameter in learner.adversary.discriminator.parameters():
                    parameter.fill_(value)

    stage = replace(METHOD.variants["smoke"].stages[0], steps=24)
    training = Training(learner, (stage,), source, HELD_OUT, blow_up, [].append)
    training.run(lambda: None)
    assert len(notices) == 3
    assert learner.adversary.weight == pytest.approx(1e-3)
    assert all(value.isfinite().all() for value in learner.network.state_dict().values())
    curve = training.curves.values["generator"]["total"]
    assert curve[-1][1] < curve[0][1]


def test_the_discriminator_learns_alone_at_first(first_stage):
    _, curves = first_stage
    # a quarter of a short stage
    assert curves["adversarial"][0][0] == 16
    assert curves["adversary total"][0][0] == 1


# --- export


@pytest.fixture(scope="module")
def graphs(trained):
    """FP32 and INT8, with ranges as the commands collect them."""
    pytest.importorskip("onnx", reason="onnx is not installed: nothing can be exported")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: nothing can be exported")
    from calibration.ranges import collect_ranges, with_foreign_patches
    from export.onnx_graph import onnx_from_module
    from export.qdq import quantized_for_cpu

    fp32 = onnx_from_module(trained.network, (SIDE, SIDE), METHOD.outputs)
    images = [
        planes_from_field(field, np.empty((3, SIDE, SIDE), np.float32)) for field in fields(good_part, range(100, 108))
    ]
    return fp32, quantized_for_cpu(fp32, collect_ranges(fp32, with_foreign_patches(images)))


def run_openvino(model, pictures):
    pytest.importorskip("openvino", reason="openvino is not installed: INT8 cannot be run")
    core = openvino_core()
    compiled = core.compile_model(core.read_model(io.BytesIO(model)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = [compiled(picture[None].numpy() * 2 - 1) for picture in pictures]
    return tuple(np.concatenate([result[name] for result in results]) for name in METHOD.outputs)


def test_the_exported_graph_computes_what_torch_computes(trained, graphs):
    import onnxruntime

    session = onnxruntime.InferenceSession(graphs[0], providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = trained.network(DEFECTIVE[:1] * 2 - 1)
    given = session.run(list(METHOD.outputs), {"image": (DEFECTIVE[:1] * 2 - 1).numpy()})
    for name, values in zip(METHOD.outputs, given, strict=True):
        assert np.abs(values - expected[name].numpy()).max() < 1e-3


def test_only_the_first_and_the_last_convolutions_stay_unquantised(graphs):
    import onnx

    from export.graph import graph_from_onnx, input_convolutions, output_convolutions

    model = onnx.load_model_from_string(graphs[1])
    exact = graph_from_onnx(graphs[0])
    last = output_convolutions(exact)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    plain = [n.name for n in model.graph.node if n.op_type == "Conv" and n.input[1] in constants]
    assert len(last) == 2
    assert sorted(plain) == sorted({*last, *input_convolutions(exact)})


def test_maps_survive_int8(graphs):
    pictures = torch.cat([HELD_OUT, DEFECTIVE])
    (_, exact), (_, coarse) = (run_openvino(graph, pictures) for graph in graphs)
    exact, coarse = (1 / (1 + np.exp(-logit)) for logit in (exact, coarse))
    for defective in range(len(HELD_OUT), len(pictures)):
        assert np.corrcoef(exact[defective].ravel(), coarse[defective].ravel())[0, 1] > 0.95
    assert coarse[len(HELD_OUT) :].max() > 0.9 * exact[len(HELD_OUT) :].max()
    assert np.abs(exact - coarse)[: len(HELD_OUT)].mean() < 0.001


# --- score paths


@pytest.mark.parametrize("layout", LAYOUTS)
def test_score_paths_offer_every_way_to_blend_the_product_first(layout):
    candidates = METHOD.score_candidates(256, layout)
    first = next(iter(candidates.values())).blend
    assert (first.mode, first.alpha, first.beta) == ("product", 0.5, 1.0)
    assert {spec.blend.mode for spec in candidates.values()} == {"product", "noisy_or", "max", "wsum"}
    assert all(spec.blend.mode in name for name, spec in candidates.items())
    assert {spec.norm.kind for spec in candidates.values()} == {"pixel" if layout == "aligned" else "global"}


def test_score_paths_scale_with_the_field():
    small, large = (METHOD.score_candidates(size, "aligned") for size in (128, 256))
    assert {(s.map_scale, s.smooth.radius, s.image_score.k) for s in small.values()} == {
        (1, 2, 25), (1, 2, 250), (2, 1, 6), (2, 1, 62)
    }  # fmt: skip
    assert {(s.map_scale, s.smooth.radius, s.image_score.k) for s in large.values()} == {
        (1, 4, 100), (1, 4, 1000), (2, 2, 25), (2, 2, 250)
    }  # fmt: skip
