"""The score path inside an OpenVINO network against the definition, within the stated bound."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from edge.backends.openvino_core import openvino_core
from edge.core.errors import BundleError
from edge.core.manifest import BlendSpec, ImageScoreSpec, NormSpec, ResidualSpec, ScoreSpec, SmoothSpec
from edge.kernels import reference
from edge.kernels.cpu import KERNEL_TOLERANCE, CpuScorePath, NetworkOutputs, NormalStatistics, mean_in_bins
from tests.edge.kernels.test_cpu import MODES, WEIGHTS, as_shares

openvino = pytest.importorskip("openvino", reason="openvino is not installed")

from openvino import opset13 as op  # noqa: E402

from edge.kernels.score_graph import BLENDED, FIELD, LARGEST, SMOOTHED, with_score  # noqa: E402


def field(size: int, seed: int = 0) -> np.ndarray:
    """A smooth picture, uint8 (size, size, 3) RGB."""
    steps = np.cumsum(np.random.default_rng(seed).normal(0, 0.1, (size, size, 3)), axis=1)
    return ((np.tanh(steps) + 1) * 127.5).astype(np.uint8)


def as_planes(picture: np.ndarray) -> np.ndarray:
    """uint8 (s, s, 3) → float32 (3, s, s) in -1..1."""
    return (picture.transpose(2, 0, 1) * np.float32(2 / 255) - 1).astype(np.float32)


def near(planes: np.ndarray, spread: float = 0.1, seed: int = 1) -> np.ndarray:
    noisy = planes + np.random.default_rng(seed).normal(0, spread, planes.shape)
    return np.clip(noisy, -1, 1).astype(np.float32)


def network(size: int | tuple[int, int], **outputs: np.ndarray):
    """A network that gives these outputs whatever it sees; each (channels, h, w)."""
    shape = (size, size) if isinstance(size, int) else size
    image = op.parameter([1, 3, *shape], np.float32, name="image")
    nothing = op.multiply(op.reduce_max(image, op.constant(np.arange(4)), True), np.float32(0))
    results = []
    for name, values in outputs.items():
        result = op.result(op.add(op.constant(values[None].astype(np.float32)), nothing))
        result.output(0).set_names({name})
        results.append(result)
    return openvino.Model(results, [image], "given")


def blended_by(graph, picture: np.ndarray) -> np.ndarray:
    """(m, m): what the finished graph makes of a field."""
    return outputs_of(graph, picture)[BLENDED][0]


def outputs_of(graph, picture: np.ndarray) -> dict[str, np.ndarray]:
    inputs = {FIELD: np.ascontiguousarray(picture.transpose(2, 0, 1)[None])}
    results = compiled(graph)(inputs)
    return {name: np.array(values) for port, values in results.items() for name in port.get_names()}


def run(model, inputs) -> np.ndarray:
    return np.array(compiled(model)(inputs)[0][0])


def compiled(model):
    # as the backend compiles it: bfloat16, where a processor has it, is not what is tested
    return openvino_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def flat(side: int) -> NormalStatistics:
    return NormalStatistics(np.zeros((side, side), np.float32), np.ones((side, side), np.float32))


def expected_residual(picture, recon, spec, statistics):
    halves = [reference.reduced(as_shares(one), spec.map_scale) for one in (as_planes(picture), recon)]
    error = reference.residual_error(*halves, spec.residual)
    return reference.evidence(error, statistics.mean, statistics.inv_std, spec.norm)


def test_residual_evidence_equals_the_definition():
    for case in product([1, 2], [2, 14, 66], WEIGHTS):
        map_scale, size, terms = case
        picture = field(size)
        recon = near(as_planes(picture))
        spec = ScoreSpec(map_scale=map_scale, residual=ResidualSpec(**WEIGHTS[terms]))
        statistics = flat(size // map_scale)
        graph = with_score(network(size, recon=recon), ("recon",), spec, (size, size), statistics)
        expected = expected_residual(picture, recon, spec, statistics)
        assert np.abs(blended_by(graph, picture) - expected).max() < KERNEL_TOLERANCE, case


def test_flat_bright_and_dark_parts_stay_within_the_bound():
    for case in product([0, 128, 249], WEIGHTS):
        level, terms = case
        picture = (level + np.random.default_rng(2).integers(0, 4, (33, 33, 3))).astype(np.uint8)
        recon = near(as_planes(picture), spread=0.01)
        spec = ScoreSpec(residual=ResidualSpec(**WEIGHTS[terms]))
        graph = with_score(network(33, recon=recon), ("recon",), spec, (33, 33), flat(33))
        expected = expected_residual(picture, recon, spec, flat(33))
        assert np.abs(blended_by(graph, picture) - expected).max() < KERNEL_TOLERANCE, case


def test_every_blend_of_every_kind_of_evidence_equals_the_definition():
    for case in product(
        [1, 2],
        MODES,
        ["recon seg_logit", "recon seg_logit emb_dist", "seg_logit emb_dist"],
    ):
        map_scale, mode, outputs = case
        outputs = tuple(outputs.split())
        size, side = 32, 32 // map_scale
        random = np.random.default_rng(3)
        picture = field(size)
        given = {
            "recon": near(as_planes(picture)),
            "seg_logit": random.normal(0, 3, (1, size, size)).astype(np.float32),
            "emb_dist": random.gamma(2, 1, (1, 5, 7)).astype(np.float32),
        }
        residual = ResidualSpec(w_l1=1, w_gms=0.5) if "recon" in outputs else ResidualSpec()
        blend = BlendSpec(mode=mode, alpha=0.7, beta=1.3)
        spec = ScoreSpec(map_scale=map_scale, residual=residual, blend=blend)
        statistics = NormalStatistics(
            np.full((side, side), 0.02, np.float32), random.uniform(10, 40, (side, side)).astype(np.float32), 1.5, 0.8
        )
        graph = with_score(
            network(size, **{name: given[name] for name in outputs}), outputs, spec, (size, size), statistics
        )  # fmt: skip

        found = blended_by(graph, picture)

        error = expected_residual(picture, given["recon"], spec, statistics) if "recon" in outputs else None
        probability = reference.probability(given["seg_logit"].astype(np.float64))
        distance = None
        if "emb_dist" in outputs:
            distance = reference.embedding_evidence(given["emb_dist"][0], 1.5, 0.8, spec.norm.tau, (side, side))
        expected = reference.blend(error, reference.reduced(probability, map_scale)[0], distance, blend)
        assert np.abs(found - expected).max() < KERNEL_TOLERANCE, case


def test_a_sum_on_a_field_of_another_aspect_equals_the_float32_path():
    rows, columns = shape = 32, 48
    for scale, outputs, coarse in product([1, 2, 4], ["recon seg_logit emb_dist", "seg_logit emb_dist"], [False, True]):
        outputs = tuple(outputs.split())
        random = np.random.default_rng(5)
        picture = np.ascontiguousarray(field(48)[:rows])
        map_shape = rows // scale, columns // scale
        given = {
            "recon": near(as_planes(picture)),
            # of the field, or of the map already
            "seg_logit": random.normal(-3, 2, (1, *(map_shape if coarse else shape))).astype(np.float32),
            "emb_dist": random.normal(0, 2, (1, 4, 6)).astype(np.float32),
        }
        spec = ScoreSpec(
            map_scale=scale,
            residual=ResidualSpec(w_l1=1, w_gms=0.5, w_ssim=0.2) if "recon" in outputs else ResidualSpec(),
            norm=NormSpec(tau=8, z_max=6),
            blend=BlendSpec(mode="sum", alpha=0.5, beta=0.7, gamma=1.3, lift=2),
            smooth=SmoothSpec(kind="none"),
            image_score=ImageScoreSpec(k=20, minus_median=True),
        )
        statistics = NormalStatistics(
            np.full(map_shape, 0.02, np.float32),
            random.uniform(10, 40, map_shape).astype(np.float32),
            0.1,
            1.5,
            -3,
            0.6,
        )
        model = network(shape, **{name: given[name] for name in outputs})
        found = outputs_of(with_score(model, outputs, spec, shape, statistics), picture)[SMOOTHED][0]
        planes = {name: given[name] if name == "recon" else given[name][0] for name in outputs}
        expected = CpuScorePath(spec, shape, statistics).score(as_planes(picture), NetworkOutputs(**planes))
        assert np.abs(found - expected.values).max() < KERNEL_TOLERANCE, (scale, outputs, coarse)


@pytest.mark.parametrize("with_bias", [True, False])
def test_the_mean_of_a_pixel_shuffle_is_taken_before_the_shuffle(with_bias):
    size = 16
    picture = field(size)
    random = np.random.default_rng(4)
    image = op.parameter([1, 3, size, size], np.float32, name="image")
    weights = random.normal(0, 0.3, (12, 3, 3, 3)).astype(np.float32)
    wide = op.convolution(image, op.constant(weights), [2, 2], [1, 1], [1, 1], [1, 1])
    if with_bias:
        wide = op.add(wide, op.constant(random.normal(0, 0.3, (1, 12, 1, 1)).astype(np.float32)))
    result = op.result(op.depth_to_space(wide, "depth_first", 2))
    result.output(0).set_names({"recon"})
    model = openvino.Model([result], [image], "shuffled")
    recon = run(model, as_planes(picture)[None])
    spec = ScoreSpec(map_scale=2, residual=ResidualSpec(**WEIGHTS["all"]))

    graph = with_score(model, ("recon",), spec, (size, size), flat(8))

    assert "DepthToSpace" not in {node.get_type_name() for node in graph.get_ordered_ops()}
    expected = expected_residual(picture, recon, spec, flat(8))
    assert np.abs(blended_by(graph, picture) - expected).max() < KERNEL_TOLERANCE


def test_numbers_that_are_not_finite_reach_the_map():
    for case in product(
        ["product", "max", "gate", "sum"], ["recon", "seg_logit", "emb_dist"], [np.nan, np.inf, -np.inf]
    ):
        mode, output, number = case
        size = 16
        given = {
            "recon": np.zeros((3, size, size)), "seg_logit": np.zeros((1, size, size)), "emb_dist": np.zeros((1, 4, 4))
        }  # fmt: skip
        given[output][0, 3, 3] = number
        spec = ScoreSpec(map_scale=2, residual=ResidualSpec(w_gms=1), blend=BlendSpec(mode=mode))
        graph = with_score(network(size, **given), tuple(given), spec, (size, size), flat(8))
        assert np.isnan(blended_by(graph, field(size))).any(), case


def test_a_reconstruction_of_another_size_is_refused():
    spec = ScoreSpec(residual=ResidualSpec(w_l1=1))
    with pytest.raises(BundleError, match="recon is"):
        with_score(network(16, recon=np.zeros((3, 8, 8))), ("recon",), spec, (16, 16), flat(16))


def test_narrow_smoothing_and_few_largest_values_are_found_inside_the_graph():
    for case in product([SmoothSpec(kind="none"), SmoothSpec(radius=1), SmoothSpec(radius=3)], [1, 25, 256, 5000]):
        smooth, k = case
        size = 14 if k == 5000 else 40
        picture = field(size)
        recon = near(as_planes(picture))
        spec = ScoreSpec(residual=ResidualSpec(w_l1=1), smooth=smooth, image_score=ImageScoreSpec(k=k))

        found = outputs_of(with_score(network(size, recon=recon), ("recon",), spec, (size, size), flat(size)), picture)

        expected = reference.smooth(expected_residual(picture, recon, spec, flat(size)), smooth)
        assert np.abs(found[SMOOTHED][0] - expected).max() < KERNEL_TOLERANCE, case
        assert mean_in_bins(found[LARGEST].tolist()) == reference.top_k_mean(found[SMOOTHED][0], k), case


def test_wide_smoothing_many_values_and_masks_are_left_to_what_comes_after():
    for case in [
        (SmoothSpec(radius=4), 25, False),
        (SmoothSpec(kind="gaussian", radius=2), 25, False),
        (SmoothSpec(radius=1), 257, False),
        (SmoothSpec(radius=1), 25, True),
    ]:
        smooth, k, masked = case
        spec = ScoreSpec(residual=ResidualSpec(w_l1=1), smooth=smooth, image_score=ImageScoreSpec(k=k))
        given = network(32, recon=near(as_planes(field(32))))
        graph = with_score(given, ("recon",), spec, (32, 32), flat(32), masked=masked)
        assert set(outputs_of(graph, field(32))) == {BLENDED}, case


def test_a_number_that_is_not_finite_leaves_no_score():
    """Wherever it lies: which values are largest is not defined beside it."""
    for number in [np.nan, np.inf, -np.inf]:
        recon = np.zeros((3, 32, 32))
        recon[1, 5, 9] = number
        spec = ScoreSpec(residual=ResidualSpec(w_l1=1), smooth=SmoothSpec(radius=1), image_score=ImageScoreSpec(k=3))
        graph = with_score(network(32, recon=recon), ("recon",), spec, (32, 32), flat(32))
        assert np.isnan(mean_in_bins(outputs_of(graph, field(32))[LARGEST].tolist())), number
