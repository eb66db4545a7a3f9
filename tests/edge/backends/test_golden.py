"""Golden pictures beside a network: which is taken for which frame, and what their comparison does to a verdict."""

from datetime import datetime, timezone
from time import perf_counter_ns

import cv2
import numpy as np
import pytest

from edge.backends.golden import GoldenComparison, GoldenFolder, OneGolden, peaks_at, scores_of
from edge.capture.images.image_reader import PLAIN
from edge.core.datatypes import Decision, Frame, Reason
from edge.core.errors import CalibrationMismatch, NoReference, UsageError
from edge.core.manifest import GoldenSpec
from edge.inspection.inspector import Inspector
from edge.preprocessing.preprocess import Preprocess
from tests.fakes import BrightnessBackend, picture, write_picture

THRESHOLD, PIXEL_THRESHOLD = 0.8, 0.7


def spec(preprocess, **changes):
    values = {"level": 40, "pixel_level": 20, "levels": (3.0, 9.0), "budget": 0.1, "bound": 0.5}
    return GoldenSpec(**(values | changes), preprocess_sha256=preprocess.sha256)


def inspector(pictures, preprocess=None, threshold=THRESHOLD):
    preprocess = preprocess or Preprocess(32, 32)
    golden = GoldenComparison(pictures, spec(preprocess), preprocess, threshold, PIXEL_THRESHOLD)
    return Inspector(BrightnessBackend(), preprocess, threshold, PIXEL_THRESHOLD, "b" * 64, golden=golden)


def frame(image, source="somewhere"):
    return Frame(0, perf_counter_ns(), datetime.now(timezone.utc), source, image)


def damaged(image):
    holed = image.copy()
    holed[20:32, 30:42] = 255 - holed[20:32, 30:42]
    return holed


def test_a_part_like_its_golden_picture_is_judged_by_the_network_alone():
    golden = picture(1)
    verdict = inspector(OneGolden(golden)).inspect(frame(golden))
    alone = Inspector(BrightnessBackend(), Preprocess(32, 32), THRESHOLD, PIXEL_THRESHOLD, "b" * 64).inspect(
        frame(golden)
    )
    assert (verdict.decision, verdict.score) == (Decision.OK, alone.score)


def test_what_the_network_passes_and_the_golden_picture_shows_is_ng_with_its_place_and_its_reason():
    golden = picture(1)
    verdict = inspector(OneGolden(golden)).inspect(frame(damaged(golden)))
    assert (verdict.decision, verdict.reason) == (Decision.NG, Reason.ABOVE_THRESHOLD)
    assert "golden picture" in verdict.detail and verdict.score > THRESHOLD
    region = verdict.regions[0]
    # one place of the map is 2.5 x 1.9 px
    assert abs(region.x - 30) < 4 and abs(region.y - 20) < 4
    assert abs(region.width - 12) < 6 and abs(region.height - 12) < 6


def test_what_the_network_rejects_stays_rejected():
    bright = np.full((60, 80, 3), 240, np.uint8)
    verdict = inspector(OneGolden(bright)).inspect(frame(bright))
    assert verdict.decision is Decision.NG and "golden" not in verdict.detail


def test_a_frame_without_its_golden_picture_is_invalid_and_says_so(tmp_path):
    write_picture(tmp_path / "17.png", picture(1))
    judge = inspector(GoldenFolder(tmp_path, PLAIN))
    assert judge.inspect(frame(picture(1), "boards/17.jpg")).decision is Decision.OK
    verdict = judge.inspect(frame(picture(1), "boards/18.jpg"))
    assert (verdict.decision, verdict.reason) == (Decision.INVALID, Reason.NO_REFERENCE)
    assert "18.jpg" in verdict.detail and verdict.score is None


def test_a_golden_picture_of_another_size_or_that_cannot_be_read_is_invalid(tmp_path):
    other = inspector(OneGolden(picture(1, 50, 80))).inspect(frame(picture(1)))
    assert (other.decision, other.reason) == (Decision.INVALID, Reason.NO_REFERENCE) and "80x50" in other.detail
    (tmp_path / "17.png").write_bytes(b"no picture")
    damaged_file = inspector(GoldenFolder(tmp_path, PLAIN)).inspect(frame(picture(1), "17.jpg"))
    assert damaged_file.reason is Reason.NO_REFERENCE and "17.png" in damaged_file.detail


