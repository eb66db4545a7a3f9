"""recalibrate through the command line: what it makes, what it refuses, and that a refusal leaves what is live."""

import shutil
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: no network can be quantized")

from calibration.adjust import with_value
from calibration.pipeline import gate_samples as gate_samples_module
from calibration.pipeline.sample_cache import NormalSamples
from calibration.threshold import default_budget
from edge.bundles import shadow_trial
from edge.bundles.bundle import load_bundle
from edge.bundles.history import Audit, read_history
from edge.bundles.versions import commit_version, kept_versions, making_version, roll_back
from edge.cli import main
from edge.records.store import RecordStore
from tests.fakes import write_picture
from tests.small_bundle import bad_part, good_part, make_bundle
from tests.system.command_line import assert_refused


@dataclass
class Told:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(autouse=True)
def foreign_patches(monkeypatch):
    """As on a device, where torch is not."""
    monkeypatch.setattr(gate_samples_module, "find_spec", lambda name: None)


@pytest.fixture
def edge(place, monkeypatch, capsys):
    """Run one command in the folder of the line, in this process."""
    monkeypatch.chdir(place)

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Told(code, *capsys.readouterr())

    return run


def dimmed(picture):
    return (picture * 0.7).astype(np.uint8)


def folder_of(place, pictures):
    place.mkdir()
    for number, picture in enumerate(pictures):
        write_picture(place / f"part{number:03d}.png", picture)
    return place


@pytest.fixture(scope="module")
def recalibrated(tmp_path_factory):
    """A bundle recalibrated in dimmer light from 40 parts, two of them scratched; and the command's exit code."""
    place = tmp_path_factory.mktemp("line")
    make_bundle(place / "plate")
    parts = [dimmed(good_part(seed)) for seed in range(500, 538)] + [dimmed(bad_part(seed)) for seed in (538, 539)]
    folder_of(place / "new", parts)
    before = load_bundle(place / "plate")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(gate_samples_module, "find_spec", lambda name: None)
        code = main(["recalibrate", "new", "--bundle", "plate", "--scene-changed"])
    return place, before, code


@pytest.fixture
def place(recalibrated, tmp_path):
    """A fresh copy of that folder."""
    return shutil.copytree(recalibrated[0], tmp_path / "line")


def refused(result, bundle, before, code, *words):
    assert_refused(result, code, *words)
    assert load_bundle(bundle).sha256 == before


def test_a_new_version_is_made_beside_the_old_one_and_says_from_what(recalibrated):
    place, before, code = recalibrated
    assert code == 0
    after = load_bundle(place / "plate")
    after.verify()
    entry = read_history(place / "plate")[-1]
    assert (entry.action, entry.before, entry.after) == ("recalibrate", before.sha256, after.sha256)
    assert (entry.samples.folder, entry.samples.count) == ("new", 38)
    assert any("gate cpu" in line for line in entry.gate)
    assert {"INT8 network", "INT8 ranges"} <= {line.split(":")[0] for line in entry.changed}
    assert any(version.bundle.sha256 == before.sha256 for version in kept_versions(place / "plate"))


def test_a_few_defects_among_the_samples_go_into_quarantine_and_onto_a_sheet(recalibrated):
    place = recalibrated[0]
    assert set(read_history(place / "plate")[-1].samples.quarantined) == {"part038.png", "part039.png"}
    assert cv2.imread(str(place / "plate.refused.png")) is not None


def test_statistics_threshold_and_ranges_are_of_the_network_that_runs(recalibrated):
    after = load_bundle(recalibrated[0] / "plate")
    precision = after.precision("auto")
    calibration = after.calibration(precision)
    assert calibration.model_sha256 == after.model_sha256(precision)
    assert len(calibration.scores) == 38
    assert after.manifest.deployments["cpu"].tried[0].model_sha256


