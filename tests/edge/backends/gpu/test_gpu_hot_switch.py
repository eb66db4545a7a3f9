"""A line on a GPU takes versions up: opened, tried and closed in another thread than the one that judges."""

import threading
from dataclasses import replace

import pytest

pytest.importorskip("openvino", reason="openvino is not installed: no bundle can be followed")

from edge.backends.gpu.gpu_backend import REOPEN_FIRST_S
from edge.bundles.bundle import load_bundle
from edge.bundles.candidate import Candidate, read_reports, write_candidate
from edge.bundles.history import Audit
from edge.bundles.versions import commit_version, roll_back, stage_version
from edge.core.datatypes import Decision
from edge.inspection.inspector import Inspector
from tests.fakes import eventually
from tests.running_line import RunningLine


@pytest.fixture
def running(line_of, bundle_path, monkeypatch):
    """A line on the fake GPU, and what its backends were used by: (what, thread) of every call."""
    monkeypatch.setattr("edge.inspection.hot_swap.TRY_AGAIN_S", 0.2)
    used, made = [], []

    def opened(bundle, count):
        made.append(line_of(bundle))
        backend, calibration = made[-1].backend(), made[-1].calibration
        for name in ("score", "close"):
            call = getattr(backend, name)
            monkeypatch.setattr(backend, name, noted(bundle.sha256, name, call))
        note(bundle.sha256, "open")
        assert count == 1
        thresholds = calibration.threshold, calibration.pixel_threshold
        return [Inspector(backend, bundle.preprocess, *thresholds, bundle.sha256)]

    def noted(sha256, name, call):
        def wrapped(*arguments):
            note(sha256, name)
            return call(*arguments)

        return wrapped

    def note(sha256, name):
        used.append((sha256, name, threading.current_thread().name))

    started = RunningLine(bundle_path, opened, pause_s=0.005)
    started.used, started.made = used, made
    yield started
    if not started.supply.stopped:
        started.end()


def changed(path, make, threshold):
    bundle = load_bundle(path)
    calibration = replace(bundle.calibration("fp32"), threshold=threshold)
    parts = {"calibration_fp32": ("calibration_fp32.npz", calibration.to_bytes())}
    return make(bundle, bundle.manifest, parts, Audit("threshold"))


def threads_of(line, sha256, name):
    return {thread for version, what, thread in line.used if (version, what) == (sha256, name)}


def test_versions_come_and_go_while_the_line_judges_and_leave_nothing_on_the_gpu(running, bundle_path):
    before = load_bundle(bundle_path)
    after = changed(bundle_path, commit_version, 0.0)
    assert running.judges_with(after.sha256)
    roll_back(bundle_path)
    assert running.judges_with(before.sha256)
    assert eventually(lambda: threads_of(running, after.sha256, "close") == {"poller"})
    verdicts = running.end()
    assert [verdict.frame_index for verdict in verdicts] == list(range(running.supply.given))
    assert {verdict.decision for verdict in verdicts} == {Decision.OK, Decision.NG}
    assert threads_of(running, after.sha256, "open") == {"poller"}
    assert threads_of(running, after.sha256, "score") == {"poller", "inspection"}


def test_a_candidate_judges_beside_the_live_version_and_leaves_nothing(running, bundle_path):
    staged = changed(bundle_path, stage_version, 1.0)
    write_candidate(bundle_path, Candidate(version=staged.sha256, frames=12))
    assert eventually(lambda: [report.state for report in read_reports(bundle_path, staged.sha256)] == ["finished"])
    (report,) = read_reports(bundle_path, staged.sha256)
    assert (report.compared, report.new_rejects) == (12, 0)
    assert threads_of(running, staged.sha256, "score") == {"poller", "candidate"}
    assert all(verdict.decision is not Decision.INVALID for verdict in running.end())


def test_a_version_without_room_on_the_gpu_is_refused_until_there_is(running, bundle_path, gpu):
    before = load_bundle(bundle_path)
    taken, room = sum(map(len, gpu.device.values())), gpu.memory_bytes
    gpu.memory_bytes = taken + 1000
    after = changed(bundle_path, commit_version, 0.0)
    assert eventually(lambda: "REFUSED" in running.counters.bundle_state)
    assert "out of memory" in running.counters.bundle_state
    assert running.goes_on()
    assert running.sink.verdicts[-1].bundle_sha256 == before.sha256
    gpu.memory_bytes = room
    assert running.judges_with(after.sha256)
    assert all(verdict.decision is not Decision.INVALID for verdict in running.end())


def test_a_version_that_gives_no_number_when_tried_leaves_nothing_on_the_gpu(running, bundle_path, gpu):
    used = len(gpu.device)

    def refusing(bundle, count):
        inspectors = opened(bundle, count)
        kernels = running.made[-1].kernels[-1]
        read = kernels.read
        kernels.read = lambda result: replace(read(result), score=float("nan"))
        return inspectors

    opened, running.watch._open = running.watch._open, refusing
    after = changed(bundle_path, commit_version, 0.0)
    assert eventually(lambda: "not finite" in running.counters.bundle_state)
    assert eventually(lambda: len(running.made) >= 3)
    running.watch._open = opened
    assert running.judges_with(after.sha256)
    assert eventually(lambda: len(gpu.device) == used)


def test_a_device_lost_beside_a_candidate_is_reset_once_and_comes_back_for_the_line(running, bundle_path, gpu):
    staged = changed(bundle_path, stage_version, 1.0)
    write_candidate(bundle_path, Candidate(version=staged.sha256, frames=10**6))
    assert eventually(lambda: [report.state for report in read_reports(bundle_path, staged.sha256)] == ["running"])
    gpu.lose()
    assert running.sink.wait_until(lambda verdicts: verdicts[-1].decision is Decision.INVALID)

    def comes_back():
        for made in running.made:
            made.now_s += REOPEN_FIRST_S / 50
        return running.sink.verdicts[-1].decision is not Decision.INVALID

    assert eventually(comes_back)
    # what the candidate still held was let go of first, or it would have been taken away from under its hands
    assert gpu.counts["reset"] == 1
    assert running.goes_on()
    assert Decision.INVALID not in {verdict.decision for verdict in running.end()[-20:]}
