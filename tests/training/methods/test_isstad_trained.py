"""ISSTAD trained for seconds on a made-up part: what it then tells apart, exported and in eight bits as well."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
pytest.importorskip("onnx", reason="onnx is not installed: nothing can be exported")

from calibration.ranges import collect_ranges  # noqa: E402
from edge.backends.openvino_core import openvino_core  # noqa: E402
from edge.core.manifest import BlendSpec, ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec  # noqa: E402
from edge.kernels.cpu import NetworkOutputs  # noqa: E402
from edge.kernels.statistics import cross_fitted_paths, residual_errors  # noqa: E402
from edge.metrics import image_auroc  # noqa: E402
from edge.preprocessing.preprocess import Preprocess  # noqa: E402
from export.onnx_graph import onnx_from_module  # noqa: E402
from export.qdq import quantized_for_cpu  # noqa: E402
from tests.small_bundle import good_part  # noqa: E402
from tests.training.methods.test_isstad import METHOD, small_transformer  # noqa: E402
from training.defects import PRESETS, DefectGenerator  # noqa: E402
from training.fit import pictures_from_fields  # noqa: E402
from training.methods.base import Design, TrainingData, run_network  # noqa: E402
from training.optimisation.stages import BatchSource, Training  # noqa: E402

PLAN = METHOD.variants["smoke"]
OUTPUTS = METHOD.outputs
HELD_OUT = 12


def parts(seeds):
    fields = [Preprocess(PLAN.size, PLAN.size).field(good_part(seed, 64, 64)) for seed in seeds]
    return pictures_from_fields(np.stack(fields))


def training_data(batches, held_out, weak=0, notice=print):
    return TrainingData(
        normals=batches.normals, held_out=held_out, weak=held_out[:weak], kinds=("scratch",) * weak,
        roi=None, rules=None, random=batches.random, vary=batches.vary, set_bank=batches.set_bank,
            draws=batches.apart, run_directory=None,
        notice=notice, crop=batches.crop,
    )  # fmt: skip


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    learner = METHOD.learner(Design("smoke")).to(memory_format=torch.channels_last)
    batches = BatchSource(parts(range(100, 124)), None, PLAN.bend, "aligned", 0, None)
    held_out = parts(range(HELD_OUT))
    learner.attach(training_data(batches, held_out))
    Training(learner, PLAN.stages, batches, held_out, lambda *shown: None, print).run(lambda: None)
    return learner.network.eval()


def test_parts_known_to_be_defective_are_declined_aloud():
    batches, notices = BatchSource(parts(range(2)), None, 0.0, "aligned", 0, None), []
    METHOD.learner(Design("smoke")).attach(training_data(batches, parts(range(4)), weak=3, notice=notices.append))
    (notice,) = notices
    assert "3 parts in train/weak/ are not used" in notice


@pytest.fixture(scope="module")
def inspected(network):
    """Held-out parts and as many with artificial defects: pictures in -1..1, outputs and labels."""
    good = parts(range(HELD_OUT)).repeat(4, 1, 1, 1)
    preset = replace(PRESETS["surface"], clean_share=0.0, smallest=0.003)
    bad, _ = DefectGenerator(preset, seed=5)(good)
    images = torch.cat([good[:HELD_OUT], bad]) * 2 - 1
    return list(images.numpy()), run_network(network, images), np.repeat([0, 1], [HELD_OUT, len(bad)])


def auroc(inspected, residual, **blend):
    images, outputs, labels = inspected
    spec = ScoreSpec(
        residual=residual, blend=BlendSpec(**blend), smooth=SmoothSpec(kind="gaussian", radius=1),
        image_score=ImageScoreSpec(k=6),
    )  # fmt: skip
    errors = residual_errors(spec, images[:HELD_OUT], outputs[:HELD_OUT])
    paths = cross_fitted_paths(spec, errors, outputs[:HELD_OUT])
    scores = [paths[n % HELD_OUT].score(images[n], outputs[n]).score for n in range(len(images))]
    return image_auroc(labels, np.array(scores))


def test_good_parts_are_probably_good(inspected):
    _, outputs, labels = inspected
    logits = np.stack([output.seg_logit for output, label in zip(outputs, labels, strict=True) if not label])
    assert (1 / (1 + np.exp(-logits))).mean() < 0.05


def test_the_product_separates_as_well_as_either_branch_alone(inspected):
    images, outputs, labels = inspected
    residual = ResidualSpec(w_l2=1.0)
    product = auroc(inspected, residual, mode="product")
    probability = auroc(inspected, ResidualSpec())
    error = auroc((images, [NetworkOutputs(recon=o.recon) for o in outputs], labels), residual)
    assert product >= max(probability, error) - 0.01
    assert product > 0.85


@pytest.fixture(scope="module")
def exported(network):
    return onnx_from_module(network, (PLAN.size, PLAN.size), OUTPUTS)


def difference(model, network, side):
    import onnxruntime

    picture = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(7)) * 2 - 1
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    given = session.run(list(OUTPUTS), {"image": picture.numpy()})
    with torch.no_grad():
        expected = network(picture)
    return max(np.abs(a - expected[name].numpy()).max() for name, a in zip(OUTPUTS, given, strict=True))


def test_the_exported_convolutions_compute_what_torch_computes(network, exported):
    assert difference(exported, network, PLAN.size) < 1e-3


def test_the_exported_transformer_computes_what_torch_computes():
    network = small_transformer().eval()
    assert difference(onnx_from_module(network, (64, 64), OUTPUTS), network, 64) < 1e-3


def test_eight_bits_run_in_openvino_and_tell_defects_as_well(exported, inspected):
    pytest.importorskip("openvino", reason="openvino is not installed: nothing to run INT8 with")
    images, _, labels = inspected
    quantized = quantized_for_cpu(exported, collect_ranges(exported, images[:HELD_OUT]))
    core = openvino_core()
    compiled = core.compile_model(core.read_model(quantized), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs = []
    for image in images:
        recon, seg_logit = (np.array(compiled(image[None])[name][0]) for name in OUTPUTS)
        outputs.append(NetworkOutputs(recon=recon, seg_logit=seg_logit[0]))
    residual = ResidualSpec(w_l2=1.0)
    exact, coarse = auroc(inspected, residual), auroc((images, outputs, labels), residual)
    assert coarse >= exact - 0.02
