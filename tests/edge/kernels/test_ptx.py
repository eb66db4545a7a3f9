"""nvcc's PTX of the kernels, executed instruction by instruction, against device_reference: the same bits.

The emulation beside this compiles the sources with another compiler; here it is nvcc's own work that is looked at, up
to what the driver makes of it. Every access is checked, and races in shared memory are faults.
"""

import math
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu.ptx.memory import DeviceMemory
from benchmarks.gpu.ptx.module import PtxModule
from benchmarks.gpu.ptx.parser import PtxFault
from edge.core.manifest import BlendSpec, ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec
from edge.kernels.cuda.build import ARCHITECTURES
from edge.kernels.cuda.compilers import FLAGS, SOURCES, UNIT, find_nvcc
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
from tests.edge.kernels.emulation import compiled
from tests.edge.kernels.test_cpu import MODES
from tests.edge.kernels.test_device_kernels import FRAMES, TERMS

pytestmark = pytest.mark.skipif(find_nvcc() is None, reason="nvcc is not installed: there is no PTX to execute")

BOX, L1 = SmoothSpec(kind="box", radius=3), ResidualSpec(w_l1=1)
SCORE = ScoreSpec(residual=ALL_TERMS, smooth=BOX, image_score=ImageScoreSpec(k=50))
ALL_OUTPUTS = ("recon", "seg_logit", "emb_dist")


QUICK = Path(__file__).parent / "emulation" / "quick_kernels.cu"


def ptx(unit, architecture=75):
    """What ships for GPUs in between and to come; every binary is made of such a text, too."""
    command = [find_nvcc(), *FLAGS, f"-arch=compute_{architecture}", "--ptx", f"-I{SOURCES}", str(unit)]
    return compiled(command, ".ptx").read_text()


@pytest.fixture(scope="module")
def text():
    return ptx(QUICK)


@pytest.fixture(scope="module")
def whole_text():
    return ptx(UNIT)


def with_(spec=SCORE, **changes):
    return spec.model_copy(update=changes)


def assert_equal(text, shape, spec=SCORE, outputs=("recon",), weight=None, **more):
    """Run a made-up case, compare it to the last bit, and return the module and the case."""
    memory = DeviceMemory()
    module = PtxModule(text, memory, watched=True)
    case = made_up(shape, spec, outputs, **more)
    case.weight = weight
    assert_equal_to_the_last_bit(case, computed(case, module, memory))
    return module, case


def test_all_terms_at_an_odd_width_with_a_product_of_evidences(text):
    spec = with_(blend=BlendSpec(mode="product", alpha=0.7, beta=1.3))
    module, _ = assert_equal(text, (33, 65), spec, ("recon", "seg_logit"), element="f16")
    assert module.launched == ["preprocess_f16", "residual_f16_all_1", "reduce_box"]


def test_the_score_of_a_memory_at_a_quarter_with_a_sum_less_its_median(text):
    spec = with_(
        residual=ResidualSpec(), map_scale=4, smooth=SmoothSpec(kind="gaussian", radius=1),
        blend=BlendSpec(mode="sum", lift=0.5), image_score=ImageScoreSpec(k=4, minus_median=True),
    )  # fmt: skip
    module, _ = assert_equal(text, (132, 264), spec, ("seg_logit", "emb_dist"), logits_at_map=True)
    assert module.launched == ["preprocess_f32", "evidence_f32_4", "reduce_gaussian"]


def test_all_terms_and_outputs_at_half_the_side_in_a_batch_behind_a_polygon(text):
    weight = np.zeros((19, 35), np.float32)
    weight[:, :20] = 1
    assert_equal(text, (38, 70), with_(map_scale=2, blend=BlendSpec(mode="sum")), ALL_OUTPUTS, weight, frames=2)


def test_small_tiles_give_the_same(text):
    smooth = SmoothSpec(kind="gaussian", radius=2)
    module, _ = assert_equal(text, (33, 65), with_(smooth=smooth), element="f16", multiprocessors=132)
    assert module.launched == ["preprocess_f16", "residual_f16_all_1_small", "reduce_gaussian_small"]


def test_a_residual_at_a_quarter(text):
    assert_equal(text, (36, 76), with_(residual=L1, map_scale=4), element="f16")


def test_a_wide_box_in_launches_of_its_own(text):
    module, _ = assert_equal(text, (40, 66), with_(residual=L1, smooth=SmoothSpec(kind="box", radius=20)))
    assert module.launched[2:] == ["box_columns", "box_rows", "reduce_smoothed"]


def test_a_number_that_is_not_finite_reaches_the_score(text):
    memory = DeviceMemory()
    case = made_up((32, 32), with_(residual=L1), frames=2)
    case.given["recon"][1, 0, 3, 3] = np.inf
    found = computed(case, PtxModule(text, memory, watched=True), memory)
    assert math.isfinite(found.results[0].score) and math.isnan(found.results[1].score)


def test_a_region_with_a_letterbox_and_a_grey_frame_become_the_field_of_the_processor(text):
    memory = DeviceMemory()
    module = PtxModule(text, memory, watched=True)
    preprocess = Preprocess(64, 64, (3, 5, 201, 99), fit="letterbox")
    assert_equal_to_the_preprocessing(module, memory, (120, 240), preprocess)
    image = np.random.default_rng(0).integers(0, 256, (50, 70), dtype=np.uint8)
    source = FrameSource(memory.put(image), 50, 70, 1, row_stride=70, frame_stride=image.nbytes)
    _, levels = fields_of(module, memory, source, (32, 32))
    expected = Preprocess(32, 32).field(np.repeat(image[:, :, None], 3, axis=2))
    assert np.array_equal(levels, expected.transpose(2, 0, 1))


