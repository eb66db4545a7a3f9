"""What a person, or a program, sees of a run while it runs and at its end."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace

import pytest

from edge.core.counters import RunCounters
from edge.core.datatypes import Decision, Part, Reason
from edge.monitoring.json_lines import JsonLines
from edge.monitoring.live_view import LiveView, PlainView, ViewTitle
from edge.monitoring.run_statistics import RunStatistics, run_summary
from tests.edge.records.records_fakes import look, wait_for

TITLE = ViewTitle("rtsp://cam [hall 2]", "bottle", "openvino int8")


def rendered(width: int, counters: RunCounters, statistics: RunStatistics) -> str:
    from rich.console import Console

    view = LiveView(TITLE, counters, statistics, 4, Console(file=io.StringIO(), width=width))
    view.close()
    out = Console(file=io.StringIO(), width=width)
    out.print(view.render())
    return out.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_the_view_shows_the_run_within_the_width_of_the_terminal(width):
    counters = RunCounters(frames=1200, ok=1190, ng=8, invalid=2, dropped=3, record_state="recording", recorded=1200)
    statistics = RunStatistics()
    statistics.write(*look(7, Decision.NG))
    text = rendered(width, counters, statistics)
    for part in (
        "rtsp://cam [hall 2]",
        "bottle on openvino int8",
        "1190 OK",
        "8 NG",
        "2 INVALID",
        "3 dropped",
        "recording",
    ):
        assert part in text
    assert "score 2.5 > threshold 2" in text
    assert max(len(line) for line in text.splitlines()) <= width


def test_trouble_with_the_records_is_shown_with_what_was_lost():
    counters = RunCounters(record_state="disk full: /r has 0 MB free; 312 verdicts waiting", records_lost=4)
    assert "312 verdicts waiting; 4 verdicts lost" in rendered(120, counters, RunStatistics())


def test_whether_the_line_is_ready_is_shown_where_a_challenge_is_asked_for():
    assert "challenge" not in rendered(80, RunCounters(), RunStatistics())
    assert "NOT READY" in rendered(80, RunCounters(ready_state="NOT READY"), RunStatistics())


def test_triggers_and_the_part_of_the_last_verdict_are_shown():
    counters = RunCounters(triggers=12, trigger_state="12 parts asked for were looked at, 0 wait", between_parts=40)
    statistics = RunStatistics()
    taken, verdict = look(7, Decision.NG)
    statistics.write(replace(taken, part=Part("4711", "L7")), verdict)
    text = rendered(120, counters, statistics)
    assert "12 parts asked for were looked at, 0 wait   40 pictures between triggers" in text
    assert "part 4711   lot L7" in text
    assert "trigger     12 triggers, 40 pictures between them" in run_summary(statistics, counters, None)
    counters.missed_triggers = 3
    assert "trigger     12 triggers, 3 more missed, 40 pictures" in run_summary(statistics, counters, None)


def test_before_the_first_frame_the_view_says_so():
    assert "waiting for the first frame" in rendered(80, RunCounters(), RunStatistics())


def test_the_view_counts_what_is_written_to_it():
    from rich.console import Console

    statistics = RunStatistics()
    view = LiveView(TITLE, RunCounters(), statistics, 4, Console(file=io.StringIO()))
    view.write(*look(1))
    view.write(*look(2, Decision.INVALID))
    view.close()
    assert statistics.invalid == {Reason.BLACK: 1}
    assert statistics.latency["total"].count == 1


def test_the_rate_falls_to_zero_when_frames_stop():
    moment = [0.0]
    statistics = RunStatistics(now=lambda: moment[0])
    for _ in range(50):
        moment[0] += 0.1
        statistics.write(*look(0))
    assert statistics.frames_per_second() == pytest.approx(10, rel=0.05)
    moment[0] += 6.0
    assert statistics.frames_per_second() == 0.0


def test_without_a_terminal_a_line_comes_every_few_seconds_even_without_frames():
    out = io.StringIO()
    view = PlainView(RunCounters(camera_state="lost"), RunStatistics(), out, every_s=0.01)
    wait_for(lambda: out.getvalue().count("\n") >= 2)
    view.close()
    assert (
        out.getvalue().splitlines()[0].startswith("0 frames, 0.0/s: 0 OK, 0 NG, 0 INVALID, 0 dropped | camera lost |")
    )


def test_a_line_that_cannot_be_made_does_not_end_the_lines(monkeypatch):
    out = io.StringIO()
    view = PlainView(RunCounters(), RunStatistics(), out, every_s=0.01)
    monkeypatch.setattr(view, "line", lambda: 1 / 0)
    wait_for(lambda: out.getvalue().count("the state of the run cannot be shown: ZeroDivisionError") >= 2)
    view.close()


def test_each_verdict_is_one_json_line():
    out = io.StringIO()
    sink = JsonLines(out, RunCounters(), pytest.fail)
    for i in range(2):
        sink.write(*look(i))
    sink.close()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["frame_index"] for line in lines] == [0, 1]
    assert lines[0]["source"] == "fake camera"
    assert lines[0]["decision"] == "OK"


def test_a_reader_that_goes_away_is_told_of_once_and_what_it_misses_is_counted():
    reading, writing = os.pipe()
    os.close(reading)
    told, counters = [], RunCounters()
    stream = os.fdopen(writing, "w")
    sink = JsonLines(stream, counters, told.append)
    for i in range(3):
        sink.write(*look(i))
    sink.close()
    assert told == ["its reader has gone"]
    assert counters.undelivered == 3
    assert "json        3 verdicts not delivered" in run_summary(RunStatistics(), counters, None)
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_the_summary_says_what_happened_and_where_the_records_are():
    counters = RunCounters(
        frames=3, ok=1, ng=1, invalid=1, dropped=5, recorded=3, images_stored=2, record_state="closed"
    )
    statistics = RunStatistics()
    for i, decision in enumerate(Decision):
        statistics.write(*look(i, decision))
    lines = run_summary(statistics, counters, "/data/records").splitlines()
    assert lines[0] == "frames      3: 1 OK, 1 NG, 1 INVALID (black 1)"
    assert lines[1] == "            last INVALID: fake camera: as the test says"
    assert lines[2] == "camera      5 dropped, 0 reconnects, 0 stalls"
    assert lines[3].startswith("latency     p50 ")
    assert lines[5:] == ["records     3 verdicts and 2 pictures in /data/records", "pictures    /data/records/images"]


def test_the_summary_names_what_was_not_saved():
    counters = RunCounters(
        records_lost=9, images_skipped=2, record_state="closed: 9 verdicts and 2 pictures not saved (x)"
    )
    text = run_summary(RunStatistics(), counters, "r")
    assert "9 verdicts NOT RECORDED, 2 pictures skipped" in text
    assert "closed: 9 verdicts and 2 pictures not saved (x)" in text


def test_a_view_that_cannot_be_drawn_says_so_instead_of_standing_still(monkeypatch):
    from rich.console import Console

    out = io.StringIO()
    view = LiveView(TITLE, RunCounters(), RunStatistics(), 50, Console(file=out, force_terminal=True, width=100))
    monkeypatch.setattr(view, "render", lambda: 1 / 0)
    wait_for(lambda: "the view cannot be drawn: ZeroDivisionError" in out.getvalue())
    view.close()
