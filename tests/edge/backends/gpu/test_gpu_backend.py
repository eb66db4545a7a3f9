"""The whole GPU backend on a fake GPU: the same verdicts as on the CPU, one launch per frame, nothing left behind."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from edge.backends.aligning import AligningBackend
from edge.backends.base import KeptWarm
from edge.backends.gpu import gpu_tensorrt
from edge.backends.gpu.gpu_backend import REOPEN_FIRST_S
from edge.bundles.bundle import load_bundle
from edge.capture.images.image_reader import read_image
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision, Reason
from edge.core.errors import EngineError, ModelError
from edge.core.latency import StageClock
from edge.inspection.inspector import Inspector
from edge.inspection.loop import run_loop
from edge.samples import sample_bundle, sample_line
from tests.edge.backends.gpu.conftest import DEVICE, PARTS, score
from tests.edge.backends.gpu.fakes.host_network import HostNetwork
from tests.fakes import BrightnessBackend, ListSink, ScriptedSupply, frame
from tests.small_bundle import bad_part, blur_network, good_part, make_bundle


def inspector_of(line, backend):
    calibration = line.calibration
    return Inspector(backend, line.bundle.preprocess, calibration.threshold, calibration.pixel_threshold, "b" * 64)


def place(region):
    return region.x, region.y, region.width, region.height


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"preprocess": {"rectangle": (8, 4, 40, 36)}},
        {"preprocess": {"polygon": ((4, 4), (60, 6), (32, 44))}},
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_verdicts_and_regions_are_those_of_the_cpu_and_scores_within_two_percent(line_of, tmp_path, precision, changes):
    line = line_of(make_bundle(tmp_path / "made", **changes), precision=precision)
    ours, theirs = (inspector_of(line, backend) for backend in (line.backend(), line.cpu_backend()))
    decisions = set()
    for index, part in enumerate(PARTS):
        mine, reference = (judge.inspect(frame(index, part)) for judge in (ours, theirs))
        assert mine.decision is reference.decision
        assert [place(region) for region in mine.regions] == [place(region) for region in reference.regions]
        assert mine.score == pytest.approx(reference.score, abs=0.02 * line.calibration.threshold)
        decisions.add(mine.decision)
    assert decisions == {Decision.OK, Decision.NG}
    ours.backend.close()


def test_a_gpu_of_many_multiprocessors_gives_the_same_by_small_tiles(line_of, gpu, monkeypatch):
    line = line_of()
    backend = line.backend()
    wanted = [score(backend, part) for part in PARTS[:2]]
    backend.close()
    monkeypatch.setattr(gpu_tensorrt, "read_cuda_device", lambda: replace(DEVICE, multiprocessors=132))
    gpu.kernels.clear()
    backend = line.backend()
    for part, expected in zip(PARTS, wanted, strict=False):
        found = score(backend, part)
        assert (found.score, found.area_px) == (expected.score, expected.area_px)
        assert np.array_equal(found.values, expected.values)
    assert {name for name in gpu.kernels if not name.startswith("preprocess")} == {
        name for name in gpu.kernels if name.endswith("_small")
    }
    backend.close()


def test_the_shipped_bundle_decides_on_shipped_pictures_as_on_the_processor(line_of):
    line = line_of(load_bundle(sample_bundle()))
    ours, theirs = (inspector_of(line, backend) for backend in (line.backend(), line.cpu_backend()))
    pictures = list(dict.fromkeys(sample_line()))
    decisions = set()
    for index, path in enumerate((*pictures[:2], *pictures[-2:])):
        mine, reference = (judge.inspect(frame(index, read_image(path))) for judge in (ours, theirs))
        assert mine.decision is reference.decision
        assert [place(region) for region in mine.regions] == [place(region) for region in reference.regions]
        assert mine.score == pytest.approx(reference.score, abs=0.02 * line.calibration.threshold)
        decisions.add(mine.decision)
    assert decisions == {Decision.OK, Decision.NG}
    ours.backend.close()


def test_a_frame_is_an_upload_a_launch_and_a_wait_and_takes_no_memory(line_of, gpu):
    line = line_of(maps_above=1.0)
    backend = line.backend()
    score(backend, PARTS[0])
    before = gpu.counts.copy()
    taken = dict(gpu.device), dict(gpu.pinned)
    for part in PARTS:
        score(backend, part)
    spent = gpu.counts - before
    assert spent == dict.fromkeys(("cuMemcpy2DAsync_v2", "cuGraphLaunch", "cuStreamSynchronize"), len(PARTS))
    assert (dict(gpu.device), dict(gpu.pinned)) == taken
    backend.close()


def test_a_map_comes_along_only_where_its_score_exceeds_what_was_asked_for(line_of, gpu):
    line = line_of()
    line.maps_above = line.calibration.threshold
    backend = line.backend()
    assert score(backend, PARTS[0]).values.size == 0
    before = gpu.counts["synchronize"]
    found = score(backend, PARTS[-1])
    assert found.values.shape == line.kernels[0].map_shape
    assert gpu.counts["synchronize"] - before == 1
    kept = found.values.copy()
    score(backend, PARTS[0])
    assert np.array_equal(found.values, kept)
    backend.close()


def test_an_inconspicuous_verdict_has_no_map_and_a_rejected_one_has(line_of):
    line = line_of()
    line.maps_above = line.calibration.threshold
    inspector = inspector_of(line, line.backend())
    assert inspector.inspect(frame(0, PARTS[0])).anomaly_map is None
    assert inspector.inspect(frame(1, PARTS[-1])).anomaly_map is not None
    inspector.backend.close()


def test_another_frame_size_is_recorded_anew_and_the_same_size_is_not(line_of, gpu):
    line = line_of()
    backend = line.backend()
    reference = line.cpu_backend()
    sizes = [(48, 64), (48, 64), (33, 101), (48, 64), (200, 7)]
    recorded = []
    for height, width in sizes:
        before = gpu.counts["cuStreamBeginCapture_v2"]
        part = bad_part(1, max(height, 8), max(width, 7))
        mine = score(backend, part)
        assert mine.score == pytest.approx(score(reference, part).score, abs=2e-3)
        recorded.append(gpu.counts["cuStreamBeginCapture_v2"] - before)
    assert recorded == [1, 0, 1, 1, 1]
    assert len(gpu.executables) == 1 and gpu.graphs == {}
    backend.close()


def test_room_for_frames_grows_and_is_not_given_back_and_taken_again(line_of, gpu):
    backend = line_of().backend()
    score(backend, good_part(1, 96, 128))
    before = gpu.counts["mem_alloc"]
    for height, width in ((48, 64), (96, 128), (20, 30)):
        score(backend, good_part(1, height, width))
    assert gpu.counts["mem_alloc"] == before
    backend.close()


@pytest.mark.parametrize("largest_batch", [1, 2, 4])
def test_pictures_judged_together_score_as_each_alone(line_of, gpu, largest_batch):
    line = line_of(most=3, largest_batch=largest_batch)
    backend = line.backend()
    alone = [score(backend, part) for part in PARTS[1:5]]
    before = gpu.counts["cuGraphLaunch"]
    together = backend.score_many(PARTS[1:5], StageClock(0))
    # three, then the one that is left over
    assert gpu.counts["cuGraphLaunch"] - before == 2
    for one, other in zip(alone, together, strict=True):
        assert (one.score, one.area_px) == (other.score, other.area_px)
        assert one.values == pytest.approx(other.values, abs=1e-6)
    backend.close()


@pytest.mark.parametrize("largest_batch", [1, 2])
def test_an_engine_s_runs_have_one_shape_and_aligned_tensors_whatever_the_count(line_of, tmp_path, largest_batch):
    # a recon of 3 x 20 x 20 numbers: from the second picture on it begins where no engine takes it
    odd = make_bundle(tmp_path / "odd", model=blur_network(20), size=20)
    line = line_of(odd, most=5, largest_batch=largest_batch)
    backend = line.backend()
    alone = [score(backend, part) for part in PARTS[:5]]
    for count in (5, 3, 4):
        together = backend.score_many(PARTS[:count], StageClock(0))
        assert [each.score for each in together] == [each.score for each in alone[:count]]
    assert line.pipelines[0].graph_nodes is not None
    backend.close()


def test_what_the_first_run_compiled_is_kept_once(line_of):
    line = line_of()
    backend = line.backend()
    score(backend, PARTS[0])
    assert line.networks[0].first_runs == 1
    backend.close()


@pytest.mark.parametrize("spoil", ["not recordable", "driver refuses"])
def test_an_engine_that_no_graph_can_hold_runs_step_by_step(line_of, gpu, monkeypatch, caplog, spoil):
    line = line_of()
    if spoil == "driver refuses":
        monkeypatch.setattr(gpu.library, "cuGraphInstantiateWithFlags", lambda *arguments: 801)
    else:
        monkeypatch.setattr(HostNetwork, "can_be_captured", lambda self, stream: False)
    backend = line.backend()
    assert score(backend, PARTS[-1]).score == pytest.approx(score(line.cpu_backend(), PARTS[-1]).score, abs=2e-3)
    assert gpu.counts["cuGraphLaunch"] == 0 and gpu.graphs == {}
    assert "step by step" in caplog.text
    backend.close()


def test_a_picture_that_gives_no_number_is_an_error_of_that_frame_alone(line_of, monkeypatch):
    line = line_of()
    backend = line.backend()
    score(backend, PARTS[0])
    read = line.kernels[0].read
    monkeypatch.setattr(line.kernels[0], "read", lambda result: replace(read(result), score=float("nan")))
    with pytest.raises(ModelError, match="not finite"):
        score(backend, PARTS[0])
    monkeypatch.undo()
    assert score(backend, PARTS[0]).score < line.calibration.threshold
    assert len(line.pipelines) == 1
    backend.close()


# --- in the loop


def test_keeping_warm_replays_after_a_second_of_rest_and_not_before(line_of, gpu):
    line = line_of()
    backend = line.backend()
    before = gpu.counts["cuGraphLaunch"]
    backend.keep_warm()
    assert gpu.counts["cuGraphLaunch"] == before
    line.now_s += line.keep_warm_s
    for _ in range(3):
        backend.keep_warm()
    assert gpu.counts["cuGraphLaunch"] == before + 1
    backend.close()


def test_without_a_period_nothing_runs_at_rest(line_of, gpu):
    line = line_of()
    line.keep_warm_s = None
    backend = line.backend()
    line.now_s += 1000
    before = gpu.counts["cuGraphLaunch"]
    backend.keep_warm()
    assert gpu.counts["cuGraphLaunch"] == before
    backend.close()


def test_the_loop_rests_as_often_as_the_period_asks_for(line_of, monkeypatch):
    line = line_of()
    line.keep_warm_s = 0.02
    backend = line.backend()
    waited = []

    class Quiet(ScriptedSupply):
        def take(self, timeout_s):
            waited.append(timeout_s)
            return super().take(0.001)

    run_loop(
        Quiet([], live=True, endless=True), inspector_of(line, backend), [ListSink()], Settings(), RunCounters(),
        stop=threading.Event(), duration_s=0.1,
    )  # fmt: skip
    assert set(waited) == {0.02}
    backend.close()


def test_in_the_loop_a_lost_device_is_invalid_and_recovers_and_idle_keeps_it_warm(line_of, gpu):
    line = line_of()
    backend = line.backend()
    images = [PARTS[0], PARTS[-1]] * 3

    def looks():
        for index, image in enumerate(images):
            if index == 2:
                gpu.lose()
            if index == 4:
                line.now_s += REOPEN_FIRST_S
            yield index, image

    script = looks()

    def next_frame():
        index, image = next(script)
        return frame(index, image)

    sink = ListSink()
    supply = ScriptedSupply([next_frame] * len(images), live=True)
    run_loop(supply, inspector_of(line, backend), [sink], Settings(), RunCounters(), stop=threading.Event())
    decisions = [verdict.decision for verdict in sink.verdicts]
    assert decisions == [
        Decision.OK, Decision.NG, Decision.INVALID, Decision.INVALID, Decision.OK, Decision.NG,
    ]  # fmt: skip
    assert {verdict.reason for verdict in sink.verdicts[2:4]} == {Reason.MODEL_ERROR}
    backend.close()


def test_the_loop_keeps_a_backend_warm_while_no_frame_comes(line_of, gpu):
    line = line_of()
    backend = line.backend()
    line.now_s += line.keep_warm_s
    before = gpu.counts["cuGraphLaunch"]
    quiet = ScriptedSupply([], live=True, endless=True)
    run_loop(
        quiet,
        inspector_of(line, backend),
        [ListSink()],
        Settings(),
        RunCounters(),
        stop=threading.Event(),
        duration_s=0.25,
    )  # fmt: skip
    assert gpu.counts["cuGraphLaunch"] == before + 1
    backend.close()


def test_at_the_start_what_is_missing_is_told_as_it_is(line_of):
    line = line_of()

    def missing():
        raise EngineError("no engine", fix="build it")

    line.pipeline = missing
    with pytest.raises(EngineError, match="no engine"):
        line.backend()


def test_a_backend_that_hangs_between_frames_does_not_silence_the_line(line_of):
    line = line_of()
    backend = line.backend()
    hanging, released = threading.Event(), threading.Event()

    def hang():
        hanging.set()
        assert released.wait(10)

    backend.keep_warm = hang
    sink = ListSink()
    supply = ScriptedSupply([], live=True, endless=True)
    settings = Settings.model_validate(
        {"inspection": {"deadline_ms": 60}, "freshness": {"max_age_ms": 50}},
    )
    stop = threading.Event()
    running = threading.Thread(
        target=run_loop,
        args=(supply, inspector_of(line, backend), [sink], settings, RunCounters()),
        kwargs={"stop": stop},
    )
    running.start()
    assert hanging.wait(10)
    assert sink.wait_until(lambda verdicts: len(verdicts) >= 2)
    released.set()
    stop.set()
    running.join()
    assert sink.verdicts[0].reason is Reason.DEADLINE_MISSED
    assert "busy between frames" in sink.verdicts[0].detail
    backend.close()


def test_a_backend_that_fails_between_frames_is_reported_and_the_line_goes_on(line_of, caplog):
    line = line_of()
    backend = line.backend()

    def fail():
        raise RuntimeError("nobody foresaw this")

    backend.keep_warm = fail
    sink = ListSink()
    quiet_first = ScriptedSupply([frame(0, PARTS[0])], live=True, endless=True)
    run_loop(
        quiet_first, inspector_of(line, backend), [sink], Settings(), RunCounters(),
        stop=threading.Event(), duration_s=0.3,
    )  # fmt: skip
    assert sink.reasons == ["below_threshold"]
    assert "nobody foresaw this" in caplog.text
    backend.close()


def test_behind_an_alignment_a_backend_is_kept_warm_too(line_of, gpu):
    line = line_of()
    aligning = AligningBackend(line.backend(), line.bundle.preprocess)
    assert isinstance(aligning, KeptWarm) and aligning.keep_warm_every_s == line.keep_warm_s
    line.now_s += line.keep_warm_s
    before = gpu.counts["cuGraphLaunch"]
    aligning.keep_warm()
    assert gpu.counts["cuGraphLaunch"] == before + 1
    AligningBackend(BrightnessBackend(), line.bundle.preprocess).keep_warm()
    aligning.close()
