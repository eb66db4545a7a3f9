"""What the kernels are launched with: names, grids, packed arguments, memory. Neither a GPU nor pycuda is needed."""

import math

import pytest

from edge.core.errors import UsageError
from edge.core.manifest import BlendSpec, ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec
from edge.kernels.cuda.parameters import PreprocessParameters, ReduceParameters, ResidualParameters, Result
from edge.kernels.cuda.plan import FrameSource, ScorePlan, Statistics, read_result

SPEC = ScoreSpec(residual=ResidualSpec(w_l2=0.3, w_ssim=0.7), smooth=SmoothSpec(kind="box", radius=10))


def plan(spec=SPEC, field=(256, 256), outputs=("recon",), **more):
    return ScorePlan(spec, field, outputs, **more)


def with_terms(**weights):
    return SPEC.model_copy(update={"residual": ResidualSpec(**weights)})


def test_what_is_not_weighed_is_not_in_the_kernel():
    for case in [
        ({"w_l1": 1}, "residual_f16_pixel_1"),
        ({"w_l1": 1, "w_ssim": 1}, "residual_f16_ssim_1"),
        ({"w_gms": 1, "w_col": 1}, "residual_f16_gms_1"),
        ({"w_gms": 1, "w_ssim": 1}, "residual_f16_all_1"),
        ({}, "evidence_f16_1"),
    ]:
        weights, kernel = case
        outputs = ("recon", "seg_logit")
        assert plan(with_terms(**weights), outputs=outputs, output_type="f16").residual_kernel == kernel, case


def test_a_frame_takes_three_launches_and_wide_smoothing_five():
    wide = SPEC.model_copy(update={"smooth": SmoothSpec(kind="gaussian", radius=8)})
    assert [launch.kernel for launch in plan().reduce(1, 2, 3, 1)] == ["reduce_box"]
    assert [launch.kernel for launch in plan(wide).reduce(1, 2, 3, 1)] == [
        "gaussian_columns", "gaussian_rows", "reduce_smoothed",
    ]  # fmt: skip


def test_a_batch_is_one_grid_of_tiles():
    launch = plan(field=(1080, 1920), batch=8).residual({"recon": 1}, Statistics(2, 3), 4, 3)
    assert (launch.grid, launch.block) == ((30, 34, 3), (256, 1, 1))


def test_small_tiles_are_for_launches_that_leave_multiprocessors_without_work():
    # a map of 256 x 256 has 32 large tiles, or 128 small ones
    for multiprocessors, count, suffix, tiles in [
        (132, 1, "_small", 128),
        (132, 8, "", 32),
        (16, 1, "", 32),
        (0, 1, "", 32),
    ]:
        chosen = plan(batch=8, multiprocessors=multiprocessors)
        residual = chosen.residual({"recon": 1}, Statistics(2, 3), 4, count)
        (reduce,) = chosen.reduce(1, 2, 3, count)
        assert (residual.kernel, reduce.kernel) == (f"residual_f32_ssim_1{suffix}", f"reduce_box{suffix}")
        assert residual.grid == reduce.grid
        assert math.prod(residual.grid) == tiles * count


def test_the_residual_is_given_weights_of_pictures_twice_as_far_apart():
    blend = BlendSpec(mode="gate", alpha=3)
    spec = SPEC.model_copy(update={"blend": blend})
    chosen = plan(spec, outputs=("recon", "seg_logit"))
    launch = chosen.residual({"recon": 20, "seg_logit": 30}, Statistics(40, 50, 60), 4096, 1)
    packed = ResidualParameters.from_buffer_copy(launch.parameters)
    assert (packed.recon, packed.seg_logit, packed.emb_dist) == (20, 30, None)
    assert (packed.mean, packed.inv_std, packed.weight) == (40, 50, 60)
    # the bytes that preprocessing keeps, not the network's input
    assert packed.bytes == 4096 + chosen.workspace.picture
    assert packed.w_l2 == pytest.approx(0.3 / 12) and packed.w_ssim == pytest.approx(0.35)
    assert (packed.blend_mode, packed.gate_scale) == (5, 0.25)


