"""What the report counts, and how sure it is."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from edge.core.datatypes import Decision
from edge.core.errors import RecordError, UsageError
from edge.records.report import build_report, moment_from_text, rate_of, report_table
from edge.records.store import RecordStore
from tests.edge.records.records_fakes import START, look, recorder


@pytest.fixture
def store(tmp_path):
    """Two runs a day apart: 8 OK, 2 NG; then 1 OK, 1 INVALID."""
    sink = recorder(tmp_path)
    for i in range(10):
        sink.write(*look(i, Decision.NG if i >= 8 else Decision.OK))
    sink.close()
    sink = recorder(tmp_path)
    for i, decision in enumerate((Decision.OK, Decision.INVALID)):
        sink.write(*look(i, decision, utc=START + timedelta(days=1, seconds=i)))
    sink.close()
    with RecordStore(tmp_path) as opened:
        yield opened


def test_decisions_and_reasons_are_counted(store):
    report = build_report(store)
    assert report.verdicts == 12
    assert report.decisions == {"OK": 9, "NG": 2, "INVALID": 1}
    assert report.reasons == {"below_threshold": 9, "above_threshold": 2, "black": 1}


def test_the_defect_rate_is_of_inspected_parts_only(store):
    rate = build_report(store).defect_rate
    assert (rate.count, rate.total) == (2, 11)


def test_a_range_includes_its_start_and_excludes_its_end(store):
    report = build_report(store, START + timedelta(seconds=2), START + timedelta(seconds=9))
    assert report.decisions == {"OK": 6, "NG": 1, "INVALID": 0}
    assert report.last == START + timedelta(seconds=8)


def test_a_run_can_be_chosen(store):
    report = build_report(store, run_id=2)
    assert (report.verdicts, report.runs, report.sources) == (2, (2,), ("fake camera",))


def test_an_unknown_run_or_source_is_an_error(store):
    with pytest.raises(RecordError, match="no run 3"):
        build_report(store, run_id=3)
    with pytest.raises(UsageError, match="no run of the source `x` is on record") as refusal:
        build_report(store, source="x")
    assert refusal.value.fix == "recorded sources: fake camera"


def test_latency_percentiles_are_those_of_the_recorded_times(store):
    totals = [v.times.total for v in store.verdicts("ORDER BY id DESC LIMIT 100", ()) if v.score is not None]
    latency = build_report(store).latency
    assert latency["total"].p90 == pytest.approx(np.percentile(totals, 90), abs=1e-3)
    assert latency["total"].max == pytest.approx(max(totals), abs=1e-3)
    assert set(latency) == {"wait", "preprocess", "infer", "residual", "decide", "total"}


def test_an_empty_range_reports_nothing_and_no_rate(store):
    report = build_report(store, START + timedelta(days=9))
    assert (report.verdicts, report.defect_rate.value, report.latency) == (0, None, {})


def test_the_report_is_json(store):
    value = json.loads(json.dumps(build_report(store).as_json()))
    assert value["defect_rate"]["defective"] == 2
    assert value["first"] == "2026-03-14T08:00:00.000000+00:00"


def test_the_table_fits_eighty_columns(store):
    from rich.console import Console

    out = Console(file=io.StringIO(), width=80)
    out.print(report_table(build_report(store)))
    out.print(report_table(build_report(store, START + timedelta(days=9))))
    text = out.file.getvalue()
    assert "18.182%" in text
    assert "no verdicts in this range" in text


# expected values: scipy.stats.binomtest(count, total).proportion_ci()
def test_the_interval_is_clopper_and_pearsons():
    for count, total, *interval in [
        (0, 10, 0.0, 0.308497), (1, 10, 0.002529, 0.445016), (10, 10, 0.691503, 1.0), (5, 1000, 0.001625, 0.011629),
    ]:  # fmt: skip
        rate = rate_of(count, total)
        assert [rate.low, rate.high] == pytest.approx(interval, abs=1e-6), (count, total)


def test_a_duration_counts_back_from_now():
    for text, expected in [
        ("8h", timedelta(hours=8)), ("30m", timedelta(minutes=30)),
        ("1.5d", timedelta(days=1.5)), ("90 s", timedelta(seconds=90)),
    ]:  # fmt: skip
        assert moment_from_text(text, START) == START - expected, text


def test_a_time_with_a_zone_is_that_time_and_without_one_is_local():
    assert moment_from_text("2026-03-14T08:00:00Z", START) == START
    assert moment_from_text("2026-03-14T09:00+01:00", START) == START
    assert moment_from_text("2026-03-14", START) == datetime(2026, 3, 14).astimezone(timezone.utc)


def test_what_is_not_a_time_is_an_error(subtests):
    for text in ["yesterday", "8", "8y", "", "99999999999d"]:
        with subtests.test(text=text), pytest.raises(UsageError, match="is not a time"):
            moment_from_text(text, START)
