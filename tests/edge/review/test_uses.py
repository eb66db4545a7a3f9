"""What labels are good for: samples for recalibration, defects to learn from, escapes to challenge the line with."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from edge.core.errors import UsageError
from edge.records.schema import DATABASE_NAME
from edge.records.store import RecordStore
from edge.review.database import ReviewDatabase
from edge.review.labelling import take_back
from edge.review.labels import Answer
from edge.review.uses import GoodParts, export_defects, export_escapes, good_parts
from tests.edge.records.records_fakes import RUN, look, recorder
from tests.edge.review.review_fakes import BY, LATER, NG, OK, record, say


@pytest.fixture
def bundle(tmp_path) -> Path:
    """Of which the records of these tests are: four rejects, and six accepted parts."""
    path = tmp_path / "bundle"
    run = replace(RUN, bundle_path=str(path.resolve()))
    record(tmp_path / "records", [NG] * 4 + [OK] * 6, keep_ok_share=1.0, run=run)
    return path


def samples(bundle: Path, at_least: int = 2) -> GoodParts:
    with RecordStore(bundle.parent / "records") as store:
        return good_parts(store, bundle, at_least)


def test_false_rejects_come_with_as_many_accepted_parts_at_random(tmp_path, bundle):
    records = tmp_path / "records"
    for verdict_id in (1, 2, 5, 6, 7, 8, 9):
        say(records, verdict_id, Answer.GOOD)
    say(records, 3, Answer.DEFECT)
    say(records, 10, Answer.DEFECT)
    found = samples(bundle)
    assert (len(found.false_rejects), len(found.confirmed)) == (2, 2)
    assert all(path.is_file() and "-NG." in path.name for path in found.false_rejects)
    assert all(path.is_file() and "-OK." in path.name for path in found.confirmed)
    # the same ones each time, and more where that many are needed
    assert samples(bundle) == found
    assert len(samples(bundle, 7).confirmed) == 5


def test_false_rejects_alone_are_refused_with_what_is_missing(tmp_path, bundle):
    records = tmp_path / "records"
    say(records, 5, Answer.GOOD)
    with pytest.raises(UsageError, match=r"nobody has labelled a part that .* rejected as good"):
        samples(bundle)
    for verdict_id in (1, 2, 3):
        say(records, verdict_id, Answer.GOOD)
    with pytest.raises(UsageError, match="3 false rejects are labelled and 1 accepted parts confirmed, 3 are") as error:
        samples(bundle)
    assert error.value.fix.startswith("confirm 2 more accepted parts")


def test_labels_of_another_bundle_teach_this_one_nothing(tmp_path, bundle):
    say(tmp_path / "records", 1, Answer.GOOD)
    with RecordStore(tmp_path / "records") as store, pytest.raises(UsageError, match="nobody has labelled"):
        good_parts(store, tmp_path / "other", 2)


def test_a_part_that_another_recipe_judged_in_the_same_run_teaches_this_bundle_nothing(tmp_path, bundle):
    sink = recorder(tmp_path / "records", run=replace(RUN, bundle_path=str(bundle.resolve())))
    taken, verdict = look(0, NG)
    sink.write(taken, replace(verdict, recipe="lid", bundle_sha256="f" * 64))
    sink.close()
    say(tmp_path / "records", 11, Answer.GOOD)
    with pytest.raises(UsageError, match="nobody has labelled"):
        samples(bundle)


def test_a_labelled_part_is_of_use_when_its_verdict_has_gone_from_the_records(tmp_path, bundle):
    records = tmp_path / "records"
    for verdict_id in (1, 5):
        say(records, verdict_id, Answer.GOOD)
    with closing(sqlite3.connect(records / DATABASE_NAME)) as connection:
        connection.execute("DELETE FROM verdicts WHERE id <= 5")
        connection.commit()
    found = samples(bundle)
    assert (len(found.false_rejects), len(found.confirmed)) == (1, 1)


def test_defects_go_to_the_product_once_and_leave_it_with_their_label(tmp_path, bundle):
    records, data = tmp_path / "records", tmp_path / "bracket"
    (data / "train" / "good").mkdir(parents=True)
    for verdict_id, answer in ((1, Answer.DEFECT), (2, Answer.GOOD), (5, Answer.DEFECT), (6, Answer.GOOD)):
        say(records, verdict_id, answer)
    folder = data / "train" / "weak" / "reviewed"
    with RecordStore(records) as store:
        made = export_defects(store, bundle, data)
        assert (made.folder, made.held, made.added, made.removed) == (folder, 2, 2, 0)
        again = export_defects(store, bundle, data)
        assert (again.held, again.added, again.removed) == (2, 0, 0)
        names = sorted(path.name for path in folder.iterdir())
        assert [name.split("-")[-1] for name in names] == ["NG.png", "OK.png"]
        # somebody else's pictures stay
        (folder / "mine.png").write_bytes(b"mine")
        say(records, 1, Answer.GOOD)
        changed = export_defects(store, bundle, data)
        assert (changed.held, changed.added, changed.removed) == (1, 0, 1)
        assert sorted(path.name for path in folder.iterdir()) == [names[1], "mine.png"]
        (folder / "mine.png").unlink()
        with ReviewDatabase(records) as reviews:
            take_back(store, reviews, store.verdict(5), BY, LATER)
        assert export_defects(store, bundle, data).removed == 1
    # an empty one would be refused by what learns from it
    assert not (data / "train" / "weak").exists()


def test_escapes_join_the_challenge_and_defects_that_were_found_do_not(tmp_path, bundle):
    records, challenge = tmp_path / "records", tmp_path / "golden"
    (challenge / "good").mkdir(parents=True)
    for verdict_id in (1, 5):
        say(records, verdict_id, Answer.DEFECT)
    with RecordStore(records) as store:
        made = export_escapes(store, bundle, challenge)
        assert (made.held, made.folder) == (1, challenge / "escapes")
        with pytest.raises(UsageError, match="no such folder"):
            export_escapes(store, bundle, tmp_path / "nowhere")
