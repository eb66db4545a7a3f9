"""What waits for a disk that takes nothing is bounded, and what is lost is counted."""

from dataclasses import replace
from datetime import datetime, timezone

from edge.core.alarms import Alarm
from edge.core.counters import RunCounters
from edge.monitoring.run_statistics import RunStatistics, run_summary
from edge.records.writer.queue import MOST_ALARMS, RecordQueue

NOW = datetime(2026, 3, 14, 8, tzinfo=timezone.utc)


def alarm(number):
    return Alarm(number, "burst", "8 of 10 parts rejected", "look", 8.0, "parts", NOW, NOW, 0)


def test_alarms_wait_in_their_newest_state_and_a_stated_number_of_them():
    counters = RunCounters()
    queue = RecordQueue(10, 10, counters)
    for number in range(3 * MOST_ALARMS):
        queue.put_alarm(alarm(number))
        queue.put_alarm(replace(alarm(number), ended=NOW))
    waiting = queue.alarms()
    assert [each.number for each in waiting] == list(range(2 * MOST_ALARMS, 3 * MOST_ALARMS))
    assert all(each.ended == NOW for each in waiting)
    assert counters.alarms_lost == 2 * MOST_ALARMS
    assert f"{2 * MOST_ALARMS} alarms NOT RECORDED" in run_summary(RunStatistics(), counters, "r")


def test_a_state_that_came_while_the_one_before_was_committed_goes_on_waiting():
    queue = RecordQueue(10, 10, RunCounters())
    queue.put_alarm(alarm(1))
    queue.put_alarm(alarm(2))
    taken = queue.alarms()
    newer = replace(alarm(1), ended=NOW)
    queue.put_alarm(newer)
    queue.alarms_committed(taken)
    assert queue.alarms() == [newer]
