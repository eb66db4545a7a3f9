"""A version from the machine that made it to a line that runs: published, fetched by HTTPS, tried, live, reported."""

import json
import signal

import pytest
import yaml

pytest.importorskip("cryptography", reason="cryptography is not installed: nothing can be signed")

from edge.bundles.bundle import load_bundle
from tests.bundle_edits import commit_threshold
from tests.edge.fleet.channel.tls_server import Authority, tls_server
from tests.edge.records.records_fakes import wait_for
from tests.system.command_line import WAIT_S, assert_refused, edge_here, running


def test_a_published_version_is_tried_and_judges_on_a_line_that_runs(bundle_path, moving_line, here, tmp_path):
    def edge(*arguments):
        return edge_here(here, *arguments)

    def published(threshold):
        commit_threshold(load_bundle(bundle_path), threshold)
        return edge("channel", "publish", bundle_path, "--to", "channel", "--key", "maker.pem")

    assert edge("bundle", "keygen", "--key", "maker.pem").returncode == 0
    live = tmp_path / "live"
    threshold = load_bundle(bundle_path).calibration("int8").threshold
    authority = Authority(tmp_path)
    (tmp_path / "channel").mkdir()
    with tls_server(tmp_path / "channel", authority.certificate("server")) as (_, address):
        settings = {
            "camera": {"fps": 40},
            "inspection": {"bundle": str(live), "signed_by": "maker.pem.pub"},
            "channel": {
                "source": address, "report": f"{address}/reports", "ca_file": str(authority.file),
                "box": "left", "ring": 1, "trial_frames": 15,
            },
        }  # fmt: skip
        (tmp_path / "box.yaml").write_text(yaml.safe_dump(settings))
        follow = ("channel", "follow", "--config", "box.yaml", "--once")
        result = published(threshold)
        assert "version 1 of plate" in result.stderr and "ring 1 (1 % of boxes)" in result.stderr
        first = edge(*follow)
        assert first.returncode == 0 and "version 1 of plate is live, the first on this box" in first.stderr
        with running("run", "--camera", moving_line, "--config", "box.yaml", "--json", cwd=tmp_path) as run:
            run.wait_for_count(3)
            published(threshold * 1.01)
            second = edge(*follow)
            assert second.returncode == 0, second.stderr
            assert "trial: 15 frames judged by both, 0 differently" in second.stderr
            taken = load_bundle(live).sha256
            run.wait_for(lambda verdicts: verdicts[-1]["bundle_sha256"] == taken)
            published(10.0)
            third = edge(*follow)
            assert third.returncode == 4
            assert "is refused: of 15 frames of this line" in third.stderr and "channel.trial_limit" in third.stderr
            assert load_bundle(live).sha256 == taken
            seen = len(run.verdicts)
            run.wait_for_count(seen + 3)
            assert run.verdicts[-1]["bundle_sha256"] == taken
            run.signal()
            assert run.ended() == 130
        report = json.loads((tmp_path / "channel" / "reports" / "left.json").read_text())
        assert (report["state"], report["version"], report["bundle"]) == ("refused", 3, taken)
        halted = edge("channel", "advance", "channel", "--key", "maker.pem")
        assert halted.returncode == 1
        assert (
            "version 3: halted; 1 of 1 boxes with version 3 got worse: left: refused it: version 3 (" in halted.stderr
        )
        told = edge(*follow)
        assert told.returncode == 1


def test_a_follower_that_runs_takes_each_version_and_ends_at_a_stop(bundle_path, here, tmp_path):
    def published(threshold):
        commit_threshold(load_bundle(bundle_path), threshold)
        assert edge_here(here, "channel", "publish", bundle_path, "--to", "c", "--key", "k.pem").returncode == 0
        return threshold

    def is_live(threshold):
        live = tmp_path / "live"
        return (live / "manifest.json").exists() and load_bundle(live).calibration("int8").threshold == threshold

    assert edge_here(here, "bundle", "keygen", "--key", "k.pem").returncode == 0
    (tmp_path / "config.yaml").write_text("channel: {signed_by: k.pem.pub, poll_s: 1, trial_frames: 0}\n")
    with running("channel", "follow", "c", "--bundle", "live", "--ring", 1, cwd=tmp_path) as run:
        wait_for(lambda: "waiting: " in run.errors, WAIT_S)
        for threshold in (0.4, 0.41):
            published(threshold)
            wait_for(lambda threshold=threshold: is_live(threshold), WAIT_S)
        run.signal(signal.SIGTERM)
        assert run.ended() == 130
    assert "following c every 1 s" in run.errors
    assert "channel.json: No such file or directory" in run.errors
    assert run.errors.count("waiting: ") == 1 and "Traceback" not in run.errors


def test_the_command_says_what_it_lacks(here, bundle_path, tmp_path):
    def edge(*arguments):
        return edge_here(here, "channel", *arguments)

    assert_refused(edge("publish", bundle_path), 2, "--to FOLDER --key PRIVATE_KEY")
    assert_refused(edge("publish", bundle_path, "--to", "c", "--key", "none.pem"), 2, "none.pem: No such file")
    assert_refused(edge("advance", "c"), 2, "give FOLDER --key PRIVATE_KEY")
    assert_refused(edge("advance", "c", "--key", "k", "--ring", 2, "--halt", "x"), 2, "give one of them")
    assert_refused(edge("follow", "http://updates.example/", "--bundle", bundle_path), 2, "only https:// is followed")
    assert_refused(edge("follow", "c", "--bundle", bundle_path, "--once"), 2, "channel.signed_by is null")
    assert_refused(edge("follow", "--once"), 2, "channel.source is null")
