from itertools import pairwise, product

import cv2
import numpy as np
import pytest
from scipy import ndimage, stats
from sklearn import metrics as reference

from edge import metrics
from edge.core.errors import UsageError

SEEDS = range(3)
# with and without ties, seed
DRAWS = list(product([False, True], SEEDS))


def _scores(ties: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1], random.integers(0, 2, random.integers(1, 60))])
    scores = random.normal(labels * random.uniform(0, 2), 1.0)
    return labels, np.round(scores * 2) / 2 if ties else scores


def _maps(ties: bool, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A few images of odd sizes, the first without a defect; blobs that touch at corners and borders."""
    random = np.random.default_rng(seed)
    masks, maps = [], []
    for index in range(random.integers(2, 5)):
        height, width = random.integers(5, 16, 2)
        noise = ndimage.gaussian_filter(random.normal(size=(height, width)), 1.0)
        mask = (noise > np.quantile(noise, 0.8)) & (index > 0)
        values = (random.normal(size=(height, width)) + mask * random.uniform(0, 2)).astype(np.float32)
        masks.append(mask)
        maps.append(np.round(values) if ties else values)
    return masks, maps


def _slow_area(points: list[tuple[float, float]], limit: float) -> float:
    """Trapezoids under the points up to the limit, over the limit."""
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x1 > limit:
            if x0 < limit:
                y_limit = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
                area += (limit - x0) * (y0 + y_limit) / 2
            break
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def _slow_aupro(masks: list[np.ndarray], maps: list[np.ndarray], limit: float) -> float:
    """The definition, threshold by threshold and region by region."""
    regions = []
    for mask, values in zip(masks, maps, strict=True):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [values[labels == label] for label in range(1, count + 1)]
    normal = np.concatenate([values[~mask] for mask, values in zip(masks, maps, strict=True)])
    points = [(0.0, 0.0)]
    for threshold in sorted(set(np.concatenate([values.ravel() for values in maps]).tolist()), reverse=True):
        pro = np.mean([np.mean(region >= threshold) for region in regions])
        points.append((np.mean(normal >= threshold), pro))
    return _slow_area(points, limit)


def _channels(seed: int, maps: list[np.ndarray]) -> list[list[metrics.DefectChannel]]:
    """Up to three overlapping defects an image, each in scattered pixels; the first image is good."""
    random = np.random.default_rng(seed)
    images = []
    for index, values in enumerate(maps):
        masks = [random.random(values.shape) < 0.15 for _ in range(random.integers(1, 4) if index else 0)]
        images.append([metrics.DefectChannel(m, m.sum() * random.uniform(0.1, 1)) for m in masks if m.any()])
    return images


def _slow_au_spro(channels: list[list[metrics.DefectChannel]], maps: list[np.ndarray], limit: float) -> float:
    """The definition, threshold by threshold and channel by channel."""
    points = [(0.0, 0.0)]
    for threshold in sorted(set(np.concatenate([values.ravel() for values in maps]).tolist()), reverse=True):
        overlaps, false, normal = [], 0, 0
        for image, values in zip(channels, maps, strict=True):
            good = np.ones(values.shape, bool)
            for channel in image:
                found = np.sum((values >= threshold) & channel.mask)
                overlaps.append(min(found / channel.saturation_px, 1))
                good &= ~channel.mask
            false, normal = false + np.sum((values >= threshold) & good), normal + good.sum()
        points.append((false / normal, np.mean(overlaps)))
    return _slow_area(points, limit)


def test_image_figures_equal_scikit_learn():
    for draw in DRAWS:
        labels, scores = _scores(*draw)
        found = metrics.image_auroc(labels, scores), metrics.average_precision(labels, scores)
        expected = reference.roc_auc_score(labels, scores), reference.average_precision_score(labels, scores)
        assert found == pytest.approx(expected, abs=1e-12), draw


def test_the_largest_f1_and_the_roc_curve_equal_scikit_learn():
    for draw in DRAWS:
        labels, scores = _scores(*draw)
        precision, recall, _ = reference.precision_recall_curve(labels, scores)
        expected = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
        best = metrics.f1_max(labels, scores)
        assert best.value == pytest.approx(expected, abs=1e-12), draw
        assert reference.f1_score(labels, scores >= best.threshold) == pytest.approx(best.value), draw
        fpr, found, _ = reference.roc_curve(labels, scores, drop_intermediate=False)
        curve = metrics.roc_curve(labels, scores)
        assert (curve.fpr.tolist(), curve.recall.tolist()) == (fpr.tolist(), found.tolist()), draw


def test_operating_points_equal_a_search_over_all_thresholds():
    for draw in DRAWS:
        labels, scores = _scores(*draw)
        normal, anomalous = scores[labels == 0], scores[labels == 1]
        thresholds = [*np.unique(scores), np.inf]
        points = [(np.mean(normal >= t), np.mean(anomalous >= t)) for t in thresholds]
        for rate in (0.0, 0.01, 0.05, 0.3, 0.5, 0.95, 0.99, 1.0):
            best_recall = max(recall for fpr, recall in points if fpr <= rate)
            assert metrics.recall_at_fpr(labels, scores, rate) == pytest.approx(best_recall), draw
            if rate > 0:
                best_fpr = min(fpr for fpr, recall in points if recall >= rate)
                assert metrics.fpr_at_recall(labels, scores, rate) == pytest.approx(best_fpr), draw


def test_a_rate_that_is_a_whole_count_is_not_rounded_away():
    # 0.07 * 100 is above 7, and 0.29 * 100 below 29, in floating point
    labels = np.repeat([0, 1], 100)
    scores = np.concatenate([np.arange(100), np.arange(100)])
    assert metrics.fpr_at_recall(labels, scores, 0.07) == pytest.approx(0.07)
    assert metrics.recall_at_fpr(labels, scores, 0.29) == pytest.approx(0.29)


def test_pixel_figures_equal_scikit_learn_on_pooled_pixels():
    for draw in DRAWS:
        masks, maps = _maps(*draw)
        labels = np.concatenate([mask.ravel() for mask in masks])
        scores = np.concatenate([values.ravel() for values in maps])
        found = metrics.pixel_auroc(masks, maps), metrics.pixel_average_precision(masks, maps)
        expected = reference.roc_auc_score(labels, scores), reference.average_precision_score(labels, scores)
        assert found == pytest.approx(expected, abs=1e-12), draw


def test_aupro_is_the_mean_of_what_its_regions_add():
    for case in product([0.05, 0.3, 1.0], SEEDS):
        limit, seed = case
        masks, maps = _maps(False, seed)
        areas = metrics.region_overlaps(masks, maps, limit)
        counts = [cv2.connectedComponents(m.astype(np.uint8))[0] - 1 for m in masks]
        assert [len(of_image) for of_image in areas] == counts, case
        # one normal pixel's share of the limit
        step = 1 / (limit * sum(int((mask == 0).sum()) for mask in masks))
        assert np.concatenate(areas).mean() == pytest.approx(metrics.aupro(masks, maps, limit), abs=step), case


def test_aupro_equals_its_definition():
    for draw, limit in product(DRAWS, [0.01, 0.05, 0.3, 1.0]):
        masks, maps = _maps(*draw)
        expected = _slow_aupro(masks, maps, limit)
        assert metrics.aupro(masks, maps, limit) == pytest.approx(expected, abs=1e-9), (draw, limit)


def test_au_spro_equals_its_definition():
    for draw in DRAWS:
        _, maps = _maps(*draw)
        channels, limits = _channels(draw[1], maps), (0.01, 0.05, 0.3, 1.0)
        expected = [_slow_au_spro(channels, maps, limit) for limit in limits]
        assert metrics.au_spro(channels, maps, limits) == pytest.approx(expected, abs=1e-9), draw


def test_au_spro_is_satisfied_by_a_part_of_a_large_place():
    # a screw is missing: 100 pixels where it could be, four of them flagged, as large as the screw
    place = np.zeros((20, 20), bool)
    place[:10, :10] = True
    values = np.zeros((20, 20))
    values[2:4, 2:4] = 1.0
    screw, whole = metrics.DefectChannel(place, 4), metrics.DefectChannel(place, 100)
    assert metrics.au_spro([[screw]], [values], [0.3]) == pytest.approx([1.0])
    assert metrics.au_spro([[whole]], [values], [1e-6]) == pytest.approx([0.04], abs=1e-4)


def test_au_spro_counts_no_pixel_of_another_defect_as_a_false_alarm():
    one, other = np.zeros((2, 4, 4), bool)
    one[0], other[1] = True, True
    values = np.where(one, 2.0, np.where(other, 1.0, 0.0))
    channels = [metrics.DefectChannel(one, 4), metrics.DefectChannel(other, 4)]
    assert metrics.au_spro([channels], [values], [0.05]) == pytest.approx([1.0])


def test_au_spro_of_fully_counted_connected_defects_is_aupro():
    maps = [np.random.default_rng(3).normal(size=(9, 11)) for _ in range(2)]
    mask = np.zeros((9, 11), bool)
    mask[2:5, 3:7] = True
    channels = [[], [metrics.DefectChannel(mask, mask.sum())]]
    expected = metrics.aupro([np.zeros((9, 11)), mask], maps, 0.3)
    assert metrics.au_spro(channels, maps, [0.3]) == pytest.approx([expected])


@pytest.mark.parametrize("saturation", [0.0, 5.0])
def test_a_saturation_outside_its_defect_is_refused(saturation):
    channel = metrics.DefectChannel(np.eye(4, dtype=bool), saturation)
    with pytest.raises(UsageError, match="a defect of 4 pixels cannot be found by"):
        metrics.au_spro([[channel]], [np.zeros((4, 4))], [0.3])


def test_aupro_by_hand():
    # a region of two pixels at 4 and 2, normals at 3, 1, 1, 0: the curve is (0, .5) (.25, .5) (.25, 1) (.75, 1) (1, 1)
    masks, maps = [np.array([[1, 1, 0, 0, 0, 0]])], [np.array([[4.0, 2.0, 3.0, 1.0, 1.0, 0.0]])]
    assert metrics.aupro(masks, maps, 1.0) == pytest.approx(0.25 * 0.5 + 0.75)
    assert metrics.aupro(masks, maps, 0.25) == pytest.approx(0.5)
    assert metrics.aupro(masks, maps, 0.5) == pytest.approx((0.125 + 0.25) / 0.5)
    assert metrics.aupro(masks, maps, 0.1) == pytest.approx(0.5)


def test_aupro_counts_a_small_region_as_much_as_a_large_one():
    mask = np.zeros((20, 20), bool)
    mask[0:10, 0:10] = True
    mask[15, 15] = True
    values = np.zeros((20, 20))
    values[mask] = 1.0
    values[15, 15] = -1.0
    assert metrics.aupro([mask], [values], 0.3) == pytest.approx(0.5)


def test_regions_that_touch_at_a_corner_are_one():
    mask = np.zeros((9, 9), bool)
    mask[0, 0] = mask[1, 1] = mask[1, 2] = True
    values = np.zeros((9, 9))
    values[0, 0] = 1.0
    # one region of three pixels, one of them found before any false alarm
    assert metrics.aupro([mask], [values], 1e-6) == pytest.approx(1 / 3, abs=1e-5)


def test_perfect_and_constant_detectors_score_one_and_one_half():
    masks, _ = _maps(False, 1)
    perfect = [mask.astype(np.float32) for mask in masks]
    constant = [np.zeros(mask.shape, np.float32) for mask in masks]
    assert metrics.pixel_auroc(masks, perfect) == 1.0
    assert metrics.aupro(masks, perfect) == pytest.approx(1.0)
    assert metrics.pixel_auroc(masks, constant) == 0.5
    # one threshold only: the curve is the diagonal
    assert metrics.aupro(masks, constant, 0.3) == pytest.approx(0.15)


def test_masks_of_0_and_255_mean_the_same_as_0_and_1():
    masks, maps = _maps(False, 2)
    grey = [mask.astype(np.uint8) * 255 for mask in masks]
    assert metrics.aupro(grey, maps) == metrics.aupro(masks, maps)


def test_the_weighted_interval_is_fay_and_feuers_and_with_equal_weights_the_exact_one_of_a_count():
    for count in (0, 1, 4, 30, 900):
        interval = metrics.weighted_interval([count], [0.01])
        assert interval.low == pytest.approx(0.01 * stats.gamma.ppf(0.025, count) if count else 0.0, rel=1e-9)
        assert interval.high == pytest.approx(0.01 * stats.gamma.ppf(0.975, count + 1), rel=1e-9)
        split = metrics.weighted_interval([count // 2, count - count // 2], [0.01, 0.01])
        assert split.low == pytest.approx(interval.low) and split.high == pytest.approx(interval.high)
    counts, weights = [3, 0, 5], [0.002, 0.03, 0.0005]
    mean, variance = np.dot(counts, weights), np.dot(counts, np.square(weights))
    low = variance / mean * stats.gamma.ppf(0.05, mean**2 / variance)
    mean, variance = mean + 0.03, variance + 0.03**2
    high = variance / mean * stats.gamma.ppf(0.95, mean**2 / variance)
    interval = metrics.weighted_interval(counts, weights, 0.9)
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-9)
    with pytest.raises(UsageError, match="no weighted rate"):
        metrics.weighted_interval([1], [0.0])


def test_the_interval_of_a_product_is_the_one_of_the_rate_that_is_not_known_well():
    million = 1_000_000
    for count, trials in ((0, 50), (7, 50), (50, 50)):
        alone = metrics.rate_interval(count, trials)
        for one, other in (((count, trials), (million // 10, million)), ((million // 10, million), (count, trials))):
            interval = metrics.product_interval(one, other)
            assert interval.low == pytest.approx(0.1 * alone.low, rel=0.01)
            assert interval.high == pytest.approx(0.1 * alone.high, rel=0.01)
    both = metrics.product_interval((20, 400), (10, 20))
    assert both.low < 0.05 * metrics.rate_interval(10, 20).low and both.high > 0.05 * metrics.rate_interval(10, 20).high
    with pytest.raises(UsageError, match="no rate: 3 of 2"):
        metrics.product_interval((1, 5), (3, 2))


def test_the_rate_interval_equals_clopper_pearson():
    for case in product([0.9, 0.95, 0.99], [1, 2, 19, 300, 5000]):
        confidence, trials = case
        for count in {0, 1, trials // 100, trials // 2, trials - 1, trials}:
            expected = stats.binomtest(count, trials).proportion_ci(confidence, method="exact")
            interval = metrics.rate_interval(count, trials, confidence)
            assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9), case


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_is_refused(label):
    labels, scores = np.full(5, label), np.arange(5.0)
    for figure in (metrics.image_auroc, metrics.average_precision):
        with pytest.raises(UsageError, match="both kinds are needed"):
            figure(labels, scores)
    for point in (metrics.fpr_at_recall, metrics.recall_at_fpr):
        with pytest.raises(UsageError, match="both kinds are needed"):
            point(labels, scores, 0.5)
    for area in (metrics.pixel_auroc, metrics.pixel_average_precision, metrics.aupro):
        with pytest.raises(UsageError, match="both kinds are needed"):
            area([np.full((3, 1), label)], [np.zeros((3, 1))])


def test_values_that_are_not_finite_are_refused_and_counted(subtests):
    for bad in [np.nan, np.inf, -np.inf]:
        with subtests.test(bad=bad):
            with pytest.raises(UsageError, match="the scores: 1 of 3 values are NaN or infinite"):
                metrics.image_auroc([0, 1, 1], [0.0, 1.0, bad])
            for area in (metrics.pixel_auroc, metrics.pixel_average_precision, metrics.aupro):
                with pytest.raises(UsageError, match="map 1: 1 of 4 values are NaN or infinite"):
                    area([np.eye(2)] * 2, [np.zeros((2, 2)), np.array([[0, 0], [0, bad]])])


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(UsageError, match=r"labels \(2,\), scores \(3,\)"):
        metrics.image_auroc([0, 1], [1.0, 2.0, 3.0])
    with pytest.raises(UsageError, match="1 masks for 2 maps"):
        metrics.aupro([np.eye(2)], [np.eye(2)] * 2)
    with pytest.raises(UsageError, match="0 masks for 0 maps"):
        metrics.pixel_auroc([], [])
    with pytest.raises(UsageError, match=r"image 0: mask \(2, 2\), map \(3, 3\)"):
        metrics.pixel_auroc([np.eye(2)], [np.eye(3)])


def test_rates_outside_0_to_1_are_refused(subtests):
    for rate in [-0.1, 1.1, np.nan]:
        with subtests.test(rate=rate):
            with pytest.raises(UsageError, match="is not a rate"):
                metrics.recall_at_fpr([0, 1], [0.0, 1.0], rate)
            with pytest.raises(UsageError, match="is not a rate"):
                metrics.aupro([np.eye(2)], [np.eye(2)], rate)
    with pytest.raises(UsageError, match="is not a rate"):
        metrics.fpr_at_recall([0, 1], [0.0, 1.0], 0.0)


def test_an_impossible_count_has_no_interval(subtests):
    for count, trials in [(1, 0), (-1, 5), (6, 5)]:
        with subtests.test(count=count, trials=trials), pytest.raises(UsageError, match="no rate"):
            metrics.rate_interval(count, trials)


def test_bootstrap_intervals_hold_the_figure_narrow_with_more_images_and_repeat_with_their_seed():
    random = np.random.default_rng(5)
    widths = []
    for count in (20, 200):
        labels = np.repeat([0, 1], count)
        scores = random.normal(labels * 1.0, 1.0)
        (interval,) = metrics.bootstrap_intervals(labels, scores, [metrics.image_auroc], resamples=300, seed=1)
        assert interval.low < metrics.image_auroc(labels, scores) < interval.high
        assert [interval] == metrics.bootstrap_intervals(labels, scores, [metrics.image_auroc], resamples=300, seed=1)
        widths.append(interval.high - interval.low)
    # the spread falls with the root of the number of images
    assert widths[1] == pytest.approx(widths[0] / np.sqrt(10), rel=0.35)


def test_bootstrap_intervals_of_a_perfect_detector_have_no_width():
    figures = [metrics.image_auroc, lambda labels, scores: metrics.fpr_at_recall(labels, scores, 0.95)]
    intervals = metrics.bootstrap_intervals([0, 0, 1], [0.1, 0.2, 0.9], figures, resamples=20)
    assert [(interval.low, interval.high) for interval in intervals] == [(1.0, 1.0), (0.0, 0.0)]
