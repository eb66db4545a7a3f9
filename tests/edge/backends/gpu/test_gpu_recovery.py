"""The backend when the fake GPU is lost, full or closed: an error of the frame, everything freed, open again."""

import threading

import pytest

from edge.backends.aligning import AligningBackend
from edge.backends.base import NeedsNewProcess
from edge.backends.gpu.device_network import device_failure
from edge.backends.gpu.gpu_backend import FAILED_REOPENINGS, REOPEN_FIRST_S, REOPEN_MAX_S
from edge.backends.gpu.gpu_tensorrt import open_session
from edge.core.errors import ModelError
from tests.edge.backends.gpu.conftest import PARTS, score
from tests.small_bundle import good_part


def test_a_lost_device_is_an_error_then_waits_longer_each_time_and_comes_back(line_of, gpu):
    line = line_of()
    backend = line.backend()
    whole = score(backend, PARTS[-1]).score
    gpu.lose()
    gpu.absent = True
    with pytest.raises(ModelError, match="CUDA_ERROR_LAUNCH_FAILED"):
        score(backend, PARTS[-1])
    assert gpu.counts["reset"] == 1 and gpu.live() == {}
    wait_s = REOPEN_FIRST_S
    for _ in range(9):
        with pytest.raises(ModelError, match=r"opened again in"):
            score(backend, PARTS[-1])
        line.now_s += wait_s
        with pytest.raises(ModelError, match=r"cannot be opened again: .*no CUDA-capable device"):
            score(backend, PARTS[-1])
        wait_s = min(2 * wait_s, REOPEN_MAX_S)
    assert wait_s == REOPEN_MAX_S
    gpu.absent = False
    line.now_s += wait_s
    assert score(backend, PARTS[-1]).score == whole
    backend.close()


def test_a_device_lost_while_it_computes_is_reset_and_opened_again_while_no_frame_comes(line_of, gpu):
    line = line_of()
    backend = line.backend()
    whole = score(backend, PARTS[-1]).score
    gpu.lose(after_launches=2)
    assert score(backend, PARTS[-1]).score == whole
    with pytest.raises(ModelError):
        score(backend, PARTS[-1])
    backend.keep_warm()
    assert len(line.pipelines) == 1
    line.now_s += REOPEN_FIRST_S
    backend.keep_warm()
    assert len(line.pipelines) == 2
    assert score(backend, PARTS[-1]).score == whole
    backend.close()


def test_a_broken_context_is_reset_when_the_last_that_holds_it_lets_go(line_of, gpu):
    line = line_of()
    backend, beside = line.backend(), line.backend()
    whole = score(backend, PARTS[-1]).score
    gpu.lose()
    with pytest.raises(ModelError, match="CUDA_ERROR_LAUNCH_FAILED"):
        score(backend, PARTS[-1])
    line.now_s += REOPEN_FIRST_S
    with pytest.raises(ModelError, match=r"cannot be opened again: .*others have not let go of it yet"):
        score(backend, PARTS[-1])
    assert gpu.counts["reset"] == 0
    beside.close()
    assert gpu.counts["reset"] == 1
    line.now_s += 2 * REOPEN_FIRST_S
    assert score(backend, PARTS[-1]).score == whole
    backend.close()


def test_out_of_memory_for_a_larger_frame_frees_everything_and_smaller_ones_go_on(line_of, gpu):
    line = line_of()
    backend = line.backend()
    small = score(backend, PARTS[-1]).score
    gpu.memory_bytes = 1_000_000
    with pytest.raises(ModelError, match="out of memory") as refusal:
        score(backend, good_part(1, 800, 800))
    assert "nvidia-smi" in refusal.value.fix
    assert gpu.live() == {} and gpu.counts["reset"] == 0
    line.now_s += REOPEN_FIRST_S
    assert score(backend, PARTS[-1]).score == small
    backend.close()


