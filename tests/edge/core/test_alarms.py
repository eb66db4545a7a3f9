"""The board of a run's alarms keeps a stated number of them, those that stand before all."""

from dataclasses import replace
from datetime import datetime, timezone

from edge.core.alarms import MOST_KEPT, Alarm, AlarmBoard
from edge.core.counters import RunCounters
from edge.monitoring.run_statistics import RunStatistics, run_summary

NOW = datetime(2026, 3, 14, 8, tzinfo=timezone.utc)


def raised(board):
    alarm = Alarm(board.new_number(), "burst", "8 of 10 parts rejected", "look", 8.0, "parts", NOW, NOW, 0)
    board.put(alarm)
    return alarm


def test_of_many_alarms_the_oldest_that_are_over_are_left_out_and_counted():
    counters = RunCounters()
    board = counters.alarms
    standing = raised(board)
    for _ in range(10 * MOST_KEPT):
        board.put(replace(raised(board), ended=NOW))
    kept = board.all()
    assert len(kept) == MOST_KEPT
    assert board.standing() == [standing] == kept[:1]
    assert kept[-1].number == 10 * MOST_KEPT + 1
    left_out = 9 * MOST_KEPT + 1
    assert board.left_out == left_out
    assert f"alarms      {left_out} older ones are left out here, not in `edge-inspect report`" in run_summary(
        RunStatistics(), counters, None
    )


def test_alarms_that_all_stand_are_bounded_too():
    board = AlarmBoard()
    for _ in range(2 * MOST_KEPT):
        raised(board)
    assert len(board.all()) == MOST_KEPT
