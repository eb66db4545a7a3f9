"""The unsure band behind the inspector: pictures are kept, counted, shown, reported; a late verdict loses the mark."""

from dataclasses import replace

from edge.core.counters import RunCounters
from edge.core.datatypes import Decision
from edge.inspection.loop import in_time
from edge.monitoring.live_view import PlainView
from edge.monitoring.run_statistics import RunStatistics, run_summary
from edge.records.report import build_report
from edge.records.store import RecordStore
from tests.edge.records.records_fakes import look, recorder, stored


def for_review(index):
    frame, verdict = look(index)
    return frame, replace(verdict, review=True)


def test_a_part_for_review_is_recorded_with_its_picture_and_reported(tmp_path):
    sink = recorder(tmp_path)
    for each in (look(0), for_review(1), look(2, Decision.NG)):
        sink.write(*each)
    sink.close()
    assert [(verdict.decision, verdict.review) for verdict in stored(tmp_path)] == [
        (Decision.OK, False), (Decision.OK, True), (Decision.NG, False),
    ]  # fmt: skip
    assert [verdict.image is not None for verdict in stored(tmp_path)] == [False, True, True]
    with RecordStore(tmp_path) as store:
        report = build_report(store)
    assert (report.review.count, report.review.total) == (1, 3)
    assert report.as_json()["review"]["parts"] == 1
    assert report.decisions == {"OK": 2, "NG": 1, "INVALID": 0}


def test_the_run_says_how_many_parts_are_for_review_once_there_are_some(capsys):
    counters, statistics = RunCounters(frames=5, ok=5), RunStatistics()
    assert "review" not in run_summary(statistics, counters, None)
    counters.review = 2
    assert "5 OK (2 for review), 0 NG" in run_summary(statistics, counters, None)
    view = PlainView(counters, statistics, stream=None, every_s=60)
    assert "5 OK (2 for review), 0 NG" in view.line()
    view.close()


def test_a_verdict_that_comes_too_late_is_invalid_and_not_for_review():
    _, verdict = for_review(1)
    late = in_time(replace(verdict, times=replace(verdict.times, total=50.0)), deadline_ms=10)
    assert (late.decision, late.review) == (Decision.INVALID, False)