def test_one_kind_of_evidence_is_not_blended():
    launch = plan().residual({"recon": 1}, Statistics(2, 3), 4, 1)
    assert ResidualParameters.from_buffer_copy(launch.parameters).blend_mode == 0


def test_the_box_of_a_resize_is_odd_and_nearest_the_scale():
    launch = plan(field=(256, 256)).preprocess(FrameSource(1, 1080, 1920, 3, 5760, 0), 2, 3, 1)
    packed = PreprocessParameters.from_buffer_copy(launch.parameters)
    assert (packed.box_height, packed.box_width) == (5, 7)
    assert packed.scale_x == pytest.approx(7.5)


def test_k_is_at_most_the_map():
    spec = SPEC.model_copy(update={"image_score": ImageScoreSpec(k=1000)})
    (launch,) = plan(spec, field=(4, 6)).reduce(None, 1, 2, 1)
    assert ReduceParameters.from_buffer_copy(launch.parameters).largest == 24


def test_memory_holds_every_part_aligned_and_once():
    workspace = plan(field=(100, 52), batch=3).workspace
    places = [workspace.picture, workspace.blended, workspace.work, workspace.counters, workspace.bytes]
    assert places == sorted(places) and all(place % 256 == 0 for place in places[:-1])
    assert workspace.blended >= 3 * 3 * 100 * 52 and workspace.work - workspace.blended >= 3 * 2 * 100 * 52


def test_a_result_is_the_mean_of_the_k_largest_bins():
    result = read_result(Result(top_bins=1023 + 511, largest=2, area=7, peak=0.75))
    assert (result.score, result.area_px, result.peak) == ((1023 + 511 + 1) / 1024 / 2, 7, 0.75)
    assert math.isnan(read_result(Result(largest=2, not_finite=1)).score)


def test_a_score_from_the_median_is_not_below_nothing():
    found = Result(top_bins=1023 + 511, largest=2, median_bin=100)
    assert read_result(found, minus_median=True).score == (1023 + 511 + 1) / 1024 / 2 - 100.5 / 1024
    found.median_bin = 800
    assert read_result(found, minus_median=True).score == 0


def test_a_sum_is_one_also_of_a_single_kind_and_knows_what_is_normal():
    spec = with_terms().model_copy(update={"blend": BlendSpec(mode="sum", gamma=0.5, lift=2)})
    chosen = plan(spec, outputs=("seg_logit",), seg_mean=-4.0, seg_inv_std=0.25)
    launch = chosen.residual({"seg_logit": 30}, Statistics(40, 50), 4096, 1)
    packed = ResidualParameters.from_buffer_copy(launch.parameters)
    assert (packed.blend_mode, packed.gamma, packed.lift) == (6, 0.5, 2)
    assert (packed.seg_mean, packed.seg_inv_std) == (-4.0, 0.25)


def test_what_cannot_work_is_refused(subtests):
    for make, words in [
        (lambda: plan(outputs=("seg_logit",)), "no `recon`"),
        (lambda: plan(with_terms()), "weighs nothing"),
        (lambda: plan(SPEC.model_copy(update={"map_scale": 2}), field=(5, 4)), "not divided by 2"),
        (lambda: plan(field=(5000, 5000)), "more than the kernels count"),
        (lambda: plan(batch=2).residual({"recon": 1}, Statistics(2, 3), 4, 3), "3 frames, where 1 to 2"),
        (
            lambda: plan(SPEC.model_copy(update={"smooth": SmoothSpec(radius=30)})).reduce(None, 1, 2, 1),
            "needs room for its map",
        ),
    ]:
        with subtests.test(words=words), pytest.raises(UsageError, match=words):
            make()
