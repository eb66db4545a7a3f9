"""The GPU's kernels, compiled for the CPU and run with blocks and barriers, against device_reference: the same bits."""

import math
from itertools import product

import numpy as np
import pytest

from edge.core.manifest import BlendSpec, ImageScoreSpec, NormSpec, ResidualSpec, ScoreSpec, SmoothSpec
from edge.kernels.cuda.launch import ScoreKernels
from edge.kernels.cuda.plan import FrameSource
from edge.preprocessing.preprocess import Preprocess
from tests.edge.kernels.device_case import (
    ALL_TERMS,
    assert_equal_to_the_last_bit,
    assert_equal_to_the_preprocessing,
    computed,
    fields_of,
    made_up,
)
from tests.edge.kernels.device_reference import NOT_FINITE
from tests.edge.kernels.emulation import EmulatedModule, HostMemory
from tests.edge.kernels.test_cpu import MODES

SCORE = ScoreSpec(residual=ALL_TERMS, smooth=SmoothSpec(kind="box", radius=3), image_score=ImageScoreSpec(k=50))
# multiprocessors that no launch of a test fills with large tiles
MANY = 10**6
TERMS = {
    "l1": ResidualSpec(w_l1=1), "l2": ResidualSpec(w_l2=1), "col": ResidualSpec(w_col=1),
    "ssim": ResidualSpec(w_ssim=1), "gms": ResidualSpec(w_gms=1), "all": ALL_TERMS,
}  # fmt: skip


@pytest.fixture(scope="module")
def module():
    return EmulatedModule()


def with_(spec: ScoreSpec, **changes) -> ScoreSpec:
    return spec.model_copy(update=changes)


def test_awkward_sizes(module, subtests):
    for shape in [(1, 1), (1, 257), (63, 32), (2, 3), (33, 65), (255, 255), (256, 256)]:
        with subtests.test(shape=shape):
            case = made_up(shape, SCORE)
            assert_equal_to_the_last_bit(case, computed(case, module))


def test_small_tiles_give_the_same_bits(module, subtests):
    smoothings = [SmoothSpec(kind="box", radius=16), SmoothSpec(kind="gaussian", radius=2), SmoothSpec(kind="none")]
    at_full_size = product([(1, 1), (1, 257), (17, 33), (48, 96)], [1], TERMS)
    for index, (shape, scale, terms) in enumerate([*at_full_size, *product([(60, 76)], [2, 4], ["all"])]):
        with subtests.test(shape=shape, scale=scale, terms=terms):
            spec = with_(SCORE, residual=TERMS[terms], map_scale=scale, smooth=smoothings[index % 3])
            case = made_up(shape, spec, ("recon", "seg_logit"), 2, ["f16", "f32"][index % 2], multiprocessors=MANY)
            assert_equal_to_the_last_bit(case, computed(case, module))
            assert {name.endswith("_small") for name in module.launched[-2:]} == {True}


def test_small_tiles_serve_scores_without_a_residual_too(module):
    spec = with_(SCORE, residual=ResidualSpec(), map_scale=2)
    case = made_up((60, 76), spec, ("seg_logit", "emb_dist"), 2, "f16", multiprocessors=MANY)
    assert_equal_to_the_last_bit(case, computed(case, module))
    assert module.launched[-2:] == ["evidence_f16_2_small", "reduce_box_small"]


def test_a_camera_frame_at_full_size(module):
    case = made_up((1080, 1920), with_(SCORE, map_scale=2), element="f16")
    assert_equal_to_the_last_bit(case, computed(case, module))


def test_every_term_from_every_type_at_both_scales(module, subtests):
    for map_scale, element, terms in product([1, 2, 4], ["f16", "f32"], TERMS):
        with subtests.test(map_scale=map_scale, element=element, terms=terms):
            spec = with_(SCORE, residual=TERMS[terms], map_scale=map_scale)
            case = made_up((60, 76), spec, element=element)
            assert_equal_to_the_last_bit(case, computed(case, module))