@pytest.mark.parametrize("memory_bytes", [10, 5_000, 20_000])
def test_a_gpu_too_small_at_the_start_is_told_and_nothing_stays(line_of, gpu, memory_bytes):
    gpu.memory_bytes = memory_bytes
    with pytest.raises(ModelError, match="out of memory"):
        line_of().backend()


def test_an_engine_that_refuses_to_run_is_closed_with_all_the_rest(line_of, gpu):
    line = line_of()
    backend = line.backend()
    line.networks[0].refuses = True
    with pytest.raises(ModelError, match="refuses to run"):
        score(backend, good_part(1, 30, 30))
    assert line.networks[0].closed == 1
    backend.close()


def test_closing_twice_and_from_another_thread_frees_once(line_of, gpu):
    line = line_of()
    backend = line.backend()
    scored = threading.Thread(target=score, args=(backend, PARTS[0]))
    scored.start()
    scored.join()
    backend.close()
    assert gpu.live() == {}
    backend.close()
    assert line.networks[0].closed == 1
    with pytest.raises(ModelError, match="closed"):
        score(backend, PARTS[0])


def test_opening_again_and_again_leaves_nothing(line_of, gpu):
    line = line_of()
    for _ in range(10):
        line.pipeline().close()
    assert gpu.live() == {}


def test_an_unforeseen_failure_gives_the_device_up_too(line_of, gpu, monkeypatch):
    line = line_of()
    backend = line.backend()
    monkeypatch.setattr(line.kernels[0], "read", lambda result: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        score(backend, PARTS[0])
    assert gpu.live() == {}
    line.now_s += REOPEN_FIRST_S
    assert score(backend, PARTS[0]).score < line.calibration.threshold
    backend.close()


def test_after_two_failed_reopenings_a_new_process_is_asked_for_until_one_succeeds(line_of, gpu):
    line = line_of()
    backend = line.backend()
    behind = AligningBackend(backend, line.bundle.preprocess)
    gpu.lose()
    gpu.absent = True
    with pytest.raises(ModelError):
        score(backend, PARTS[-1])
    asked = []
    for _ in range(FAILED_REOPENINGS):
        asked.append(backend.needs_new_process)
        line.now_s += REOPEN_MAX_S
        backend.keep_warm()
    assert asked == [False, False]
    assert isinstance(behind, NeedsNewProcess) and backend.needs_new_process and behind.needs_new_process
    gpu.absent = False
    line.now_s += REOPEN_MAX_S
    assert score(backend, PARTS[-1]).score > 0
    assert not backend.needs_new_process and not behind.needs_new_process
    backend.close()


@pytest.mark.parametrize(
    ("words", "full"),
    [
        ("cuMemAlloc failed: out of memory", True),
        ("cuGraphInstantiate failed: CUDA_ERROR_OUT_OF_MEMORY (2)", True),
        ("cuStreamSynchronize failed: an illegal memory access was encountered", False),
    ],
)
def test_only_memory_that_has_run_out_is_called_so(words, full):
    assert ("another program may hold the GPU's memory" in device_failure(RuntimeError(words)).fix) is full


CONTEXT_IS_DESTROYED = 709


def test_a_context_that_is_gone_before_it_is_left_still_counts_as_let_go_of(gpu):
    session = open_session()
    gpu.library.cuCtxPopCurrent_v2 = lambda popped: gpu.stack.pop() and CONTEXT_IS_DESTROYED
    session.close()
    del gpu.library.cuCtxPopCurrent_v2
    # nobody is counted as open, so the next to break it resets it
    broken = open_session()
    gpu.lose()
    broken.close()
    assert gpu.counts["reset"] == 1


def test_memory_of_a_broken_context_is_given_up_with_it(gpu, capsys):
    session = open_session()
    with session.current():
        session.device_memory(1000)
        session.pinned((10,), "u1")
    gpu.lose()
    session.close()
    assert "clean-up operation failed" in capsys.readouterr().err
    assert (gpu.live(), gpu.counts["reset"]) == ({}, 1)
