"""A version of a channel beside a running line: tried on the line's own frames before it becomes live, or not taken."""

import shutil

import pytest

pytest.importorskip("openvino", reason="openvino is not installed: no network can run")

from edge.bundles.bundle import load_bundle
from edge.bundles.history import read_history
from edge.bundles.signature import make_keys, sign
from edge.bundles.versions import roll_back
from edge.fleet.channel.publish import advance
from tests.bundle_edits import commit_threshold
from tests.edge.fleet.channel.conftest import Box, Channel
from tests.edge.inspection.test_hot_swap import inspectors_of
from tests.fakes import eventually
from tests.running_line import RunningLine


@pytest.fixture
def small(bundle_path, tmp_path, _keys):
    """(channel, box) of a tiny bundle that judges hundreds of frames a second."""
    source = shutil.copytree(bundle_path, tmp_path / "made" / "plate")
    channel = Channel(tmp_path / "channel", source, *_keys)
    settings = {
        "source": str(channel.folder), "signed_by": str(channel.public), "ring": 1, "trial_frames": 50, "box": "left",
        "report": str(channel.folder / "reports"),
    }  # fmt: skip
    return channel, Box(bundle_path, settings)


@pytest.fixture
def line(small, monkeypatch):
    monkeypatch.setattr("edge.bundles.shadow_trial._LOOK_EVERY_S", 0.05)
    started = RunningLine(small[1].bundle, inspectors_of)
    yield started
    end(started, small[1].bundle)


def end(line, bundle):
    """As soon as it has taken up what is live."""
    assert eventually(lambda: line.watch.live.sha256 == load_bundle(bundle).sha256)
    assert line.goes_on()
    line.end()


def threshold_of(bundle):
    return load_bundle(bundle).calibration("int8").threshold


def test_a_version_that_agrees_is_tried_and_taken_by_the_running_line(small, line):
    channel, box = small
    channel.publish(threshold_of(channel.source) * 1.01)
    report = box.takes()
    assert (report.trial.compared, report.trial.disagreed) == (50, 0)
    assert line.judges_with(report.bundle)
    assert "trial: 50 frames judged by both, 0 differently" in read_history(box.bundle)[-1].note
    assert any("is tried beside the live version for 50 frames" in words for words in box.said)


def test_a_version_that_disagrees_is_refused_once_and_the_next_one_tried(small, line):
    channel, box = small
    good = threshold_of(channel.source)
    channel.publish(1.0)
    found = box.refuses(
        "of 50 frames of this line", "were judged differently, more than the 1.0% of channel.trial_limit"
    )
    assert found.report.trial.disagreed == found.report.trial.fewer_rejects > 10
    assert line.goes_on()
    again = box.look()
    assert (again.failure, again.report.state) == (None, "refused")
    assert again.report.why.startswith("of 50 frames of this line")
    advance(channel.folder, channel.key, ring=2)
    assert box.look().report.state == "refused"
    channel.publish(good * 1.01)
    assert box.takes().version == 2


def test_a_wider_ring_during_the_trial_is_no_reason_to_begin_it_anew(small, line):
    channel, box = small
    channel.publish(threshold_of(channel.source) * 1.01)
    box.said = Listening(lambda: advance(channel.folder, channel.key, ring=2))
    report = box.takes()
    assert (report.revision, report.trial.compared) == (1, 50)


def test_a_version_that_the_line_cannot_run_is_refused_and_tried_again(small, monkeypatch, tmp_path):
    channel, box = small
    monkeypatch.setattr("edge.bundles.shadow_trial._LOOK_EVERY_S", 0.05)
    other = make_keys(tmp_path / "line.pem")
    sign(load_bundle(box.bundle), tmp_path / "line.pem")
    started = RunningLine(box.bundle, inspectors_of, public_key=other)
    try:
        channel.publish(threshold_of(channel.source) * 1.01)
        box.refuses("the trial was refused", "signed by key")
        box.refuses("the trial was refused", "signed by key")
    finally:
        end(started, box.bundle)


def test_what_somebody_makes_live_by_hand_is_live(small, line):
    channel, box = small
    published = channel.publish(1.0)
    box.refuses("were judged differently")
    roll_back(box.bundle, published.channel.manifest.sha256)
    assert box.takes().why == ""


def test_going_back_needs_no_trial_which_it_could_not_pass(small, line, monkeypatch):
    channel, box = small
    good = threshold_of(channel.source)
    channel.publish(good)
    box.takes()
    channel.publish(1.0)
    box.takes(trial_limit=1.0)
    channel.publish(good)
    report = box.takes()
    assert report.trial is None
    assert "it was live on this box before" in read_history(box.bundle)[-1].note
    assert line.judges_with(report.bundle)


def test_without_a_running_line_a_version_waits(small, monkeypatch):
    channel, box = small
    monkeypatch.setattr("edge.bundles.shadow_trial._TAKEN_UP_S", 0.2)
    channel.publish(threshold_of(channel.source) * 1.01)
    words = "is here and not tried: no running edge-inspect took the candidate up", "channel.trial_frames: 0 takes"
    box.refuses(*words, state="waiting")
    monkeypatch.undo()
    assert not (box.bundle / "candidate.json").exists()
    # it is here by now, and a line can run
    started = RunningLine(box.bundle, inspectors_of)
    try:
        report = box.takes()
        assert started.judges_with(report.bundle)
    finally:
        end(started, box.bundle)


def test_a_version_that_is_halted_during_its_trial_is_not_taken(small, line):
    channel, box = small
    channel.publish(threshold_of(channel.source) * 1.01)
    box.said = Listening(lambda: advance(channel.folder, channel.key, halt="a slip"))
    box.refuses("the channel changed during the trial", state="waiting")
    assert box.look().report.state == "halted"


def test_what_is_published_or_made_live_during_a_trial_ends_it_without_a_change(small, line):
    channel, box = small
    good = threshold_of(channel.source)
    channel.publish(good * 1.01)
    box.said = Listening(lambda: channel.publish(good * 1.02))
    box.refuses("the channel changed during the trial", state="waiting")
    box.said = Listening(lambda: commit_threshold(load_bundle(box.bundle), good * 1.03))
    found = box.look()
    assert found.report.state == "waiting"
    assert "the live version was changed meanwhile" in str(found.failure)
    assert threshold_of(box.bundle) == good * 1.03


class Listening(list):
    """Does something as soon as the trial begins."""

    def __init__(self, begin):
        self._begin = begin

    def append(self, words):
        super().append(words)
        if "is tried beside" in words:
            self._begin()