def test_every_blend_of_every_kind_of_evidence(module, subtests):
    for map_scale, mode, outputs in product(
        [1, 2, 4],
        [*MODES, "sum"],
        ["recon seg_logit", "recon seg_logit emb_dist", "seg_logit emb_dist", "seg_logit", "emb_dist"],
    ):
        with subtests.test(map_scale=map_scale, mode=mode, outputs=outputs):
            residual = TERMS["l1"] if "recon" in outputs else ResidualSpec()
            blend = BlendSpec(mode=mode, alpha=0.7, beta=1.3, gamma=0.9, lift=0.5)
            spec = with_(SCORE, residual=residual, blend=blend, map_scale=map_scale)
            case = made_up((36, 76), spec, tuple(outputs.split()), element="f16")
            assert_equal_to_the_last_bit(case, computed(case, module))


def test_distances_of_any_shape_are_enlarged_to_maps_of_any_shape(module, subtests):
    for shape, emb_shape, map_scale, mode in product(
        [(96, 320), (320, 64)], [(1, 1), (3, 10), (24, 80), (100, 3)], [1, 4], ["sum", "max"]
    ):
        with subtests.test(shape=shape, emb_shape=emb_shape, map_scale=map_scale, mode=mode):
            spec = with_(SCORE, residual=ResidualSpec(), blend=BlendSpec(mode=mode, lift=2), map_scale=map_scale)
            case = made_up(shape, spec, ("emb_dist",), emb_shape=emb_shape)
            assert_equal_to_the_last_bit(case, computed(case, module))


def test_a_logit_may_have_the_map_s_shape(module, subtests):
    for map_scale, mode in product([1, 2, 4], ["sum", "product"]):
        with subtests.test(map_scale=map_scale, mode=mode):
            spec = with_(SCORE, residual=TERMS["l2"], blend=BlendSpec(mode=mode), map_scale=map_scale)
            case = made_up((36, 76), spec, ("recon", "seg_logit"), frames=2, logits_at_map=True)
            assert_equal_to_the_last_bit(case, computed(case, module))


def test_the_sum_keeps_its_limits(module):
    spec = with_(SCORE, residual=TERMS["l1"], blend=BlendSpec(mode="sum"), smooth=SmoothSpec(kind="none", radius=0))
    spec = with_(spec, norm=NormSpec(z_max=3, tau=8))
    case = made_up((32, 64), spec, ("recon", "seg_logit", "emb_dist"))
    for output, level in (("recon", 1000), ("emb_dist", 1000)):
        case.given[output][...] = level
    case.given["seg_logit"][0, 0] = np.linspace(-1000, 1000, 64)
    found = computed(case, module)
    assert_equal_to_the_last_bit(case, found)
    # each at most z_max deviations above normal, or below
    sums = np.array([3 - 3 + 3, 3 + 3 + 3])
    assert found.maps[0, 0, [0, -1]] == pytest.approx(1 - np.exp(-sums / 8), abs=1e-4)
    case.given["emb_dist"][...] = -1000
    assert computed(case, module).maps[0, 0, 0] == 0


def test_the_score_may_be_counted_from_the_median(module, subtests):
    # an odd and an even number of map pixels; one alone; a map of one value
    for shape, outputs in product([(33, 65), (32, 64), (1, 1), (256, 256)], [("recon",), ("recon", "seg_logit")]):
        with subtests.test(shape=shape, outputs=outputs):
            image_score = ImageScoreSpec(k=50, minus_median=True)
            case = made_up(shape, with_(SCORE, image_score=image_score), outputs)
            found = computed(case, module)
            assert_equal_to_the_last_bit(case, found)
            whole = computed(made_up(shape, SCORE, outputs), module)
            assert found.results[0].score <= whole.results[0].score - 0.5 / 1024


def test_every_smoothing_and_its_launches(subtests):
    for kind, radius, launches in [
        ("none", 0, 3), ("box", 10, 3), ("box", 16, 3), ("box", 17, 5), ("box", 64, 5),
        ("gaussian", 0, 3), ("gaussian", 4, 3), ("gaussian", 5, 5),
    ]:  # fmt: skip
        with subtests.test(kind=kind, radius=radius, launches=launches):
            module = EmulatedModule()
            case = made_up((70, 130), with_(SCORE, smooth=SmoothSpec(kind=kind, radius=radius)))
            assert_equal_to_the_last_bit(case, computed(case, module))
            assert len(module.launched) == launches


def test_frames_of_a_batch_do_not_touch_each_other(module):
    case = made_up((40, 66), SCORE, ("recon", "seg_logit", "emb_dist"), frames=3)
    found = computed(case, module)
    assert_equal_to_the_last_bit(case, found)
    assert len({result.score for result in found.results}) == 3


