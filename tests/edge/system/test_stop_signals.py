"""What Ctrl-C, a second one, and a terminal that closes ask for."""

import signal
import time

import pytest

from edge.system.stop_signals import StopRequests, stop_requests, stop_signals


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    # a signal that gives up puts the usual Ctrl-C back
    before = signal.getsignal(signal.SIGINT)
    yield now
    signal.signal(signal.SIGINT, before)


def asked(clock, *moments, saving_from=None):
    """(stop, give up) after signals at these moments."""
    requests = StopRequests()
    for moment in moments:
        clock[0] = moment
        if saving_from is not None and moment >= saving_from:
            requests.saving()
        requests.note(signal.SIGINT, None)
    return requests.stop.is_set(), requests.give_up.is_set()


def test_one_signal_stops_and_a_later_one_gives_up(clock):
    assert asked(clock) == (False, False)
    assert asked(clock, 10.0) == (True, False)
    assert asked(clock, 10.0, 12.0) == (True, True)


def test_two_from_a_quick_hand_are_one(clock):
    assert asked(clock, 10.0, 10.2) == (True, False)
    assert asked(clock, 10.0, 10.2, saving_from=10.1) == (True, False)


def test_the_first_one_while_pictures_are_being_saved_gives_up(clock):
    assert asked(clock, 10.0, saving_from=9.0) == (True, True)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_a_terminal_that_closes_stops_unless_nohup_said_otherwise():
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with stop_requests() as requests:
            signal.raise_signal(signal.SIGHUP)
        assert requests.interrupted and requests.stop.is_set()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert signal.SIGHUP not in stop_signals()
    finally:
        signal.signal(signal.SIGHUP, before)
