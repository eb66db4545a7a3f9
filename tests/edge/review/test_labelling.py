"""What people say of verdicts is only added to, and their pictures outlast retention."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

from edge.core.errors import RecordError, UsageError
from edge.records.store import RecordStore
from edge.review.database import REVIEW_NAME, Change, ReviewDatabase
from edge.review.labelling import labels_in, take_back
from edge.review.labels import Answer, Label, label_of
from tests.edge.records.records_fakes import START, image_files, look, recorder, stored, wait_for
from tests.edge.review.review_fakes import BY, INVALID, LATER, NG, OK, record, say


def test_an_answer_and_a_verdict_make_a_label():
    said = {(decision, answer): label_of(decision, answer).value for decision in (OK, NG) for answer in Answer}
    assert said == {
        (OK, Answer.GOOD): "ok_confirmed",
        (OK, Answer.DEFECT): "escape",
        (OK, Answer.UNSURE): "unsure",
        (NG, Answer.GOOD): "false_reject",
        (NG, Answer.DEFECT): "confirm",
        (NG, Answer.UNSURE): "unsure",
    }
    with pytest.raises(UsageError, match="the verdict is INVALID: the part was not judged"):
        label_of(INVALID, Answer.GOOD)


def test_the_newest_label_counts_and_the_earlier_ones_stay_on_record(tmp_path):
    record(tmp_path, [NG, NG])
    say(tmp_path, 1, Answer.DEFECT)
    say(tmp_path, 2, Answer.GOOD, asked=False, note="a hair")
    say(tmp_path, 1, Answer.GOOD, asked=False)
    labels = {key.verdict_id: review for key, review in labels_in(tmp_path).items()}
    assert [(number, review.label, review.asked) for number, review in labels.items()] == [
        (2, Label.FALSE_REJECT, False),
        (1, Label.FALSE_REJECT, True),
    ]
    assert (labels[2].note, labels[2].who, labels[2].line, labels[2].utc) == ("a hair", "anna@box", "line", LATER)
    with sqlite3.connect(tmp_path / REVIEW_NAME) as connection:
        assert connection.execute("SELECT label FROM reviews ORDER BY id").fetchall() == [
            ("confirm",), ("false_reject",), ("false_reject",),
        ]  # fmt: skip
        for change in ("UPDATE reviews SET label = 'escape'", "DELETE FROM reviews", "DELETE FROM audit"):
            if "audit" not in change:
                with pytest.raises(sqlite3.IntegrityError, match="reviews are only added to"):
                    connection.execute(change)


def test_a_label_that_was_taken_back_is_none(tmp_path):
    record(tmp_path, [NG])
    say(tmp_path, 1, Answer.DEFECT)
    with RecordStore(tmp_path) as store, ReviewDatabase(tmp_path) as reviews:
        take_back(store, reviews, store.verdict(1), BY, LATER)
        assert reviews.labels() == {}
        with pytest.raises(UsageError, match="has no label"):
            take_back(store, reviews, store.verdict(1), BY, LATER)
    say(tmp_path, 1, Answer.GOOD)
    assert [review.label for review in labels_in(tmp_path).values()] == [Label.FALSE_REJECT]


def test_retention_takes_every_picture_but_the_labelled_one(tmp_path):
    record(tmp_path, [NG] * 4)
    row = stored(tmp_path)[1]
    review = say(tmp_path, 2, Answer.DEFECT)
    kept = tmp_path / str(review.picture)
    before = kept.read_bytes()
    assert kept.samefile(tmp_path / row.image)
    sink = recorder(tmp_path, max_image_age_days=1, utc_now=lambda: START + timedelta(days=3))
    wait_for(lambda: not image_files(tmp_path))
    sink.write(*look(9, OK, utc=START + timedelta(days=3)))
    sink.close()
    assert kept.read_bytes() == before
    assert {path.name for path in kept.parent.iterdir()} == {kept.name, f"{kept.stem}.overlay.jpg"}
    # a later label, when the picture is gone from the images, still has it
    again = say(tmp_path, 2, Answer.GOOD)
    assert again.picture is None
    assert [each.picture for each in labels_in(tmp_path).values()] == [review.picture]


def test_where_links_are_not_possible_the_picture_is_copied(tmp_path, monkeypatch):
    def no_links(source, target):
        raise PermissionError(1, "Operation not permitted")

    record(tmp_path, [NG])
    monkeypatch.setattr(os, "link", no_links)
    kept = tmp_path / str(say(tmp_path, 1, Answer.DEFECT).picture)
    image = tmp_path / stored(tmp_path)[0].image
    assert kept.read_bytes() == image.read_bytes() and not kept.samefile(image)
    assert kept.stat().st_mode & 0o777 == 0o640
    assert not list(kept.parent.glob("*.part"))


def test_a_part_without_a_picture_can_be_labelled(tmp_path):
    record(tmp_path, [OK, NG])
    assert say(tmp_path, 1, Answer.DEFECT, asked=False).picture is None
    (tmp_path / stored(tmp_path)[1].image).unlink()
    assert say(tmp_path, 2, Answer.DEFECT).picture is None


def test_labels_do_not_pass_to_other_records_in_the_same_place(tmp_path):
    record(tmp_path, [NG])
    say(tmp_path, 1, Answer.DEFECT)
    for name in ("verdicts.sqlite", "verdicts.sqlite-wal", "verdicts.sqlite-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    record(tmp_path, [NG])
    with RecordStore(tmp_path) as store:
        key = store.run(stored(tmp_path)[0].run_id).key
    assert key not in {each.run_key for each in labels_in(tmp_path)}


def test_changes_are_listed_from_the_newest_and_stay_as_they_are(tmp_path):
    first = Change(START, "anna", "engineer", "threshold", "0.41", "0.44")
    second = replace(first, utc=LATER, action="rollback", before="abc", after="def")
    with ReviewDatabase(tmp_path) as reviews:
        reviews.add_change(first)
        reviews.add_change(second)
        assert reviews.changes(10) == [second, first]
        assert reviews.changes(1) == [second]
    with sqlite3.connect(tmp_path / REVIEW_NAME) as connection:
        for change in ("UPDATE audit SET who = 'bob'", "DELETE FROM audit"):
            with pytest.raises(sqlite3.IntegrityError, match="audit are only added to"):
                connection.execute(change)


def test_a_database_that_is_held_or_damaged_is_told_in_words(tmp_path, monkeypatch):
    record(tmp_path, [NG])
    monkeypatch.setattr("edge.review.database._BUSY_S", 0.05)
    say(tmp_path, 1, Answer.DEFECT)
    holder = sqlite3.connect(tmp_path / REVIEW_NAME, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(RecordError, match=r"review\.sqlite cannot be used: database is locked"):
        say(tmp_path, 1, Answer.GOOD)
    holder.close()
    (tmp_path / REVIEW_NAME).write_bytes(b"no database at all, " * 50)
    with pytest.raises(RecordError, match=r"review\.sqlite cannot be used: file is not a database"):
        labels_in(tmp_path)


def test_a_database_of_the_version_before_is_brought_up_to_date(tmp_path):
    record(tmp_path, [NG])
    with sqlite3.connect(tmp_path / REVIEW_NAME) as connection:
        connection.execute(
            "CREATE TABLE cursors (name TEXT PRIMARY KEY, verdict_id INTEGER NOT NULL, run_key TEXT NOT NULL)"
        )
        connection.execute("INSERT INTO cursors VALUES ('mqtt', 7, 'abc')")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    say(tmp_path, 1, Answer.DEFECT)
    with ReviewDatabase(tmp_path) as reviews:
        assert reviews.cursor("mqtt").verdict_id == 7
        assert len(reviews.labels()) == 1
