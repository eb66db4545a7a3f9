"""What thresholds cost and find is told in an operator's words, from scores that the bundle keeps."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.adjust import with_budget, with_value
from calibration.findings.findings import DrawnDefect, Findings, KnownDefect, findings_of
from calibration.findings.scoring import SIZES_PERCENT, defective_pictures, score_drawn, score_known
from calibration.findings.what_if import what_if_lines, what_ifs
from edge.backends import open_backend
from edge.bundles.bundle import load_bundle
from edge.bundles.threshold_report import upper_bound
from edge.bundles.versions import write_bundle
from edge.capture.images.image_reader import PLAIN
from edge.core.errors import BundleError
from edge.preprocessing.normal_samples import image_sha256
from tests.calibration.test_adjust import calibration_of
from tests.fakes import write_picture
from tests.small_bundle import bad_part, good_part


@pytest.fixture
def calibration():
    # 39 scores, 0.01 to 0.39: the default threshold is 0.38
    return with_budget(calibration_of(np.arange(1, 40).astype(np.float32) / 100), None)


def findings_for(calibration, drawn=(), known=(), mm_per_px=None):
    return Findings(
        model_sha256=calibration.model_sha256, calibrated_utc=calibration.created_utc, drawn=tuple(drawn),
        known=tuple(known), mm_per_px=mm_per_px,
    )  # fmt: skip


def drawn(kind, **scores_by_length):
    """Defects of lengths such as px8, each twice the percent of the one before, with these scores."""
    return [
        DrawnDefect(kind=kind, length_px=float(length[2:]), percent=2.0**number, score=score)
        for number, (length, scores) in enumerate(scores_by_length.items())
        for score in scores
    ]


def test_the_rates_are_told_in_whole_parts_with_their_exact_bound(calibration):
    live, stricter, looser = what_ifs(calibration)
    # one of 39 is above it: two of forty on average, and the bound of Clopper and Pearson
    assert (live.rate, live.bound, live.guessed) == (pytest.approx(2 / 40), upper_bound(1, 39), False)
    assert (stricter.guessed, stricter.budget) == (True, pytest.approx(live.rate / 4))
    assert (looser.rate, looser.bound) == (pytest.approx(4 / 40), upper_bound(3, 39))
    assert stricter.threshold > live.threshold > looser.threshold
    assert what_if_lines(calibration, None) == [
        "in force: rejects about 1 good part in 20 (at most 1 in 8)",
        "stricter (--false-reject 1.3): rejects about 1 good part in 80 (at most 1 in 13), a guess beyond what the "
        "good parts show",
        "looser (--false-reject 10): rejects about 1 good part in 10 (at most 1 in 5)",
    ]


def test_each_choice_tells_what_it_finds_by_kind_and_from_which_length_on(calibration):
    found = findings_for(
        calibration,
        [
            *drawn("scratch", px5=(0.1, 0.2), px10=(0.37, 0.37), px20=(0.9, 0.9)),
            # found at 10 px, but at 20 px half of them pass: no length from which on they are found
            *drawn("spot", px10=(0.9, 0.9), px20=(0.9, 0.1)),
        ],
        [KnownDefect(kind="hole", score=score) for score in (0.1, 0.5)]
        + [KnownDefect(kind="crack", score=0.385, in_training=True)],
    )
    live, _, looser = what_if_lines(calibration, found)
    assert "; finds 5 of 10 drawn defects: scratches from about 20 px, no spots; " in live
    assert live.endswith("; of known defective parts: hole 1 of 2, crack 1 of 1 (it learned from them)")
    assert "; finds 7 of 10 drawn defects: scratches from about 10 px, no spots; " in looser


def test_lengths_are_told_in_millimetres_where_the_scale_is_known(calibration):
    found = findings_for(calibration, drawn("missing patch", px10=(0.9,)), mm_per_px=0.25)
    assert "missing patches from about 2.5 mm" in what_if_lines(calibration, found)[0]
    assert "missing patches from about 0.5 mm" in what_if_lines(calibration, found, mm_per_px=0.05)[0]


def test_a_threshold_set_by_hand_is_told_by_the_parts_above_it(calibration):
    live = what_ifs(with_value(calibration, 0.35))[0]
    assert (live.budget, live.rate, live.bound) == (None, pytest.approx(5 / 40), upper_bound(4, 39))


def test_the_budget_that_is_named_gives_the_threshold_that_is_told():
    for count in (8, 16, 24, 39, 60, 210, 1000):
        scores = (-np.expm1(-np.random.default_rng(count).gamma(6.0, 0.02, count))).astype(np.float32)
        made = with_budget(calibration_of(scores), None)
        *_, looser = what_ifs(made)
        assert looser.name == "looser", count
        assert with_budget(made, float(looser.percent) / 100).threshold == looser.threshold, count


def test_equal_scores_leave_no_other_choice():
    same = with_budget(calibration_of(np.full(40, 0.25, np.float32)), None)
    assert [each.name for each in what_ifs(same)] == ["in force"]


def test_defects_of_every_kind_and_size_are_drawn_and_scored_and_known_ones_by_their_folder(bundle_path, tmp_path):
    bundle = load_bundle(bundle_path)
    for kind, seed in (("crack", 1), ("hole", 2)):
        (tmp_path / "ng" / kind).mkdir(parents=True)
        write_picture(tmp_path / "ng" / kind / "1.png", bad_part(seed))
    paths = defective_pictures(tmp_path / "ng", PLAIN)
    trained_on = {image_sha256(PLAIN.read(paths[1]))}
    backend = open_backend(bundle, "openvino", "int8", 1)
    found = score_drawn(backend, bundle.preprocess, [good_part(900), good_part(901)])
    known = score_known(backend, bundle.preprocess, paths, PLAIN, trained_on)
    backend.close()
    assert len(found) == 2 * 3 * len(SIZES_PERCENT)
    scratches = [defect for defect in found if defect.kind == "scratch"]
    assert scratches[3].length_px == pytest.approx(2 * scratches[2].length_px, rel=0.05)
    assert scratches[4].score > scratches[0].score
    assert [(defect.kind, defect.in_training) for defect in known] == [("crack", False), ("hole", True)]
    assert defective_pictures(tmp_path / "nowhere", PLAIN) == []


def test_findings_are_kept_in_the_bundle_and_hold_for_their_calibration_alone(bundle_path):
    bundle = load_bundle(bundle_path)
    calibration = bundle.calibration("int8")
    kept = findings_for(calibration, drawn("scratch", px9=(0.5,)), [KnownDefect(kind="hole", score=0.5)])
    write_bundle(bundle_path, bundle.manifest, kept.file())
    bundle = load_bundle(bundle_path)
    assert findings_of(bundle, "int8") == kept
    # another network's scores are others
    assert findings_of(bundle, "fp32") is None
    assert not kept.fits(replace(calibration, created_utc="2027-01-01T00:00:00+00:00"))
    assert kept.fits(with_value(calibration, 0.9))
    write_bundle(bundle_path, bundle.manifest, {"findings": ("findings.json", b'{"drawn": 3}')})
    with pytest.raises(BundleError, match=r"findings\.json: "):
        findings_of(load_bundle(bundle_path), "int8")