def test_parts_of_the_changed_scene_pass_and_defects_do_not(place, edge):
    folder_of(place / "later", [dimmed(good_part(seed)) for seed in range(700, 710)])
    folder_of(place / "scratched", [dimmed(bad_part(seed)) for seed in range(700, 710)])
    for folder, decision in (("later", "OK"), ("scratched", "NG")):
        told = edge("--camera", folder, "--bundle", "plate", "--json", "--no-record").stdout
        assert told.count(f'"decision": "{decision}"') >= 9


def test_the_budget_of_the_live_version_stays(place, edge):
    live = load_bundle(place / "plate")
    calibration = replace(live.calibration("int8"), false_reject_budget=0.02)
    parts = {"calibration_int8": ("calibration_int8.npz", calibration.to_bytes())}
    commit_version(live, live.manifest, parts, Audit("threshold"))
    result = edge("recalibrate", "new", "--bundle", "plate")
    assert result.returncode == 0, result.stderr
    assert load_bundle(place / "plate").calibration("int8").false_reject_budget == pytest.approx(0.02)


def test_more_good_parts_of_the_same_line_join_the_earlier_ones_and_the_budget_falls_by_itself(place, edge):
    folder_of(place / "more", [dimmed(good_part(seed)) for seed in range(800, 840)])
    made = edge("recalibrate", "more", "--bundle", "plate", "--false-reject", "auto")
    assert made.returncode == 0, made.stderr
    assert "earlier good parts join" in made.stderr
    calibration = load_bundle(place / "plate").calibration("int8")
    assert len(calibration.scores) == 38 + 40 and not calibration.budget_asked
    assert calibration.false_reject_budget == default_budget(78)
    assert (place / "plate.unusual.png").is_file()
    # the same parts again bring nothing, and nobody asked for a budget: it is taken anew
    again = edge("recalibrate", "more", "--bundle", "plate")
    assert again.returncode == 0, again.stderr
    assert len(load_bundle(place / "plate").calibration("int8").scores) == 38 + 40


@pytest.fixture
def by_hand(place):
    """The threshold of what runs, set by hand a little above the fitted one."""
    live = load_bundle(place / "plate")
    precision = live.precision("auto")
    fitted = live.calibration(precision)
    value = min(0.999, 1.02 * max(fitted.threshold, float(fitted.scores.max())))
    parts = {f"calibration_{precision}": (f"calibration_{precision}.npz", with_value(fitted, value).to_bytes())}
    commit_version(live, live.manifest, parts, Audit("threshold"))
    return value


def test_a_threshold_set_by_hand_stays_and_that_is_said(place, edge, by_hand):
    result = edge("recalibrate", "new", "--bundle", "plate")
    assert result.returncode == 0, result.stderr
    assert f"the threshold {by_hand:.4f} was set by hand, and stays" in result.stderr
    after = load_bundle(place / "plate")
    calibration = after.calibration(after.precision("auto"))
    assert (calibration.threshold, calibration.set_by_hand) == (pytest.approx(by_hand), True)


def test_a_threshold_set_by_hand_is_fitted_anew_where_that_is_asked_for(place, edge, by_hand):
    result = edge("recalibrate", "new", "--bundle", "plate", "--threshold", "refit")
    assert result.returncode == 0, result.stderr
    after = load_bundle(place / "plate")
    calibration = after.calibration(after.precision("auto"))
    assert not calibration.set_by_hand
    assert calibration.threshold != pytest.approx(by_hand)


def test_a_kept_threshold_that_rejects_most_new_parts_is_refused_with_what_to_do(place, edge):
    live = load_bundle(place / "plate")
    precision = live.precision("auto")
    fitted = live.calibration(precision)
    low = replace(fitted, threshold=1e-3, pixel_threshold=1e-3, set_by_hand=True, review_threshold=None)
    parts = {f"calibration_{precision}": (f"calibration_{precision}.npz", low.to_bytes())}
    before = commit_version(live, live.manifest, parts, Audit("threshold")).sha256
    result = edge("recalibrate", "new", "--bundle", "plate", "--scene-changed")
    refused(result, place / "plate", before, 2, "set by hand does not fit these parts", "--threshold refit")


