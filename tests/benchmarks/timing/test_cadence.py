"""Parts come when the cadence says, whether or not anyone is ready."""

import threading
from dataclasses import replace

import pytest

from benchmarks.timing.measure.cadence import (
    LONGEST_GAP_S,
    Cadence,
    ClosedTrigger,
    PacedTrigger,
    cadence_from_records,
    cadence_from_text,
)
from edge.core.datatypes import Decision
from edge.core.errors import RecordError, UsageError
from edge.records.schema import DATABASE_NAME
from tests.edge.records.records_fakes import look, recorder


def recorded_run(directory, *looks):
    """A run of looks at the line, each (second, decision)."""
    sink = recorder(directory)
    for index, (second, decision) in enumerate(looks):
        taken, verdict = look(index, decision)
        sink.write(replace(taken, captured_ns=round(second * 1e9)), verdict)
    sink.close()


def test_a_cadence_is_a_rate_or_a_period():
    for text, gap_s in [("2.5/s", 0.4), ("90/min", 60 / 90), ("400ms", 0.4), ("0.4s", 0.4), (" 10 / s ", 0.1)]:
        assert cadence_from_text(text).gaps_s == (pytest.approx(gap_s),), text


def test_what_is_no_cadence_is_refused_with_examples(subtests):
    for text in ["", "fast", "0/s", "-1/s", "0ms", "1/h", "2.5", "1e3ms"]:
        with subtests.test(text=text):
            with pytest.raises(UsageError, match="no cadence") as refused:
                cadence_from_text(text)
            assert "2.5/s" in refused.value.fix


def test_a_late_caller_meets_the_moments_as_they_were_planned():
    clock = iter([1_000, 1_000, 10_000_000_000, 20_000_000_000])
    trigger = PacedTrigger(Cadence("uneven", (0.001, 0.003)), lambda: next(clock))
    moments = [trigger.wait() for _ in range(3)]
    assert moments == [(1_000, 1_000_000), (1_001_000, 3_000_000), (4_001_000, 1_000_000)]


def test_back_to_back_waits_until_the_frame_before_is_through():
    trigger = ClosedTrigger()
    trigger.wait()
    came = threading.Event()
    thread = threading.Thread(target=lambda: (trigger.wait(), came.set()))
    thread.start()
    assert not came.wait(0.05)
    trigger.release()
    assert came.wait(5)
    thread.join()


def test_an_ended_trigger_never_waits_again():
    for trigger in (ClosedTrigger(), PacedTrigger(Cadence("slow", (1000.0,)))):
        trigger.wait()
        trigger.end()
        trigger.wait()
        trigger.wait()


def test_recorded_gaps_are_those_between_pictures_of_one_run(tmp_path):
    ok, ng, invalid = Decision.OK, Decision.NG, Decision.INVALID
    recorded_run(tmp_path, (0.0, ok), (0.5, ng), (0.7, invalid), (2.5, ok))
    recorded_run(tmp_path, (0.0, ok), (100.0, ok))
    cadence = cadence_from_records(tmp_path)
    assert cadence.gaps_s == (pytest.approx(0.5), pytest.approx(2.0), LONGEST_GAP_S)
    assert "3 gaps" in cadence.label
    assert "1 cut" in cadence.label


def test_records_of_a_single_part_have_no_cadence(tmp_path):
    recorded_run(tmp_path, (0.0, Decision.OK))
    with pytest.raises(UsageError, match="no two parts"):
        cadence_from_records(tmp_path)


def test_a_folder_without_records_is_refused(tmp_path):
    with pytest.raises(RecordError, match=DATABASE_NAME):
        cadence_from_records(tmp_path)
