"""The watchdog of a service manager is fed while inspection comes round, and no longer."""

import os
import socket
import threading

import pytest

from edge.core.config import FreshnessSettings, InspectionSettings, Settings
from edge.core.counters import RunCounters
from edge.inspection.loop import run_loop
from edge.system.service.notify import ServiceManager
from tests.fakes import WAIT_S, HangingBackend, ListSink, ScriptedSupply, eventually, frame, inspector
from tests.notify_socket import NotifySocket


@pytest.fixture
def manager_socket(tmp_path):
    listening = NotifySocket(tmp_path)
    yield listening
    listening.close()


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def test_it_is_told_what_happens(manager_socket):
    clock = Clock()
    service = ServiceManager(30.0, manager_socket.environment, clock)
    service.ready()
    service.alive(0.1, lambda: "7 parts")
    # too soon for another
    service.alive(0.1, lambda: "8 parts")
    clock.now_s += 0.06
    service.alive(0.1, lambda: "9 parts")
    service.stopping()
    fed = [f"WATCHDOG=1\nSTATUS={count} parts" for count in (7, 9)]
    assert manager_socket.messages == ["READY=1\nWATCHDOG_USEC=200000", *fed, "STOPPING=1"]


def test_a_process_that_becomes_another_one_is_given_the_time_of_a_start(manager_socket):
    ServiceManager(30.0, manager_socket.environment).starting_again()
    ServiceManager(30.0, {"NOTIFY_SOCKET": str(manager_socket.path)}).starting_again()
    status = "STATUS=starting again for its device"
    assert manager_socket.messages == [f"WATCHDOG_USEC=300000000\n{status}", status]


def test_a_hang_is_let_be_for_the_time_set_and_then_told_once_in_the_log(manager_socket, caplog):
    clock = Clock()
    service = ServiceManager(30.0, manager_socket.environment, clock)
    for beat_age_s in (None, 29.9, 30.0, 31.0, 0.0):
        clock.now_s += 1.0
        service.alive(beat_age_s, lambda: "fine")
    assert [message.startswith("WATCHDOG=1") for message in manager_socket.messages] == [True, True, False, False, True]
    assert manager_socket.messages[2] == "STATUS=hangs for 30 s, is to be restarted"
    assert caplog.text.count("inspection has not come round") == 1


def test_nobody_is_told_where_nobody_asks():
    service = ServiceManager(30.0, {})
    service.ready()
    service.alive(0.0, lambda: pytest.fail("no text is made for nobody"))
    service.stopping()


def test_a_manager_that_has_gone_or_does_not_listen_holds_nobody_up(tmp_path):
    service = ServiceManager(30.0, {"NOTIFY_SOCKET": str(tmp_path / "nowhere")})
    service.ready()
    deaf = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    deaf.bind(str(tmp_path / "deaf"))
    service = ServiceManager(30.0, {"NOTIFY_SOCKET": str(tmp_path / "deaf")})
    for _ in range(2000):
        service.ready()
    deaf.close()


def test_an_abstract_address_is_understood():
    name = f"edge-inspect-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(WAIT_S)
        ServiceManager(30.0, {"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    ("changes", "every_s"),
    [({"WATCHDOG_USEC": "10000000"}, 1.0), ({"WATCHDOG_USEC": "400000"}, 0.1), ({"WATCHDOG_PID": "1"}, 1.0),
     ({"WATCHDOG_USEC": "soon"}, 1.0), ({"WATCHDOG_USEC": "0"}, 1.0)],
)  # fmt: skip
def test_it_is_fed_four_times_in_the_time_it_waits(manager_socket, changes, every_s):
    clock = Clock()
    service = ServiceManager(30.0, {**manager_socket.environment, **changes}, clock)
    for _ in range(2):
        service.alive(0.0, str)
        service.alive(0.0, str)
        clock.now_s += every_s * 1.001
    assert manager_socket.fed == 2


def test_a_model_that_hangs_starves_the_watchdog_and_one_that_comes_back_feeds_it_again(manager_socket):
    backend, sink, counters, stop = HangingBackend(), ListSink(), RunCounters(), threading.Event()
    service = ServiceManager(0.2, manager_socket.environment)
    settings = Settings(
        freshness=FreshnessSettings(max_age_ms=50), inspection=InspectionSettings(deadline_ms=50)
    )  # fmt: skip
    supply = ScriptedSupply([frame(0)], endless=True)
    loop = threading.Thread(
        target=run_loop,
        args=(supply, inspector(backend), [sink], settings, counters),
        kwargs={"stop": stop, "alive": lambda: service.alive(counters.beat_age_s(), lambda: "on")},
        daemon=True,
    )
    loop.start()
    assert backend.hanging.wait(WAIT_S)
    assert eventually(lambda: manager_socket.messages[-1:] != [] and manager_socket.messages[-1].startswith("STATUS="))
    fed, given = manager_socket.fed, len(sink.verdicts)
    # INVALID verdicts go on meanwhile, and do not feed it
    assert sink.wait_until(lambda verdicts: len(verdicts) > given + 3)
    assert manager_socket.fed == fed
    backend.released.set()
    assert eventually(lambda: manager_socket.fed > fed)
    stop.set()
    loop.join(WAIT_S)
