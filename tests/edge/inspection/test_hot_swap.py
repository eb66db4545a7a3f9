"""A running inspection and its bundle: new versions taken up between two frames, refused ones, candidates beside it."""

import io
import itertools
from dataclasses import replace

import pytest

pytest.importorskip("openvino", reason="openvino is not installed: no network can run")

from edge.backends import open_backends
from edge.bundles.bundle import MANIFEST, load_bundle, write_atomically
from edge.bundles.candidate import Candidate, read_reports, shadow_folder, withdraw_candidate, write_candidate
from edge.bundles.history import Audit
from edge.bundles.learning import LEARNING, note_learning
from edge.bundles.signature import make_keys, sign
from edge.bundles.versions import commit_version, roll_back, stage_version
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.errors import ModelError
from edge.inspection.drift_watch import drift_monitor
from edge.inspection.inspector import Inspector
from edge.inspection.inspector_pool import InspectorPool
from edge.inspection.inspectors import make_inspector
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.live_view import PlainView
from edge.monitoring.run_statistics import RunStatistics
from tests.bundle_edits import commit_threshold, with_threshold
from tests.edge.monitoring.drift.parts import CHANGES, moment, reference_of
from tests.edge.records.records_fakes import wait_for
from tests.fakes import eventually, frame
from tests.running_line import RunningLine
from tests.small_bundle import good_part


def inspectors_of(bundle, count):
    calibration = bundle.calibration("int8")
    return [
        Inspector(backend, bundle.preprocess, calibration.threshold, calibration.pixel_threshold, bundle.sha256)
        for backend in open_backends(bundle, "openvino", "int8", 1, count)
    ]


@pytest.fixture
def line(bundle_path, monkeypatch):
    monkeypatch.setattr("edge.inspection.hot_swap.TRY_AGAIN_S", 0.2)
    lines = []

    def start(**options):
        lines.append(RunningLine(bundle_path, inspectors_of, **options))
        return lines[-1]

    yield start
    for started in lines:
        if not started.supply.stopped:
            started.end()


def stage_threshold(path, threshold):
    bundle = load_bundle(path)
    return stage_version(bundle, bundle.manifest, with_threshold(bundle, threshold), Audit("candidate"))


@pytest.mark.parametrize(("threads", "live"), [(1, True), (3, False)], ids=["live", "files"])
def test_a_new_version_takes_over_between_two_frames_and_none_is_lost(line, bundle_path, threads, live):
    before = load_bundle(bundle_path)
    started = line(threads=threads, live=live)
    after = commit_threshold(load_bundle(bundle_path), 0.0)
    assert started.judges_with(after.sha256)
    roll_back(bundle_path)
    assert started.judges_with(before.sha256)
    verdicts = started.end()
    assert [verdict.frame_index for verdict in verdicts] == list(range(started.supply.given))
    versions = [verdict.bundle_sha256 for verdict in verdicts]
    changes = [version for version, _ in itertools.groupby(versions)]
    assert changes == [before.sha256, after.sha256, before.sha256]
    thresholds = {before.sha256: before.calibration("int8").threshold, after.sha256: 0.0}
    assert all(verdict.threshold == thresholds[verdict.bundle_sha256] for verdict in verdicts)
    assert started.counters.switches == 2


def test_a_damaged_version_is_refused_the_old_one_goes_on_and_mending_it_is_enough(line, bundle_path, caplog):
    before = load_bundle(bundle_path)
    started = line()
    after = stage_threshold(bundle_path, 0.0)
    file = bundle_path / after.manifest.files["calibration_int8"].name
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    write_atomically(bundle_path / MANIFEST, (bundle_path / f"manifest.{after.sha256[:16]}.json").read_bytes())
    assert eventually(lambda: "REFUSED" in started.counters.bundle_state)
    assert started.goes_on()
    assert started.sink.verdicts[-1].bundle_sha256 == before.sha256
    assert "is damaged" in caplog.text
    file.write_bytes(whole)
    assert started.judges_with(after.sha256)


def test_a_version_that_fails_when_it_is_tried_is_refused_and_what_was_opened_is_closed(line, bundle_path, monkeypatch):
    before = load_bundle(bundle_path)
    started = line()
    opened, closed = [], []

    def failing(bundle, count):
        made = inspectors_of(bundle, count)
        for inspector in made:
            opened.append(inspector.backend)
            monkeypatch.setattr(inspector.backend, "score", fail)
            monkeypatch.setattr(inspector.backend, "close", lambda backend=inspector.backend: closed.append(backend))
        return made

    def fail(image, clock):
        raise ModelError("out of memory", fix="none")

    monkeypatch.setattr(started.watch, "_open", failing)
    after = commit_threshold(load_bundle(bundle_path), 0.0)
    assert eventually(lambda: "REFUSED: out of memory" in started.counters.bundle_state)
    # it is tried again, and again nothing stays
    assert eventually(lambda: len(closed) >= 2)
    assert started.goes_on()
    assert started.sink.verdicts[-1].bundle_sha256 == before.sha256
    monkeypatch.setattr(started.watch, "_open", inspectors_of)
    assert started.judges_with(after.sha256)
    assert closed == opened


def test_half_a_manifest_is_refused_and_the_old_version_goes_on(line, bundle_path, caplog):
    before = load_bundle(bundle_path)
    started = line()
    whole = (bundle_path / MANIFEST).read_bytes()
    (bundle_path / MANIFEST).write_bytes(whole[:100])
    assert eventually(lambda: "REFUSED" in started.counters.bundle_state)
    assert started.goes_on()
    assert started.sink.verdicts[-1].bundle_sha256 == before.sha256
    assert "not valid JSON" in caplog.text


