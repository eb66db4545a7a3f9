"""`edge-inspect challenge` on a tiny real bundle, a line that will not start without it, and one that outruns it."""

import json
import signal

import pytest

from edge.bundles.bundle import load_bundle
from edge.core.config import Settings
from edge.core.errors import ChallengeError
from edge.inspection.challenges.readiness import require_challenge
from tests.fakes import MjpegCamera, write_picture
from tests.small_bundle import bad_part, good_part
from tests.system.command_line import assert_refused, edge_here, running


@pytest.fixture
def golden(tmp_path):
    """Three good parts, and a defective one in a folder of its own."""
    folder = tmp_path / "golden"
    for name, part, count in (("good", good_part, 3), ("scratched", bad_part, 1)):
        (folder / name).mkdir(parents=True)
        for seed in range(count):
            write_picture(folder / name / f"{seed}.png", part(600 + seed))
    return folder


def test_golden_parts_and_defects_that_come_out_right_make_the_line_ready(bundle_path, golden, here, tmp_path):
    made = edge_here(here, "challenge", "--bundle", bundle_path, "--data", golden, "--out", tmp_path / "sheet")
    assert made.returncode == 0, made.stdout + made.stderr
    assert "READY: 3 of 3 golden parts OK, 19 of 19 defects found" in made.stdout
    assert "WRONG" not in made.stdout
    assert len(list((tmp_path / "sheet").iterdir())) == 22
    shown = edge_here(here, "challenge", "--bundle", bundle_path, "--show", "--json")
    assert shown.returncode == 0
    assert [each["ready"] for each in json.loads(shown.stdout)["challenges"]] == [True]


def test_a_threshold_that_lets_defects_pass_makes_it_not_ready_until_it_is_mended(bundle_path, golden, here):
    challenge = ("challenge", "--bundle", bundle_path, "--data", golden)
    assert edge_here(here, *challenge).returncode == 0
    assert edge_here(here, "threshold", "--bundle", bundle_path, "--set", 0.999).returncode == 0
    # what was shown of the version before says nothing of this one
    stale = edge_here(here, "challenge", "--bundle", bundle_path, "--show")
    assert stale.returncode == 1
    assert "was of bundle version" in stale.stdout
    failed = edge_here(here, *challenge)
    assert failed.returncode == 1
    assert "WRONG  synthetic" in failed.stdout
    assert "NOT READY: 3 of 3 golden parts OK, 0 of 19 defects found" in failed.stdout
    assert edge_here(here, "rollback", "--bundle", bundle_path).returncode == 0
    assert edge_here(here, *challenge).returncode == 0


def test_live_pictures_of_a_golden_part_get_defects_drawn_on_them(bundle_path, golden, here):
    made = edge_here(here, "challenge", "--bundle", bundle_path, "--camera", golden / "good", "--json")
    result = json.loads(made.stdout)
    assert (made.returncode, result["ready"]) == (0, True)
    assert [look["kind"] for look in result["looks"]].count("golden") == 3
    assert [look["kind"] for look in result["looks"]].count("synthetic") == 18


def test_a_challenge_without_anything_to_judge_is_refused(bundle_path, here, tmp_path):
    assert_refused(edge_here(here, "challenge", "--bundle", bundle_path), 2, "neither --camera nor --data")
    missing = ("challenge", "--bundle", bundle_path, "--data", tmp_path / "nowhere")
    assert_refused(edge_here(here, *missing), 2, "no such folder")


def test_a_line_that_needs_a_challenge_does_not_start_without_one(bundle_path, golden, here, tmp_path):
    (tmp_path / "config.yaml").write_text("challenge: {require: refuse}\n")
    run = ("--camera", "/dev/video9", "--bundle", bundle_path)
    assert_refused(
        edge_here(here, *run), 1, "the line is not ready: no challenge is on record", "edge-inspect challenge"
    )
    assert edge_here(here, "challenge", "--bundle", bundle_path, "--data", golden).returncode == 0
    # ready: now it is the camera that is missing
    assert edge_here(here, *run).returncode == 3
    # challenges are kept in the records: the option is refused as the setting would be
    assert_refused(edge_here(here, *run, "--no-record"), 2, "--no-record: challenge.require needs record.directory")
    # files are no line: they need no challenge in records that hold none
    files = ("--camera", golden / "good", "--bundle", bundle_path, "--record-dir", "other")
    assert edge_here(here, *files).returncode == 0


def test_a_running_line_is_not_ready_with_a_version_that_was_not_challenged_and_judges_on(
    bundle_path, golden, here, tmp_path
):
    (tmp_path / "config.yaml").write_text("challenge: {require: refuse}\n")
    challenge = ("challenge", "--bundle", bundle_path, "--data", golden)
    assert edge_here(here, *challenge).returncode == 0
    camera = MjpegCamera(show=good_part)
    with running("--camera", camera.url, "--bundle", bundle_path, "--json", cwd=tmp_path) as line:
        line.wait_for_count(5)
        assert "not ready" not in line.errors
        assert edge_here(here, "threshold", "--bundle", bundle_path, "--set", 0.75).returncode == 0
        after = load_bundle(bundle_path).sha256
        line.wait_for(lambda told: [one["bundle_sha256"] for one in told].count(after) > 5)
        line.signal(signal.SIGINT)
        line.ended()
    camera.kill()
    assert "ALARM the line is not ready: the last challenge, of " in line.errors
    assert "edge-inspect challenge --data FOLDER" in line.errors
    first = next(told["frame_index"] for told in line.verdicts if told["bundle_sha256"] == after)
    (alarm,) = json.loads(edge_here(here, "report", "--json").stdout)["alarms"]
    assert (alarm["kind"], alarm["first_frame"], alarm["ended"]) == ("not ready", first, None)


def test_doctor_tells_whether_a_line_that_needs_a_challenge_is_ready(bundle_path, golden, here, tmp_path):
    def finding():
        told = json.loads(edge_here(here, "doctor", "--bundle", bundle_path, "--json").stdout)["findings"]
        return [(each["state"], each["value"]) for each in told if each["name"] == "challenge"]

    assert finding() == []
    (tmp_path / "config.yaml").write_text("challenge: {require: refuse}\n")
    assert finding() == [("fail", "the line is not ready: no challenge is on record")]
    assert edge_here(here, "challenge", "--bundle", bundle_path, "--data", golden).returncode == 0
    assert finding() == [("ok", "passed; the line is ready")]


def test_a_line_that_wants_to_be_warned_is_warned_and_starts(bundle_path, tmp_path, caplog):
    settings = Settings.model_validate({"challenge": {"require": "warn"}, "record": {"directory": str(tmp_path)}})
    bundle = load_bundle(bundle_path)
    require_challenge(bundle, bundle.model_sha256("int8"), "0", settings)
    assert "the line is NOT READY: no challenge is on record" in caplog.text
    refusing = settings.model_copy(update={"challenge": settings.challenge.model_copy(update={"require": "refuse"})})
    with pytest.raises(ChallengeError):
        require_challenge(bundle, bundle.model_sha256("int8"), "0", refusing)
    require_challenge(bundle, bundle.model_sha256("int8"), "demo", refusing)