def changed(text, kernel, pattern, replacement, number=0):
    """The PTX with one place of one kernel changed."""
    begin = text.index(f".entry {kernel}(")
    end = text.index("\n}", begin)
    place = list(re.finditer(pattern, text[begin:end]))[number]
    return text[: begin + place.start()] + place.expand(replacement) + text[begin + place.end() :]


@pytest.mark.parametrize(
    ("kernel", "pattern", "replacement", "number"),
    [
        ("residual_f32_pixel_1", r"add\.rn\.f32", "sub.rn.f32", 3),
        ("residual_f32_pixel_1", r"bar\.sync \t0;", "", 0),
        ("residual_f32_pixel_1", r"(ld\.global\.v2\.f32 [^\]]*)\]", r"\1+4]", 0),
        ("preprocess_f32", r"setp\.gt\.s32", "setp.ge.s32", 0),
        ("reduce_box", r"bar\.sync \t0;", "", 1),
        ("reduce_box", r"bar\.sync \t0;", "", 3),
        ("reduce_box", r"atom\.shared\.add\.u32", "atom.shared.max.u32", -3),
        ("reduce_box", r"st\.shared\.u16 \t\[(%r\d+)", r"st.shared.u16 \t[\1+2", 0),
        ("reduce_box", r"cvt\.rzi\.u32\.f32", "cvt.rni.u32.f32", 0),
    ],
)
def test_a_changed_instruction_is_noticed(text, kernel, pattern, replacement, number):
    with pytest.raises((AssertionError, PtxFault)):
        assert_equal(changed(text, kernel, pattern, replacement, number), (33, 66), with_(residual=L1))


def test_memory_that_is_too_small_is_noticed(text):
    memory = DeviceMemory()
    ample = memory.device_memory
    memory.device_memory = lambda size_bytes: ample(size_bytes - 4)
    with pytest.raises(PtxFault, match=r"global: .* lie beyond"):
        case = made_up((33, 65), with_(residual=L1))
        case.statistics = type(case.statistics)(0.02, 30.0, 1.5, 0.8)
        memory.upload = lambda address, source: None
        computed(case, PtxModule(text, memory), memory)


@pytest.mark.long
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_text_of_every_gpu(architecture, subtests):
    text = ptx(UNIT, architecture)
    for map_scale, element, smooth in product([1, 2, 4], ["f16", "f32"], [BOX, SmoothSpec(kind="gaussian", radius=2)]):
        with subtests.test(map_scale=map_scale, element=element, smooth=smooth):
            assert_equal(text, (60, 76), with_(map_scale=map_scale, smooth=smooth), ALL_OUTPUTS, element=element)


@pytest.mark.long
def test_every_term_from_every_type_at_every_scale(whole_text, subtests):
    for map_scale, element, terms in product([1, 2, 4], ["f16", "f32"], TERMS):
        with subtests.test(map_scale=map_scale, element=element, terms=terms):
            assert_equal(whole_text, (60, 76), with_(residual=TERMS[terms], map_scale=map_scale), element=element)


@pytest.mark.long
def test_every_blend_of_every_kind_of_evidence(whole_text, subtests):
    kinds = ["recon seg_logit", "recon seg_logit emb_dist", "seg_logit emb_dist", "seg_logit", "emb_dist"]
    for map_scale, mode, outputs in product([1, 2, 4], [*MODES, "sum"], kinds):
        with subtests.test(map_scale=map_scale, mode=mode, outputs=outputs):
            residual = L1 if "recon" in outputs else ResidualSpec()
            blend = BlendSpec(mode=mode, alpha=0.7, beta=1.3, gamma=0.9, lift=0.5)
            spec = with_(residual=residual, blend=blend, map_scale=map_scale)
            assert_equal(whole_text, (36, 76), spec, tuple(outputs.split()), element="f16")


@pytest.mark.long
def test_awkward_sizes_and_every_smoothing(whole_text, subtests):
    shapes = [(1, 1), (1, 257), (63, 32), (2, 3), (33, 65), (255, 255)]
    smoothings = [
        SmoothSpec(kind="none", radius=0),
        *(SmoothSpec(kind="box", radius=radius) for radius in (16, 17, 64)),
    ]
    smoothings += [SmoothSpec(kind="gaussian", radius=radius) for radius in (0, 4, 5)]
    for shape, smooth in [*((shape, BOX) for shape in shapes), *(((70, 130), smooth) for smooth in smoothings)]:
        with subtests.test(shape=shape, smooth=smooth):
            assert_equal(whole_text, shape, with_(smooth=smooth))


@pytest.mark.long
def test_every_frame_and_field(whole_text, subtests):
    for frame, fit in product(FRAMES, ["stretch", "letterbox"]):
        with subtests.test(frame=frame, fit=fit):
            height, width, rows, columns, rectangle = frame
            memory = DeviceMemory()
            preprocess = Preprocess(rows, columns, rectangle, fit=fit)
            assert_equal_to_the_preprocessing(
                PtxModule(whole_text, memory, watched=True), memory, (height, width), preprocess
            )