def test_the_golden_picture_with_the_longest_common_path_is_taken(tmp_path):
    for number, name in enumerate(("17.png", "open/17.bmp", "test/open/17.png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_picture(tmp_path / name, np.full((8, 8, 3), 50 * number, np.uint8))
    folder = GoldenFolder(tmp_path, PLAIN)
    for source, number in (
        ("/data/set/test/open/17.jpg", 2), ("/data/other/open/17.jpg", 1), ("/data/short/17.jpg", 0), ("17.jpg", 0),
    ):  # fmt: skip
        assert folder.of(source)[0, 0, 0] == 50 * number, source
    with pytest.raises(NoReference, match=r"7\.jpg"):
        folder.of("7.jpg")


def test_folders_that_leave_a_question_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no pictures"):
        GoldenFolder(tmp_path, PLAIN)
    for name in ("17.png", "17.bmp"):
        write_picture(tmp_path / name, picture(1))
    with pytest.raises(UsageError, match="two golden pictures"):
        GoldenFolder(tmp_path, PLAIN)


def test_the_level_lies_on_the_threshold_whatever_that_is_and_scores_grow_with_the_level():
    for threshold in (0.05, 0.5, 0.999, 1 - 1e-9):
        scores = scores_of(np.array([0, 20, 40, 41, 255], np.float32), 40, threshold)
        assert scores[0] == 0 and np.isclose(scores[2], min(threshold, 1 - 1e-6), atol=1e-6)
        assert (np.diff(scores) >= 0).all() and scores[3] > scores[2] and scores[4] <= 1


def test_large_differences_are_not_all_alike():
    scores = scores_of(np.array([60, 120, 154, 200, 255], np.float32), 46, 0.9977)
    assert (np.diff(scores) > 0).all()


def test_the_peak_of_a_difference_survives_on_a_coarser_map():
    levels = np.zeros((97, 133), np.float32)
    levels[50, 77] = 200
    coarse = peaks_at(levels, (32, 32))
    assert coarse.shape == (32, 32) and coarse.max() == 200
    row, column = np.unravel_index(coarse.argmax(), coarse.shape)
    assert abs(row - 50 * 32 / 97) < 2 and abs(column - 77 * 32 / 133) < 2 and (coarse > 0).sum() <= 4


def test_only_the_region_of_interest_is_compared():
    golden = picture(1)
    masked = Preprocess(32, 32, polygon=((45, 0), (79, 0), (79, 59), (45, 59)))
    assert inspector(OneGolden(golden), masked).inspect(frame(damaged(golden))).decision is Decision.OK
    cropped = Preprocess(32, 32, rectangle=(20, 10, 40, 40))
    verdict = inspector(OneGolden(golden), cropped).inspect(frame(damaged(golden)))
    assert verdict.decision is Decision.NG
    assert 24 <= verdict.regions[0].x <= 32 and 14 <= verdict.regions[0].y <= 22


def test_a_level_that_was_fitted_through_another_region_is_refused():
    with pytest.raises(CalibrationMismatch, match="another region"):
        other = Preprocess(32, 32, rectangle=(0, 0, 10, 10))
        GoldenComparison(OneGolden(picture(1)), spec(other), Preprocess(32, 32), THRESHOLD, PIXEL_THRESHOLD)


def test_held_out_scores_of_both_are_the_larger_ones():
    preprocess = Preprocess(32, 32)
    golden = GoldenComparison(
        OneGolden(picture(1)), spec(preprocess, levels=(0.0, 80.0)), preprocess, THRESHOLD, PIXEL_THRESHOLD
    )
    scores = golden.scores(np.full(6, 0.3, np.float32))
    assert sorted(set(scores.tolist())) == pytest.approx([0.3, 1 - 0.2 * np.exp(-1)]) and (scores > 0.9).sum() == 3


def test_a_light_that_changes_a_little_is_no_difference():
    golden = picture(1)
    lit = cv2.convertScaleAbs(golden, alpha=1.05)
    assert inspector(OneGolden(golden)).inspect(frame(lit)).decision is Decision.OK
