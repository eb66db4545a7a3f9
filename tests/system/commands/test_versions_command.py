"""Versions through the command line: a running line that follows its bundle, the way back, and what can be replayed."""

import json
import signal

from edge.bundles.bundle import load_bundle
from edge.bundles.history import Audit
from edge.bundles.versions import KEPT_VERSIONS
from tests.bundle_edits import commit_threshold
from tests.fakes import write_picture
from tests.small_bundle import good_part
from tests.system.command_line import assert_refused, edge, rows, running

HAND = Audit("threshold", note="tried by hand")


def test_a_running_line_follows_its_bundle_and_every_verdict_can_be_replayed(moving_line, bundle_path, tmp_path):
    before = load_bundle(bundle_path)
    command = ("--camera", moving_line, "--fps", 40, "--bundle", bundle_path, "--json")
    with running(*command, cwd=tmp_path) as line:
        line.wait_for_count(10)
        after = commit_threshold(load_bundle(bundle_path), 0.0, HAND)
        line.wait_for(lambda told: told[-1]["bundle_sha256"] == after.sha256)
        assert edge("rollback", "--bundle", bundle_path, cwd=tmp_path).returncode == 0
        line.wait_for(lambda told: told[-1]["bundle_sha256"] == before.sha256 and len(told) > 20)
        line.signal(signal.SIGINT)
        line.ended()
    told = line.verdicts
    assert [verdict["frame_index"] for verdict in told] == list(range(len(told)))
    recorded = rows(tmp_path / "records", "id, bundle_sha256, image_state")
    assert [sha256 for _, sha256, _ in recorded] == [verdict["bundle_sha256"] for verdict in told]
    for sha256 in (before.sha256, after.sha256):
        ids = [number for number, version, image in recorded if (version, image) == (sha256, "stored")]
        result = edge("replay", ids[0], "--bundle", bundle_path, cwd=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "same" in result.stdout


def test_the_history_says_what_happened_and_where_one_can_go_back_to(bundle_path, tmp_path):
    before = load_bundle(bundle_path)
    after = commit_threshold(load_bundle(bundle_path), 0.75, HAND)
    result = edge("history", "--bundle", bundle_path, cwd=tmp_path)
    assert result.returncode == 0
    for words in ("threshold by", "tried by hand", "to threshold 0.7500", f"live  {after.sha256[:16]}"):
        assert words in result.stdout
    told = json.loads(edge("history", "--bundle", bundle_path, "--json", cwd=tmp_path).stdout)
    assert told["changes"][-1]["before"] == before.sha256
    assert told["changes"][-1]["happened"]
    assert [version["live"] for version in told["kept"]][:2] == [True, False]


def test_going_back_to_a_version_that_is_not_kept_names_those_that_are(bundle_path, tmp_path):
    first = load_bundle(bundle_path).sha256
    for step in range(KEPT_VERSIONS + 1):
        kept = commit_threshold(load_bundle(bundle_path), 0.5 + step / 100, HAND)
    result = edge("rollback", "--bundle", bundle_path, "--to", first[:8], cwd=tmp_path)
    assert_refused(result, 4, f"no version {first[:8]} is kept", kept.sha256[:16])
    assert load_bundle(bundle_path).sha256 == kept.sha256


def test_a_candidate_becomes_live_after_running_beside_the_live_version(bundle_path, tmp_path):
    (tmp_path / "new").mkdir()
    for number in range(40):
        write_picture(tmp_path / "new" / f"part{number:03d}.png", good_part(500 + number))
    before = load_bundle(bundle_path).sha256
    # a line that never ends, whose parts both versions reject
    command = ("--camera", "demo", "--fps", 10, "--bundle", bundle_path, "--json", "--no-record")
    with running(*command, cwd=tmp_path) as line:
        line.wait_for_count(5)
        result = edge("recalibrate", "new", "--bundle", bundle_path, "--shadow", 10, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        after = load_bundle(bundle_path).sha256
        line.wait_for(lambda told: told[-1]["bundle_sha256"] == after)
        line.signal(signal.SIGINT)
        line.ended()
    assert "trial: 10 frames judged by both" in result.stderr
    assert {verdict["bundle_sha256"] for verdict in line.verdicts} == {before, after}
    assert not (bundle_path / "candidate.json").exists()