def test_a_refused_attempt_is_kept_in_the_history_and_changes_nothing(place, edge):
    before = load_bundle(place / "plate").sha256
    folder_of(place / "few", [dimmed(good_part(seed)) for seed in range(8)])
    assert edge("recalibrate", "few", "--bundle", "plate").returncode == 2
    entry = read_history(place / "plate")[-1]
    assert (entry.action, entry.refused, entry.before, entry.after) == ("recalibrate", True, before, before)
    assert "8 samples are too few" in entry.note
    told = edge("history", "--bundle", "plate").stdout
    assert f"REFUSED, {before[:16]} stayed" in told and "8 samples are too few" in told
    # the way back is that of before
    assert edge("rollback", "--bundle", "plate").returncode == 0
    assert edge("rollback", "--bundle", "plate").returncode == 0
    assert load_bundle(place / "plate").sha256 == before


def test_a_bundle_that_is_changed_meanwhile_is_noticed_at_once(place, edge, monkeypatch):
    added = []
    real = NormalSamples.add

    def add(self, *arguments):
        added.append(arguments)
        if len(added) == 5:
            roll_back(place / "plate")
        real(self, *arguments)

    monkeypatch.setattr(NormalSamples, "add", add)
    result = edge("recalibrate", "new", "--bundle", "plate")
    assert_refused(result, 4, "has become live while this was made from", "run the command again")
    assert len(added) == 5
    assert read_history(place / "plate")[-1].refused


def test_a_second_command_that_makes_a_version_is_refused_at_its_start(place, edge):
    with making_version(load_bundle(place / "plate")):
        result = edge("recalibrate", "new", "--bundle", "plate")
        assert_refused(result, 4, "another command is making a new version", "wait until it has ended")
        # what the line may need at once is not held up
        assert edge("rollback", "--bundle", "plate").returncode == 0


def test_accepted_parts_of_the_records_can_teach(place, edge):
    (place / "config.yaml").write_text("record: {keep_ok_share: 1}\n")
    folder_of(place / "shift", [dimmed(good_part(seed)) for seed in range(900, 930)])
    assert edge("--camera", "shift", "--bundle", "plate").returncode == 0
    result = edge("recalibrate", "--from-records", "--since", "1h", "--bundle", "plate")
    assert result.returncode == 0, result.stderr
    samples = read_history(place / "plate")[-1].samples
    assert 20 <= samples.count <= 30
    assert samples.folder == "records records, 1h to now"


def test_parts_that_a_person_found_good_teach_although_the_line_rejected_them(place, edge):
    (place / "config.yaml").write_text("record: {keep_ok_share: 1}\n")
    # scratched ones stand for parts that are rejected and good
    parts = [dimmed(good_part(seed)) for seed in range(900, 922)] + [dimmed(bad_part(seed)) for seed in range(922, 932)]
    folder_of(place / "shift", parts)
    edge("--camera", "shift", "--bundle", "plate")
    for number in range(32):
        assert edge("review", f"1-{number:06d}", "good").returncode == 0
    with RecordStore(place / "records") as store:
        rejected = len(store.query("SELECT id FROM verdicts WHERE decision = 'NG'"))
    assert rejected >= 10
    result = edge("recalibrate", "--from-labels", "--bundle", "plate")
    assert result.returncode == 0, result.stderr
    samples = read_history(place / "plate")[-1].samples
    assert samples.folder.startswith(
        f"labels in records, {rejected} false rejects and {min(32 - rejected, 30 - rejected)} "
    )
    assert (samples.quarantined, samples.rejected) == ((), {})
    both = edge("recalibrate", "new", "--from-labels", "--bundle", "plate")
    assert_refused(both, 2, "from folders, from the records or from labels", "one of them alone")


