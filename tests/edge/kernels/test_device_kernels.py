"""The GPU's kernels, compiled for the CPU and run with blocks and barriers, against device_reference: the same bits."""

import math
from itertools import product

import numpy as np
import pytest

from edge.core.manifest import BlendSpec, ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec
from edge.kernels.cuda.launch import ScoreKernels
from edge.kernels.cuda.plan import FrameSource, ScorePlan
from edge.preprocessing.preprocess import Preprocess
from tests.edge.kernels.device_case import ALL_TERMS, assert_equal_to_the_last_bit, computed, made_up
from tests.edge.kernels.device_reference import NOT_FINITE
from tests.edge.kernels.emulation import EmulatedModule, HostMemory
from tests.edge.kernels.test_cpu import MODES

SCORE = ScoreSpec(residual=ALL_TERMS, smooth=SmoothSpec(kind="box", radius=3), image_score=ImageScoreSpec(k=50))
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


def test_a_camera_frame_at_full_size(module):
    case = made_up((1080, 1920), with_(SCORE, map_scale=2), element="f16")
    assert_equal_to_the_last_bit(case, computed(case, module))


def test_every_term_from_every_type_at_both_scales(module, subtests):
    for map_scale, element, terms in product([1, 2], ["f16", "f32"], TERMS):
        with subtests.test(map_scale=map_scale, element=element, terms=terms):
            spec = with_(SCORE, residual=TERMS[terms], map_scale=map_scale)
            case = made_up((38, 70), spec, element=element)
            assert_equal_to_the_last_bit(case, computed(case, module))


def test_every_blend_of_every_kind_of_evidence(module, subtests):
    for map_scale, mode, outputs in product(
        [1, 2],
        MODES,
        ["recon seg_logit", "recon seg_logit emb_dist", "seg_logit emb_dist", "seg_logit"],
    ):
        with subtests.test(map_scale=map_scale, mode=mode, outputs=outputs):
            residual = TERMS["l1"] if "recon" in outputs else ResidualSpec()
            blend = BlendSpec(mode=mode, alpha=0.7, beta=1.3)
            spec = with_(SCORE, residual=residual, blend=blend, map_scale=map_scale)
            case = made_up((34, 70), spec, tuple(outputs.split()), element="f16")
            assert_equal_to_the_last_bit(case, computed(case, module))


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
        scores.append(kernels.read(memory.fetch(result, (kernels.result_bytes,), np.uint8)))
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


FRAMES = [  # height, width, side of the field, rectangle
    (1080, 1920, 256, None), (480, 640, 256, (3, 5, 401, 399)), (1, 1, 16, None), (1, 257, 64, None),
    (63, 32, 64, None), (255, 255, 256, None), (256, 256, 256, None), (100, 90, 256, None), (721, 1283, 320, None),
]  # fmt: skip


def test_the_field_equals_the_preprocessing_of_the_cpu(module, subtests):
    for frame in FRAMES:
        with subtests.test(frame=frame):
            height, width, side, rectangle = frame
            image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
            preprocess = Preprocess(side, side, rectangle)
            view = preprocess.field_of_view(height, width)
            memory = HostMemory()
            address = memory.put(image) + (view.y * width + view.x) * 3
            source = FrameSource(address, view.height, view.width, 3, row_stride=width * 3, frame_stride=image.nbytes)

            pictures, levels = fields_of(module, memory, source, side)

            assert np.array_equal(levels, preprocess.field(image)[:, :, ::-1].transpose(2, 0, 1))
            scaled = (levels * np.float32(2 / 255) - np.float32(1)).astype(np.float16)
            assert np.array_equal(pictures, scaled)


def test_a_grey_frame_is_three_equal_planes(module):
    image = np.random.default_rng(0).integers(0, 256, (50, 70), dtype=np.uint8)
    memory = HostMemory()
    source = FrameSource(memory.put(image), 50, 70, 1, row_stride=70, frame_stride=image.nbytes)
    _, levels = fields_of(module, memory, source, 32)
    expected = Preprocess(32, 32).field(np.repeat(image[:, :, None], 3, axis=2))
    assert np.array_equal(levels, expected.transpose(2, 0, 1))


def fields_of(module, memory, source, side):
    """The network's input in half precision, and the field's bytes."""
    plan = ScorePlan(SCORE, (side, side), ("recon",), input_type="f16")
    workspace, pictures = memory.device_memory(plan.workspace.bytes), memory.device_memory(3 * side * side * 2)
    module.launch(plan.preprocess(source, pictures, workspace, 1))
    memory.check()
    whole = memory.fetch(workspace, (plan.workspace.bytes,), np.uint8)
    levels = whole[plan.workspace.picture :][: 3 * side * side].reshape(3, side, side)
    return memory.fetch(pictures, (3, side, side), np.float16), levels
