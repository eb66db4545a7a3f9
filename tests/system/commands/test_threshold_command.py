"""`edge-inspect threshold`: shown, changed as a version, refused; `calibrate --ng` shows known defective parts."""

import json

import pytest

from edge.bundles.bundle import load_bundle
from edge.bundles.history import read_history
from edge.bundles.versions import write_bundle
from tests.fakes import write_picture
from tests.small_bundle import bad_part, good_part
from tests.system.command_line import assert_refused, decisions, edge_here, verdicts


def test_a_threshold_is_changed_without_export_and_rolled_back(bundle_path, line, here):
    before = load_bundle(bundle_path)
    shown = edge_here(here, "threshold", "--bundle", bundle_path)
    assert shown.returncode == 0, shown.stderr
    assert "EXTRAPOLATED from 24 held-out good parts" in shown.stdout
    assert load_bundle(bundle_path).sha256 == before.sha256

    changed = edge_here(here, "threshold", "--bundle", bundle_path, "--set", 0.99, "--note", "trial", "--json")
    assert changed.returncode == 0, changed.stderr
    promise = json.loads(changed.stdout)["thresholds"]["int8"]
    assert (promise["threshold"], promise["held_out"], promise["held_out_rejected"]) == (0.99, 24, 0)
    entry = read_history(bundle_path)[-1]
    assert (entry.action, entry.note) == ("threshold", "trial")
    assert load_bundle(bundle_path).model_sha256("int8") == before.model_sha256("int8")
    run = ("--camera", line, "--bundle", bundle_path, "--no-record", "--json")
    assert decisions(edge_here(here, *run).stdout) == ["OK"] * 6

    assert edge_here(here, "rollback", "--bundle", bundle_path).returncode == 0
    assert decisions(edge_here(here, *run).stdout).count("NG") == 2


def test_an_unsure_band_marks_parts_and_changes_no_decision(bundle_path, line, here):
    for seed in range(700, 710):
        write_picture(line / f"more{seed}.png", good_part(seed))
    run = ("--camera", line, "--bundle", bundle_path, "--no-record", "--json")
    before = decisions(edge_here(here, *run).stdout)
    # half of good parts may be looked at, so some of these fourteen will be
    made = edge_here(here, "threshold", "--bundle", bundle_path, "--review", 50)
    assert made.returncode == 0, made.stderr
    after = edge_here(here, *run)
    assert decisions(after.stdout) == before
    marked = [verdict["review"] for verdict in verdicts(after.stdout)]
    assert 0 < sum(marked) < 14
    assert f"({sum(marked)} for review)" in after.stderr
    assert edge_here(here, "threshold", "--bundle", bundle_path, "--no-review").returncode == 0
    assert not any(verdict["review"] for verdict in verdicts(edge_here(here, *run).stdout))


def test_asking_for_the_budget_in_force_changes_nothing(bundle_path, here):
    before = load_bundle(bundle_path)
    budget = 100 * before.calibration("int8").false_reject_budget
    asked = edge_here(here, "threshold", "--bundle", bundle_path, "--false-reject", budget)
    assert asked.returncode == 0, asked.stderr
    assert load_bundle(bundle_path).sha256 == before.sha256
    assert asked.stdout.count("<- in force") == 2


def test_a_budget_of_auto_is_what_the_good_parts_support_and_marks_nothing(bundle_path, line, here):
    made = edge_here(here, "threshold", "--bundle", bundle_path, "--false-reject", "auto")
    assert made.returncode == 0, made.stderr
    assert "for a false-reject budget of 8.0 %, which is what they support, from 24 held-out" in made.stdout
    calibration = load_bundle(bundle_path).calibration("int8")
    assert (calibration.budget_asked, calibration.review_threshold) == (False, None)
    # asked for less than they support: what lies between passes, and is marked
    assert edge_here(here, "threshold", "--bundle", bundle_path, "--false-reject", 0.5).returncode == 0
    asked = load_bundle(bundle_path).calibration("int8")
    assert asked.review_threshold == pytest.approx(calibration.threshold) and asked.threshold > calibration.threshold


def test_what_makes_no_sense_is_refused_and_the_bundle_is_untouched(bundle_path, here):
    before = load_bundle(bundle_path).sha256
    for options, words in (
        (("--set", 1.5), ("scores lie between 0 and 1",)),
        (("--set", "nan"), ("is not a number",)),
        (("--set", 0.001), ("would reject 24 of the 24 held-out good parts",)),
        (("--set", 0.5, "--false-reject", 1), ("not allowed with",)),
        (("--show", "--review", 5), ("--show changes nothing",)),
        (("--review", 0.01), ("leave no band",)),
    ):
        assert_refused(edge_here(here, "threshold", "--bundle", bundle_path, *options), 2, *words)
    assert load_bundle(bundle_path).sha256 == before


def test_calibrating_with_known_defective_parts_shows_what_thresholds_find_of_them(bundle_path, here, tmp_path):
    # without an INT8 network there is no gate, which takes most of a calibration's time
    whole = load_bundle(bundle_path).manifest
    fp32 = {key: entry for key, entry in whole.files.items() if "fp32" in key}
    write_bundle(bundle_path, whole.model_copy(update={"files": fp32}), {})
    good, ng = tmp_path / "good", tmp_path / "ng"
    for folder, part, count in ((good, good_part, 12), (ng, bad_part, 3)):
        folder.mkdir()
        for seed in range(count):
            write_picture(folder / f"{seed}.png", part(500 + seed))
    by_hand = ("--set", 0.99, "--precision", "fp32")
    assert edge_here(here, "threshold", "--bundle", bundle_path, *by_hand).returncode == 0
    arguments = ("calibrate", "--bundle", bundle_path, "--data", good)
    seen = edge_here(here, *arguments, "--ng", ng, "--review", 20)
    assert seen.returncode == 0, seen.stderr
    assert "3 of 3 NG (100%" in seen.stderr
    assert "the threshold 0.9900 of fp32 was set by hand; it is fitted anew" in seen.stderr
    calibration = load_bundle(bundle_path).calibration("fp32")
    assert (len(calibration.scores), len(calibration.ng_scores)) == (12, 3)
    assert calibration.review_threshold < calibration.threshold


def test_a_signed_bundle_gets_an_unsigned_threshold_only_beside_the_live_one(bundle_path, here):
    pytest.importorskip("cryptography", reason="cryptography is not installed: nothing can be signed")
    assert edge_here(here, "bundle", "keygen", "--key", "maker.pem").returncode == 0
    assert edge_here(here, "bundle", "sign", "--bundle", bundle_path, "--key", "maker.pem").returncode == 0
    signed = load_bundle(bundle_path).sha256
    change = ("threshold", "--bundle", bundle_path, "--set", 0.99)
    waiting = edge_here(here, *change)
    assert waiting.returncode == 0, waiting.stderr
    assert "is made, and not live" in waiting.stderr and load_bundle(bundle_path).sha256 == signed
    assert edge_here(here, *change, "--sign-key", "maker.pem").returncode == 0
    assert load_bundle(bundle_path).sha256 != signed
    verified = edge_here(here, "bundle", "verify", "--bundle", bundle_path, "--public-key", "maker.pem.pub")
    assert verified.returncode == 0, verified.stderr