def test_a_large_batch_is_scored_in_slices():
    module = EmulatedModule()
    two_frames = 2 * 2 * 40 * 66
    case = made_up((40, 66), SCORE, ("recon", "seg_logit", "emb_dist"), frames=5, evidence_bytes=two_frames)
    assert_equal_to_the_last_bit(case, computed(case, module))
    # preprocessing is one launch all the same
    assert len(module.launched) == 1 + 2 * 3


def test_the_order_of_threads_between_barriers_does_not_matter():
    case = made_up((70, 130), with_(SCORE, smooth=SmoothSpec(kind="gaussian", radius=2)), ("recon", "seg_logit"))
    assert_equal_to_the_last_bit(case, computed(case, EmulatedModule(backwards=True)))


def test_outside_the_polygon_nothing_counts(module):
    case = made_up((40, 66), SCORE)
    case.weight = np.zeros((40, 66), np.float32)
    case.weight[:, :30] = 1
    found = computed(case, module)
    assert_equal_to_the_last_bit(case, found)
    assert not found.steps[0, :, 30:].any() and found.steps[0, :, :30].any()


def test_running_again_gives_the_same(module):
    case = made_up((40, 66), SCORE)
    memory = HostMemory()
    kernels = ScoreKernels(module, case.plan, memory, case.statistics)
    pictures = memory.put(case.pictures)
    bgr = memory.put(np.ascontiguousarray(case.levels.transpose(0, 2, 3, 1)[..., ::-1]))
    result = memory.device_memory(kernels.result_bytes)
    scores = []
    for _ in range(2):
        kernels.preprocess(None, bgr, pictures, 1, 40, 66)
        kernels.score(None, {"recon": memory.put(case.given["recon"])}, None, result, 1)
        (found,) = kernels.results_in(memory.fetch(result, (1, kernels.result_bytes), np.uint8))
        scores.append(kernels.read(found))
    assert scores[0] == scores[1]


def test_a_number_that_is_not_finite_makes_the_score_of_its_frame_not_a_number(module, subtests):
    for number, output, smooth in product(
        [np.nan, np.inf, -np.inf],
        ["recon", "seg_logit", "emb_dist"],
        [SmoothSpec(kind="box", radius=2), SmoothSpec(kind="box", radius=20)],
    ):
        with subtests.test(number=number, output=output, smooth=smooth):
            case = made_up((32, 32), with_(SCORE, smooth=smooth), ("recon", "seg_logit", "emb_dist"), frames=2)
            case.given[output][1, 0, 3, 3] = number
            found = computed(case, module)
            assert math.isfinite(found.results[0].score) and math.isnan(found.results[1].score)
            assert (found.steps[1] == NOT_FINITE).any() and not (found.steps[0] == NOT_FINITE).any()


FRAMES = [  # height and width of the frame, height and width of the field, rectangle
    (1080, 1920, 256, 256, None), (480, 640, 256, 256, (3, 5, 401, 399)), (1, 1, 16, 16, None), (1, 257, 64, 64, None),
    (63, 32, 64, 64, None), (255, 255, 256, 256, None), (256, 256, 256, 256, None), (100, 90, 256, 256, None),
    (721, 1283, 320, 320, None), (300, 1000, 96, 320, None), (1000, 300, 64, 320, (10, 20, 280, 900)),
]  # fmt: skip


def test_the_field_equals_the_preprocessing_of_the_cpu(module, subtests):
    for frame, fit in product(FRAMES, ["stretch", "letterbox"]):
        with subtests.test(frame=frame, fit=fit):
            height, width, rows, columns, rectangle = frame
            preprocess = Preprocess(rows, columns, rectangle, fit=fit)
            assert_equal_to_the_preprocessing(module, HostMemory(), (height, width), preprocess)


def test_a_grey_frame_is_three_equal_planes(module):
    image = np.random.default_rng(0).integers(0, 256, (50, 70), dtype=np.uint8)
    memory = HostMemory()
    source = FrameSource(memory.put(image), 50, 70, 1, row_stride=70, frame_stride=image.nbytes)
    _, levels = fields_of(module, memory, source, (32, 32))
    expected = Preprocess(32, 32).field(np.repeat(image[:, :, None], 3, axis=2))
    assert np.array_equal(levels, expected.transpose(2, 0, 1))
