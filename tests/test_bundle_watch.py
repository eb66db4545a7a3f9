"""A running inspection and its bundle: new versions taken up between two frames, refused ones, candidates beside it."""

import itertools
import threading
import time
from dataclasses import replace

import pytest

pytest.importorskip("openvino", reason="openvino is not installed: no network can run")

from edge.backends import open_backends
from edge.bundle import MANIFEST, load_bundle, write_atomically
from edge.bundle_history import Audit
from edge.bundle_watch import BundleWatch
from edge.config import FreshnessSettings, InspectionSettings, Settings
from edge.counters import RunCounters
from edge.inspector import Inspector
from edge.lineup import Lineup
from edge.loop import run_loop
from edge.shadow import Candidate, read_reports, shadow_folder, withdraw_candidate, write_candidate
from edge.signature import make_keys, require_signature, sign, trusted_bundle
from edge.versions import commit_version, roll_back, stage_version
from tests.fakes import WAIT_S, ListSink, ScriptedSupply, eventually, frame
from tests.small_bundle import bad_part, good_part

LOOK_EVERY_S = 0.02


def inspectors_of(bundle, count):
    calibration = bundle.calibration("int8")
    return [
        Inspector(backend, bundle.preprocess, calibration.threshold, calibration.pixel_threshold, bundle.sha256)
        for backend in open_backends(bundle, "openvino", "int8", 1, count)
    ]


class EndlessParts(ScriptedSupply):
    """Good parts, every fourth with a scratch, each another frame, as fast or as slowly as asked."""

    def __init__(self, live, pause_s=0.001):
        super().__init__([], live=live)
        self.given = 0
        self.stopped = False
        self._pause_s = pause_s
        self._pictures = [bad_part(seed) if seed % 4 == 3 else good_part(seed) for seed in range(8)]

    @property
    def ended(self):
        return self.stopped

    def take(self, timeout_s):
        if self.stopped:
            return None
        time.sleep(self._pause_s)
        self.given += 1
        return frame(self.given - 1, self._pictures[(self.given - 1) % 8])


class RunningLine:
    """A loop that follows a bundle, until `end`."""

    def __init__(self, path, threads=1, live=True, public_key=None):
        self.counters, self.sink = RunCounters(), ListSink()
        self.supply = EndlessParts(live)
        self._stop = threading.Event()
        bundle = load_bundle(path)

        def trust(version):
            if public_key is not None:
                require_signature(version, public_key)

        self.lineup = Lineup(inspectors_of(bundle, threads))
        self.watch = BundleWatch(
            bundle,
            self.lineup,
            self.counters,
            load=lambda: trusted_bundle(path, public_key),
            trust=trust,
            open_inspectors=inspectors_of,
            look_every_s=LOOK_EVERY_S,
        )
        settings = Settings(
            freshness=FreshnessSettings(max_age_ms=30_000), inspection=InspectionSettings(deadline_ms=30_000)
        )
        sinks = [self.sink, self.watch]
        self._thread = threading.Thread(
            target=run_loop,
            args=(self.supply, self.lineup, sinks, settings, self.counters),
            kwargs={"stop": self._stop},
            daemon=True,
        )
        self._thread.start()
        assert self.sink.wait_until(lambda verdicts: len(verdicts) > 20)

    def judges_with(self, sha256):
        return self.sink.wait_until(lambda verdicts: bool(verdicts) and verdicts[-1].bundle_sha256 == sha256)

    def goes_on(self):
        """It has judged twenty more frames."""
        count = len(self.sink.verdicts) + 20
        return self.sink.wait_until(lambda verdicts: len(verdicts) >= count)

    def end(self):
        self.supply.stopped = True
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        self.watch.close()
        assert not self.watch.busy
        self.lineup.close_retired()
        for inspector in self.lineup.inspectors:
            inspector.backend.close()
        return self.sink.verdicts


@pytest.fixture
def line(bundle_path, monkeypatch):
    monkeypatch.setattr("edge.bundle_watch.TRY_AGAIN_S", 0.2)
    lines = []

    def start(**options):
        lines.append(RunningLine(bundle_path, **options))
        return lines[-1]

    yield start
    for started in lines:
        if not started.supply.stopped:
            started.end()


def with_threshold(bundle, threshold):
    calibration = replace(bundle.calibration("int8"), threshold=threshold)
    return {"calibration_int8": ("calibration_int8.npz", calibration.to_bytes())}


def commit_threshold(path, threshold):
    bundle = load_bundle(path)
    return commit_version(bundle, bundle.manifest, with_threshold(bundle, threshold), Audit("threshold"))


def stage_threshold(path, threshold):
    bundle = load_bundle(path)
    return stage_version(bundle, bundle.manifest, with_threshold(bundle, threshold), Audit("candidate"))


@pytest.mark.parametrize(("threads", "live"), [(1, True), (3, False)], ids=["live", "files"])
def test_a_new_version_takes_over_between_two_frames_and_none_is_lost(line, bundle_path, threads, live):
    before = load_bundle(bundle_path)
    started = line(threads=threads, live=live)
    after = commit_threshold(bundle_path, 0.0)
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
    after = commit_threshold(bundle_path, 0.0)
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
    after = commit_threshold(bundle_path, 0.5)
    assert eventually(lambda: [report.state for report in read_reports(bundle_path, staged.sha256)] == ["ended"])
    assert started.judges_with(after.sha256)


def test_as_many_inspectors_follow_as_there_were():
    with pytest.raises(ValueError, match="1 inspectors for 0 threads"):
        Lineup([]).replace([object()])