def test_a_trial_that_no_running_line_takes_up_leaves_the_live_version(place, edge, monkeypatch):
    before = load_bundle(place / "plate").sha256
    monkeypatch.setattr(shadow_trial, "_TAKEN_UP_S", 0.5)
    result = edge("recalibrate", "new", "--bundle", "plate", "--shadow", 10)
    assert result.returncode == 2
    assert "no running edge-inspect took the candidate up" in result.stderr
    assert load_bundle(place / "plate").sha256 == before
    assert not (place / "plate" / "candidate.json").exists()


def test_a_signed_bundle_gets_an_unsigned_version_only_beside_the_live_one(place, edge):
    pytest.importorskip("cryptography", reason="cryptography is not installed: nothing can be signed")
    assert edge("bundle", "keygen", "--key", "maker.pem").returncode == 0
    assert edge("bundle", "sign", "--bundle", "plate", "--key", "maker.pem").returncode == 0
    signed = load_bundle(place / "plate").sha256
    result = edge("recalibrate", "new", "--bundle", "plate")
    assert result.returncode == 0, result.stderr
    assert "is made, and not live" in result.stderr
    assert load_bundle(place / "plate").sha256 == signed
    result = edge("recalibrate", "new", "--bundle", "plate", "--sign-key", "maker.pem")
    assert result.returncode == 0, result.stderr
    verified = edge("bundle", "verify", "--bundle", "plate", "--public-key", "maker.pem.pub")
    assert verified.returncode == 0, verified.stderr
    assert load_bundle(place / "plate").sha256 != signed


BAD_SAMPLES = {
    "too few": ([good_part(seed) for seed in range(8)], "8 samples are too few"),
    "identical": ([good_part(1)] * 30, "1 samples are too few to recalibrate on, at least 20 are needed"),
    "mostly defects": (
        [bad_part(seed) for seed in range(25)] + [good_part(seed) for seed in range(8)],
        "the live version rejects",
    ),
    "another product": (
        [np.full((48, 64, 3), 30, np.uint8) + (np.indices((48, 64)).sum(0) // (4 + n % 3) % 2 * 150)[..., None].astype(
            np.uint8
        ) + np.uint8(n) for n in range(30)],
        "other product",
    ),
    "another size": ([good_part(seed, 90, 120) for seed in range(30)], "120x90 px, known good parts have 64x48 px"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_SAMPLES)
def test_bad_samples_are_refused_with_numbers_and_the_live_version_stays(place, edge, kind):
    pictures, words = BAD_SAMPLES[kind]
    # a bundle made before samples were remembered knows neither product nor size
    if kind == "mostly defects":
        edge("rollback", "--bundle", "plate")
    before = load_bundle(place / "plate").sha256
    folder_of(place / "bad", pictures)
    refused(edge("recalibrate", "bad", "--bundle", "plate"), place / "plate", before, 2, words)


def test_unreadable_pictures_are_counted_and_too_many_of_them_refused(place, edge):
    before = load_bundle(place / "plate").sha256
    folder_of(place / "torn", [dimmed(good_part(seed)) for seed in range(25)])
    for file in sorted((place / "torn").iterdir())[:10]:
        file.write_bytes(file.read_bytes()[:100])
    result = edge("recalibrate", "torn", "--bundle", "plate")
    refused(result, place / "plate", before, 2, "15 samples are too few", "10 unreadable")


def test_wrong_command_lines_say_what_is_wanted(place, edge, subtests):
    before = load_bundle(place / "plate").sha256
    for arguments, words in [
        ((), "recalibrate takes new pictures"),
        (("new", "--from-records"), "recalibrate takes new pictures"),
        (("new", "--since", "8h"), "--since and --until choose among the records"),
        (("nowhere",), "nowhere: no such folder"),
        (("--from-records", "--record-dir", "nothing"), "no records at"),
    ]:
        with subtests.test(arguments=arguments):
            refused(edge("recalibrate", *arguments, "--bundle", "plate"), place / "plate", before, 2, words)


def test_the_bundle_that_comes_with_the_program_is_not_changed(place, edge):
    assert_refused(edge("recalibrate", "new"), 2, "which bundle shall be recalibrated?")
