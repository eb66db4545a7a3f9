"""review.sqlite: beside the records, in a file that no line writes."""

import sqlite3

import pytest

from edge.core.datatypes import Decision
from edge.core.errors import RecordError
from edge.records.store import RecordStore
from edge.review.database import REVIEW_NAME, Cursor, ReviewDatabase, is_of, newest_cursor, over_alarms
from tests.edge.records.records_fakes import look, recorder


def test_a_cursor_stays_where_it_was_put(tmp_path):
    folder = tmp_path / "records"
    with ReviewDatabase(folder) as review:
        assert review.cursor("mqtt") is None
        review.save_cursor("mqtt", Cursor(7, "abc"))
        review.save_cursor("other", Cursor(1, "abc"))
        review.save_cursor("mqtt", Cursor(9, "abc"))
    with ReviewDatabase(folder) as review:
        assert review.cursor("mqtt") == Cursor(9, "abc")
        assert review.cursor("other") == Cursor(1, "abc")
    assert (folder / REVIEW_NAME).stat().st_mode & 0o777 == 0o640


def test_a_cursor_knows_the_records_it_was_set_in(tmp_path):
    for folder in ("first", "second"):
        run = recorder(tmp_path / folder)
        for index in range(3):
            run.write(*look(index, Decision.OK))
        run.close()
    with RecordStore(tmp_path / "first") as first, RecordStore(tmp_path / "second") as second:
        cursor = newest_cursor(first)
        assert cursor.verdict_id == 3
        assert is_of(cursor, first) and not is_of(cursor, second)
        # the beginning is that of any records
        assert is_of(Cursor(), second)
        assert over_alarms(first).verdict_id == 0


@pytest.mark.parametrize("spoil", [
    lambda path: path.write_bytes(b"no database at all, " * 50),
    lambda path: _with_version(path, 99),
])  # fmt: skip
def test_a_file_that_cannot_be_used_is_named(tmp_path, spoil):
    spoil(tmp_path / REVIEW_NAME)
    with pytest.raises(RecordError, match=r"review\.sqlite cannot be used|schema version 99"):
        ReviewDatabase(tmp_path)


def _with_version(path, version):
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
