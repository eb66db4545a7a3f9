"""From recorded verdicts and labels to the two rates."""

from __future__ import annotations

from datetime import timedelta

import pytest

from edge.metrics import rate_interval
from edge.records.store import RecordStore
from edge.review.labelling import labels_in
from edge.review.labels import Answer
from edge.review.quality import Quality, percent, quality_by_day, quality_records
from edge.review.sample import Group, Scope, drawn_parts, queue
from tests.edge.records.records_fakes import START
from tests.edge.review.review_fakes import BAND, INVALID, LATER, NG, OK, record, say


def quality(directory, **limits) -> Quality:
    with RecordStore(directory) as store:
        return quality_records(store, labels_in(directory), Scope(**limits)).total()


def test_nothing_is_known_before_anybody_looked(tmp_path):
    record(tmp_path, [OK, OK, NG])
    made = quality(tmp_path)
    assert (made.escape.value, made.overkill.value, made.undrawn) == (None, None, 2)
    assert "no picture of an accepted part was drawn (record.keep_ok_share)" in made.lines()[0]
    assert "nobody has looked at a rejected part" in made.lines()[1]


def test_rates_come_from_what_was_drawn_and_looked_at(tmp_path):
    record(tmp_path, [OK, OK, OK, OK, NG, NG, INVALID], keep_ok_share=1.0)
    for verdict_id, answer in ((1, Answer.GOOD), (2, Answer.GOOD), (3, Answer.DEFECT), (4, Answer.UNSURE)):
        say(tmp_path, verdict_id, answer)
    say(tmp_path, 5, Answer.GOOD)
    say(tmp_path, 6, Answer.DEFECT)
    made = quality(tmp_path)
    assert (made.escape.wrong, made.escape.looked_at, made.escape.parts) == (1, 3, 4)
    assert (made.escape.low, made.escape.high) == (rate_interval(1, 3).low, rate_interval(1, 3).high)
    assert made.overkill.value == pytest.approx(2 / 6 * 1 / 2)
    assert made.unsure == 1
    assert made.looked_at == {Group.OK: 4, Group.BAND: 0, Group.NG: 2}
    assert "33 % (95 % interval 0.84 % to 91 %) of accepted parts are defective; 1 of 3 looked at" in made.lines()[0]
    assert made.lines()[2].endswith("1 more that somebody was not sure of count in neither")
    assert quality(tmp_path, since=LATER).escape.parts == 0


def test_the_unsure_band_is_a_stratum_of_its_own(tmp_path):
    record(tmp_path, [*[OK] * 90, *[BAND] * 10], keep_ok_share=1.0)
    with RecordStore(tmp_path) as store:
        order = list(queue(drawn_parts(store, {}, Scope())))
    banded = [each for each in order if each.group is Group.BAND][:4]
    plain = [each for each in order if each.group is Group.OK][:30]
    for number, each in enumerate(banded):
        say(tmp_path, each.key.verdict_id, Answer.DEFECT if number < 2 else Answer.GOOD)
    for each in plain:
        say(tmp_path, each.key.verdict_id, Answer.GOOD)
    # half of the band is defective, and the band is a tenth of what was accepted
    assert quality(tmp_path).escape.value == pytest.approx(0.1 * 0.5)


def test_a_changed_probability_is_accounted_for(tmp_path):
    record(tmp_path, [OK] * 200, keep_ok_share=0.1)
    record(tmp_path, [OK] * 200, seed=1, keep_ok_share=0.5)
    with RecordStore(tmp_path) as store:
        parts = drawn_parts(store, {}, Scope())
    few = [each for each in parts if each.sample_p == 0.1]
    # every part of the first time is defective, none of the second
    for each in parts:
        say(tmp_path, each.key.verdict_id, Answer.DEFECT if each in few else Answer.GOOD)
    estimate = quality(tmp_path).escape
    assert estimate.value == pytest.approx(0.5)
    assert len(few) / len(parts) < 0.3, "a share without weights would be far off"


def test_accepted_parts_of_a_time_without_drawing_are_told(tmp_path):
    record(tmp_path, [OK] * 3)
    record(tmp_path, [OK] * 2, keep_ok_share=1.0)
    say(tmp_path, 4, Answer.GOOD)
    made = quality(tmp_path)
    assert (made.undrawn, made.escape.parts) == (3, 2)
    assert "3 more were accepted while none was drawn" in made.lines()[0]


def test_each_day_has_rates_of_its_own(tmp_path):
    record(tmp_path, [OK, NG], keep_ok_share=1.0)
    record(tmp_path, [OK, OK], keep_ok_share=1.0, begin=START + timedelta(days=1))
    say(tmp_path, 1, Answer.GOOD)
    with RecordStore(tmp_path) as store:
        begin, end = START - timedelta(days=2), START + timedelta(days=2)
        whole, days = quality_by_day(store, labels_in(tmp_path), begin, end)
        assert whole == quality_records(store, labels_in(tmp_path), Scope(begin, end))
    # the second run is of the day after
    first = START.astimezone().date()
    assert list(days) == [first, first + timedelta(days=1)]
    assert [(each.escape.looked_at, each.escape.parts) for each in days.values()] == [(1, 1), (0, 2)]
    assert [each.overkill.parts for each in days.values()] == [2, 2]


def test_shares_are_read_with_two_digits():
    assert [percent(rate) for rate in (None, 0, 0.00123, 0.0123, 0.123, 1)] == [
        "not known", "0 %", "0.12 %", "1.2 %", "12 %", "100 %",
    ]  # fmt: skip