def test_a_version_that_is_not_signed_waits_until_it_is(line, bundle_path, tmp_path):
    pytest.importorskip("cryptography", reason="cryptography is not installed: nothing can be signed")
    private = tmp_path / "maker.pem"
    public = make_keys(private)
    sign(load_bundle(bundle_path), private)
    started = line(public_key=public)
    after = commit_threshold(load_bundle(bundle_path), 0.0)
    assert eventually(lambda: "is not signed" in started.counters.bundle_state)
    assert started.goes_on()
    assert after.sha256 not in {verdict.bundle_sha256 for verdict in started.sink.verdicts}
    sign(after, private)
    assert started.judges_with(after.sha256)


def test_another_region_of_interest_needs_a_restart(line, bundle_path, caplog):
    started = line()
    bundle = load_bundle(bundle_path)
    region = bundle.manifest.preprocess.model_copy(update={"rectangle": (0, 0, 32, 32)})
    commit_version(bundle, bundle.manifest.model_copy(update={"preprocess": region}), {}, Audit("calibrate"))
    assert eventually(lambda: "REFUSED" in started.counters.bundle_state)
    assert "restart edge-inspect" in caplog.text


def test_a_candidate_runs_beside_the_live_version_and_tells_where_they_disagree(line, bundle_path):
    live = load_bundle(bundle_path)
    started = line()
    staged = stage_threshold(bundle_path, 1.0)
    write_candidate(bundle_path, Candidate(version=staged.sha256, frames=60))
    assert eventually(lambda: [report.state for report in read_reports(bundle_path, staged.sha256)] == ["finished"])
    withdraw_candidate(bundle_path)
    verdicts = started.end()
    (report,) = read_reports(bundle_path, staged.sha256)
    assert (report.version, report.against, report.compared) == (staged.sha256, live.sha256, 60)
    # the candidate rejects nothing: every part with a scratch is one that only the live version rejects
    assert report.new_rejects == 0
    assert report.fewer_rejects > 0
    rejected = {verdict.frame_index for verdict in verdicts if str(verdict.decision) == "NG"}
    assert {said.frame_index for said in report.disagreements} <= rejected
    assert len(report.disagreements) == report.fewer_rejects
    assert all(
        (shadow_folder(bundle_path, staged.sha256) / str(said.picture)).exists() for said in report.disagreements
    )
    assert {verdict.bundle_sha256 for verdict in verdicts} == {live.sha256}


def test_a_candidate_that_cannot_be_opened_is_refused_in_its_report(line, bundle_path):
    started = line()
    staged = stage_threshold(bundle_path, 1.0)
    (bundle_path / staged.manifest.files["calibration_int8"].name).write_bytes(b"")
    write_candidate(bundle_path, Candidate(version=staged.sha256, frames=10))
    assert eventually(lambda: [report.state for report in read_reports(bundle_path, staged.sha256)] == ["refused"])
    assert "damaged" in read_reports(bundle_path, staged.sha256)[0].reason
    assert started.goes_on()


def test_a_trial_ends_when_another_version_becomes_live(line, bundle_path):
    started = line()
    staged = stage_threshold(bundle_path, 1.0)
    write_candidate(bundle_path, Candidate(version=staged.sha256, frames=10**6))
    assert eventually(lambda: [report.state for report in read_reports(bundle_path, staged.sha256)] == ["running"])
    after = commit_threshold(load_bundle(bundle_path), 0.5)
    assert eventually(lambda: [report.state for report in read_reports(bundle_path, staged.sha256)] == ["ended"])
    assert started.judges_with(after.sha256)


def test_the_view_hears_what_is_learned_beside_the_line(line, bundle_path):
    started = line()
    note_learning(bundle_path, "learning", "learning a better version")
    assert eventually(lambda: started.counters.learning_state == "learning a better version")
    statistics = RunStatistics()
    view = PlainView(started.counters, statistics, io.StringIO(), every_s=60)
    assert "learning a better version" in view.line()
    view.close()
    (bundle_path / LEARNING).write_bytes(b"{")
    assert eventually(lambda: not started.counters.learning_state)
    assert started.goes_on()


def test_as_many_inspectors_follow_as_there_were():
    with pytest.raises(ValueError, match="1 inspectors for 0 threads"):
        InspectorPool([]).replace([object()])


def test_parts_are_compared_with_what_the_version_that_judged_them_was_calibrated_on(bundle_path):
    def committed(parts, threshold, change=lambda picture: picture):
        bundle = load_bundle(bundle_path)
        pictures = (change(good_part(seed)) for seed in range(parts))
        drift = {"drift": ("drift.npz", reference_of(pictures, bundle.preprocess).to_bytes())}
        return commit_version(
            bundle, bundle.manifest, drift | with_threshold(bundle, threshold), Audit("calibrate")
        )  # fmt: skip

    settings, counters = Settings.model_validate({"inspection": {"precision": "int8"}}), RunCounters()
    first = committed(24, 0.9)
    watch = drift_monitor(first, settings, counters, AlarmLog(counters, lambda alarm: None))
    dark = committed(32, 0.8, CHANGES["light down"])
    told = []
    for live in (first, dark, roll_back(bundle_path)):
        inspector = make_inspector(live, settings)
        for index in range(48):
            image = good_part(3000 + index)
            taken = replace(frame(index, CHANGES["light down"](image) if live is dark else image), utc=moment(index))
            watch.write(taken, inspector.inspect(taken))
            wait_for(lambda: watch._worker.waiting == 0)
        told.append(counters.drift_state)
        inspector.backend.close()
    watch.close()
    assert told == [f"compared with {parts} parts of the calibration" for parts in (24, 32, 24)]
    assert counters.alarms.all() == []
