"""The fake GPU refuses what a real one refuses, and the session and its graphs leave it as they found it."""

import threading

import numpy as np
import pytest

from edge.backends.gpu.cuda_driver import DriverError
from edge.backends.gpu.gpu_tensorrt import open_session
from edge.core.errors import MissingDependency
from tests.edge.backends.gpu.fakes.fake_driver import LaunchError, LogicError


@pytest.fixture
def session(gpu):
    opened = open_session()
    yield opened
    opened.close()


def test_nothing_happens_without_a_current_context(session):
    with pytest.raises(LogicError, match="no currently active context"):
        session.device_memory(16)


def test_nothing_has_run_before_somebody_waits(session):
    with session.current():
        target, source = session.pinned((4,), np.uint8), session.pinned((4,), np.uint8)
        source[:], target[:] = 7, 1
        address = session.device_memory(4)
        session.upload(address, source)
        session.fetch(target, address)
        assert target.tolist() == [1] * 4
        # what is changed before it was copied is copied changed
        source[:] = 9
        session.synchronize()
        assert target.tolist() == [9] * 4


@pytest.mark.parametrize("wrong", ["freed", "beyond", "unknown"])
def test_memory_that_is_not_there_breaks_the_context_until_it_is_reset(gpu, wrong):
    session = open_session()
    with session.current():
        address = session.device_memory(8)
        if wrong == "freed":
            session.free(address)
        target = session.pinned((8,), np.uint8)
        session.fetch(target, {"freed": address, "beyond": address + 1, "unknown": 64}[wrong])
        with pytest.raises(LaunchError):
            session.synchronize()
        with pytest.raises(LaunchError):
            session.device_memory(8)
        del target
    session.close()
    assert gpu.counts["reset"] == 1
    again = open_session()
    with again.current():
        again.device_memory(8)
    again.close()


@pytest.mark.parametrize("forbidden", ["synchronize", "device_memory", "pinned"])
def test_waiting_and_taking_memory_spoil_a_recording_and_the_stream_goes_on(session, forbidden):
    def enqueue():
        if forbidden == "synchronize":
            session.synchronize()
        elif forbidden == "pinned":
            session.pinned((1,), np.uint8)
        else:
            session.device_memory(1)

    def enqueue_and_hide_it():
        with pytest.raises(LogicError, match="capturing"):
            enqueue()

    with session.current():
        with pytest.raises(LogicError, match="capturing"):
            session.capture(enqueue)
        with pytest.raises(DriverError, match="CAPTURE_INVALIDATED"):
            session.capture(enqueue_and_hide_it)
        session.synchronize()


def test_a_recording_runs_at_each_launch_and_not_when_it_is_made(session):
    with session.current():
        target, source = session.pinned((1,), np.uint8), session.pinned((1,), np.uint8)
        address = session.device_memory(1)

        def enqueue():
            session.upload(address, source)
            session.fetch(target, address)

        target[0] = 0
        graph = session.capture(enqueue)
        assert graph.nodes == 2
        for value in (3, 5):
            source[0] = value
            assert target[0] != value
            graph.launch()
            session.synchronize()
            assert target[0] == value
        graph.close()
        graph.close()
        with pytest.raises(DriverError):
            graph.launch()


def test_a_session_is_closed_once_from_whichever_thread(gpu):
    session = open_session()
    with session.current():
        session.device_memory(100)
        session.pinned((4, 4), np.float32)
    closing = threading.Thread(target=session.close)
    closing.start()
    closing.join()
    assert gpu.live() == {}
    session.close()


def test_two_sessions_share_the_context_and_the_second_outlives_the_first(gpu):
    first, second = open_session(), open_session()
    first.close()
    with second.current():
        second.device_memory(4)
    second.close()


def test_what_is_not_closed_is_seen(gpu):
    session = open_session()
    with session.current():
        session.device_memory(4)
    assert gpu.live() == {"device": 1, "streams": 1, "contexts": 1}
    session.close()


def test_a_machine_without_a_gpu_is_told_what_to_look_at(gpu):
    gpu.absent = True
    with pytest.raises(MissingDependency, match="no GPU can be used") as refusal:
        open_session()
    assert "nvidia-smi" in refusal.value.fix
