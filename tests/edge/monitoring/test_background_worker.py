"""Work beside the inspection outlives its failures, takes no more memory than stated, and says so once."""

import threading

import numpy as np
import pytest

from edge.core.alarms import MONITORING
from edge.core.config import BurstSettings, DriftSettings
from edge.core.counters import RunCounters
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.background_worker import MOST_FAILURES, MOST_WAITING, BackgroundWorker
from edge.monitoring.drift.charts import MOST_BLOCKS
from edge.monitoring.drift_monitor import DriftMonitor, WatchedBundle
from edge.monitoring.run_statistics import RunStatistics, run_summary
from edge.preprocessing.preprocess import Preprocess
from edge.records.report import build_report
from edge.records.store import RecordStore
from tests.edge.monitoring.drift.parts import plate, reference_of
from tests.edge.records.records_fakes import inspector, recorder
from tests.fakes import eventually, frame


class Beside:
    """A worker with the alarms of its run."""

    def __init__(self, take, on_alarm=lambda alarm: None):
        self.counters, self.failed = RunCounters(), []
        self.worker = BackgroundWorker("test work", take, self.failed.append, AlarmLog(self.counters, on_alarm))

    def alarms(self):
        return [alarm.what for alarm in self.counters.alarms.all()]


def fail(number):
    raise KeyError(number)


def test_a_thing_that_fails_is_told_and_the_next_one_is_taken():
    taken = []

    def take(number):
        if number == 1:
            raise KeyError(number)
        taken.append(number)

    beside = Beside(take)
    for number in range(3):
        beside.worker.put(number)
    beside.worker.close(5)
    assert taken == [0, 2]
    assert [str(error) for error in beside.failed] == ["1"]
    assert beside.alarms() == []


def test_work_that_only_fails_ends_keeps_nothing_and_says_so_once():
    beside = Beside(fail)
    for number in range(10 * MOST_FAILURES):
        beside.worker.put(number)
        assert eventually(lambda: beside.worker.waiting < MOST_WAITING)
    assert eventually(lambda: not beside.worker._thread.is_alive())
    for number in range(10):
        beside.worker.put(number)
    assert beside.worker.waiting == 0
    assert len(beside.failed) == MOST_FAILURES
    (what,) = beside.alarms()
    assert what.startswith(
        f"the test work ended after {MOST_FAILURES} failures in a row, inspection goes on: KeyError("
    )
    assert what in run_summary(RunStatistics(), beside.counters, None)


def test_the_end_of_the_work_goes_on_record_and_into_the_report(tmp_path):
    sink = recorder(tmp_path)
    beside = Beside(fail, sink.note)
    for number in range(MOST_FAILURES):
        beside.worker.put(number)
    assert eventually(lambda: beside.alarms() != [])
    sink.close()
    with RecordStore(tmp_path) as store:
        (alarm,) = build_report(store).as_json()["alarms"]
    assert alarm["kind"] == MONITORING
    assert "the test work ended" in alarm["what"]


def test_work_that_hangs_keeps_a_stated_number_of_items_and_says_so_once():
    released = threading.Event()
    beside = Beside(lambda number: released.wait(20))
    for number in range(20 * MOST_WAITING):
        beside.worker.put(number)
    assert beside.worker.waiting == MOST_WAITING
    assert beside.alarms() == [
        f"the test work is {MOST_WAITING} parts behind and leaves out newer ones: it is slow, or hangs"
    ]
    # a stop does not wait for it
    beside.worker.close(0.01)
    released.set()
    assert eventually(lambda: not beside.worker._thread.is_alive())
    assert beside.worker.waiting == 0


def test_the_alarm_is_over_when_the_work_has_caught_up():
    released = threading.Event()
    beside = Beside(lambda number: released.wait(20))
    for number in range(2 * MOST_WAITING):
        beside.worker.put(number)
    (alarm,) = beside.counters.alarms.standing()
    released.set()
    assert eventually(lambda: beside.counters.alarms.standing() == [])
    assert beside.counters.alarms.all()[0].number == alarm.number
    beside.worker.close(5)


def failing_once(monkeypatch, target):
    """The function of this name, which fails when it is called first."""
    module, name = target.rsplit(".", 1)
    import importlib

    owner = importlib.import_module(module)
    real, calls = getattr(owner, name), []

    def function(*arguments):
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("as the test says")
        return real(*arguments)

    monkeypatch.setattr(owner, name, function)


@pytest.mark.parametrize(
    "target", ["edge.monitoring.drift.watch._median", "edge.monitoring.drift.reference.reference_from_measures"]
)
def test_a_long_run_after_one_drift_exception_keeps_no_measures(monkeypatch, target):
    failing_once(monkeypatch, target)
    learns = target.endswith("measures")
    preprocess = Preprocess(32, 32)
    counters = RunCounters()
    reference = None if learns else reference_of((plate(seed) for seed in range(24)), preprocess)
    bundle = WatchedBundle(preprocess, reference, np.array([0.1, 0.12, 0.15, 0.11, 0.2], np.float32), 2.0)
    alarms = AlarmLog(counters, lambda alarm: None)
    drift = DriftMonitor(DriftSettings(learn_from=16), BurstSettings(), lambda sha256, recipe: bundle, counters, alarms)
    watch = drift._worker._take.__self__
    judge = inspector()
    for index in range(120):
        taken = frame(index, plate(index % 8))
        drift.write(taken, judge.inspect(taken))
        assert eventually(lambda: drift._worker.waiting == 0)
    drift.close()
    assert counters.drift_state == "failed, see the log: as the test says"
    if learns:
        assert watch._learning is None
    else:
        assert len(watch._watch._block) < 8
        assert 0 < len(watch._watch._blocks) <= MOST_BLOCKS
