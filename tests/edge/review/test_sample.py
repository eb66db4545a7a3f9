"""Which parts people look at: at random, from all of the time alike, and without telling the verdict."""

from __future__ import annotations

import numpy as np

from edge.core.datatypes import Decision
from edge.records.store import RecordStore
from edge.review.database import Review, VerdictKey
from edge.review.labelling import labels_in
from edge.review.labels import Answer, Label
from edge.review.sample import WANTED, Drawn, Group, Scope, drawn_parts, looked_at, next_parts, queue, random_place
from tests.edge.review.review_fakes import BAND, INVALID, LATER, NG, OK, record, say


def drawn(number: int, group: Group = Group.OK, sample_p: float = 1.0, *, said: bool = False, asked: bool = True):
    key = VerdictKey("abcd1234", number)
    review = Review("line", key, Label.OK_CONFIRMED, asked, "anna", LATER) if said else None
    return Drawn(key, group, sample_p, "2026-03-14T08:00:00.000000+00:00", True, review)


def test_places_are_spread_evenly_and_keep_no_step_with_any_number_of_cavities():
    places = np.array([random_place(number) for number in range(20_000)])
    assert places.min() >= 0 and places.max() < 1
    assert np.abs(np.histogram(places, 10, (0, 1))[0] / 20_000 - 0.1).max() < 0.01
    for cavities in (2, 4, 7, 16):
        lowest = np.argsort(places)[:2000]
        shares = np.bincount(lowest % cavities, minlength=cavities) / 2000
        assert np.abs(shares - 1 / cavities).max() < 0.03


def test_what_was_drawn_is_found_with_its_group_and_probability(tmp_path):
    record(tmp_path, [OK, NG, BAND, INVALID, OK], keep_ok_share=1.0)
    say(tmp_path, 2, Answer.GOOD)
    with RecordStore(tmp_path) as store:
        found = drawn_parts(store, labels_in(tmp_path), Scope())
        nothing = drawn_parts(store, {}, Scope(since=LATER))
    assert {each.key.verdict_id: (each.group, each.sample_p, each.review is None) for each in found} == {
        1: (Group.OK, 1.0, True),
        2: (Group.NG, 1.0, False),
        3: (Group.BAND, 1.0, True),
        5: (Group.OK, 1.0, True),
    }
    assert nothing == []


def test_an_accepted_part_that_was_not_drawn_is_not_asked_for(tmp_path):
    record(tmp_path, [OK] * 40, keep_ok_share=0.2)
    with RecordStore(tmp_path) as store:
        kept = {row[0] for row in store.query("SELECT id FROM verdicts WHERE image IS NOT NULL")}
        assert 0 < len(kept) < 40
        asked = next_parts(store, drawn_parts(store, {}, Scope()), 100)
    assert {each.id for each in asked} == kept
    assert all(each.decision is Decision.OK for each in asked)


def test_within_a_group_the_lowest_place_is_next_and_groups_come_as_they_are_wanted():
    parts = [drawn(number, group) for number, group in enumerate([*Group] * 600)]
    order = list(queue(parts))
    for group in Group:
        places = [each.place for each in order if each.group is group]
        assert len(places) == 600 and places == sorted(places)
    first = [each.group for each in order[:500]]
    assert {group: first.count(group) for group in Group} == WANTED
    # nobody can tell the verdict from the ones before
    assert len(set(first[:8])) > 1


def test_what_was_labelled_is_not_asked_again_and_what_is_taken_back_comes_first():
    parts = [drawn(number) for number in range(10)]
    first = next(queue(parts)).key.verdict_id
    parts[first] = drawn(first, said=True)
    assert next(queue(parts)).key.verdict_id != first
    parts[first] = drawn(first)
    assert next(queue(parts)).key.verdict_id == first


def test_parts_of_a_time_in_which_fewer_were_drawn_are_looked_at_as_often_as_the_others():
    random = np.random.default_rng(1)
    probability = np.where(np.arange(40_000) < 20_000, 0.05, 0.5)
    kept = np.flatnonzero(random.random(40_000) < probability)
    order = list(queue([drawn(int(number), sample_p=float(probability[number])) for number in kept]))[:1000]
    early = sum(each.key.verdict_id < 20_000 for each in order)
    assert abs(early - 500) < 4 * np.sqrt(250)


def test_a_part_that_somebody_looked_up_counts_only_once_the_queue_has_come_to_it():
    parts = {number: drawn(number) for number in range(100)}
    order = [each.key.verdict_id for each in queue(list(parts.values()))]
    for number in order[:20]:
        parts[number] = drawn(number, said=True)
    parts[order[90]] = drawn(order[90], said=True, asked=False)
    assert {each.key.verdict_id for each in looked_at(list(parts.values()))} == set(order[:20])
    for number in order[20:95]:
        parts[number] = drawn(number, said=True, asked=number != order[90])
    assert {each.key.verdict_id for each in looked_at(list(parts.values()))} == set(order[:95])
