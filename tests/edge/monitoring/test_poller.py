"""Jobs that share one thread: one that fails or hangs is named, and a stop waits for none."""

import threading
import time

from edge.core.counters import RunCounters
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.poller import Poller
from tests.edge.records.records_fakes import look
from tests.fakes import eventually


class Job:
    """Counts its calls. does: in each poll."""

    def __init__(self, name, does=lambda: None):
        self.name, self._does = name, does
        self.polls = self.ends = 0

    def poll(self):
        self.polls += 1
        self._does()

    def end(self):
        self.ends += 1


def started(*jobs):
    counters = RunCounters()
    return Poller(jobs, AlarmLog(counters, lambda alarm: None), 0.001), counters


def test_every_job_is_called_again_and_again_and_ended_once():
    first, second = Job("first"), Job("second")
    poller, _ = started(first, second)
    assert eventually(lambda: min(first.polls, second.polls) > 3)
    poller.close()
    assert not poller.busy
    polls = first.polls, second.polls
    assert (first.ends, second.ends) == (1, 1)
    time.sleep(0.01)
    assert (first.polls, second.polls) == polls


def test_a_job_that_raises_is_logged_and_keeps_no_other_from_its_turn(caplog):
    bad, good = Job("bundle", lambda: 1 / 0), Job("challenge")
    poller, _ = started(bad, good)
    assert eventually(lambda: bad.polls > 20 and good.polls > 20)
    poller.close()
    assert good.ends == bad.ends == 1
    # the 1st and the 10th time
    assert caplog.text.count("the watch on the bundle failed, and goes on") == 2


def test_a_job_that_hangs_raises_one_alarm_that_names_what_waits_for_it(monkeypatch):
    monkeypatch.setattr("edge.monitoring.poller.HANGING_S", 0.05)
    released = threading.Event()
    hanging, other = Job("bundle", lambda: released.wait(20)), Job("challenge")
    poller, counters = started(hanging, other)
    assert eventually(lambda: hanging.polls == 1)
    time.sleep(0.06)
    for index in range(3):
        poller.write(*look(index))
    (alarm,) = counters.alarms.standing()
    assert alarm.what.startswith("the watch on the bundle has not returned for")
    assert alarm.what.endswith("until it does, nothing is done for: challenge")
    released.set()
    assert eventually(lambda: counters.alarms.standing() == [])
    assert eventually(lambda: other.polls > 0)
    poller.close()


def test_a_stop_does_not_wait_for_a_job_that_hangs():
    released = threading.Event()
    poller, _ = started(Job("bundle", lambda: released.wait(20)))
    time.sleep(0.02)
    began = time.monotonic()
    poller.close()
    assert time.monotonic() - began < 0.9
    assert poller.busy
    released.set()
    assert eventually(lambda: not poller.busy)
