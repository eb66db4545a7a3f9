"""Reading a store: ids, listings, and every schema version that ever was."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge.core.datatypes import Decision
from edge.core.errors import RecordError
from edge.inspection.challenges.records import latest_challenges
from edge.records.schema import DATABASE_NAME, MIGRATIONS, SCHEMA_VERSION
from edge.records.store import RecordStore
from tests.edge.records.records_fakes import START, look, recorder


def version_1_store(directory):
    """A file as the first version of the schema left it, with one run and one verdict."""
    connection = sqlite3.connect(directory / DATABASE_NAME)
    for statement in MIGRATIONS[0]:
        connection.execute(statement)
    connection.execute("PRAGMA user_version = 1")
    run = ("abcd1234", START.isoformat(), "cam", "b", "bb", "ee", "fake", "int8", 2.0, 2.0, "pp", "0.0.9", "{}", "box")
    connection.execute(
        "INSERT INTO runs (key, started_utc, source, bundle_path, bundle_sha256, engine_sha256, backend, precision, "
        f"threshold, pixel_threshold, preprocess_sha256, software, config, host) VALUES ({', '.join('?' * 14)})",
        run,
    )
    connection.execute(
        "INSERT INTO verdicts (run_id, frame_index, utc, captured_ns, decision, reason, detail, score, threshold, "
        "wait_ms, preprocess_ms, infer_ms, residual_ms, decide_ms, total_ms, regions, bundle_sha256, engine_sha256, "
        "image_state) "
        "VALUES (1, 5, ?, 9, 'NG', 'above_threshold', 'd', 3.5, 2.0, 1, 1, 1, 1, 1, 5, '[[1, 2, 3, 4, 5, 6.5]]', 'bb', "
        "'ee', 'expired')",
        (START.isoformat(timespec="microseconds"),),
    )
    connection.commit()
    connection.close()


def version_of(directory) -> int:
    connection = sqlite3.connect(directory / DATABASE_NAME)
    try:
        return connection.execute("PRAGMA user_version").fetchone()[0]
    finally:
        connection.close()


def test_a_version_1_store_is_upgraded_for_reading_and_keeps_its_verdicts(tmp_path):
    version_1_store(tmp_path)
    with RecordStore(tmp_path) as store:
        verdict = store.verdict(1)
    assert version_of(tmp_path) == SCHEMA_VERSION == 10
    assert (verdict.frame_index, verdict.score, verdict.regions[0].peak, verdict.utc) == (5, 3.5, 6.5, START)


def test_a_version_1_store_is_continued_by_a_recorder(tmp_path):
    version_1_store(tmp_path)
    sink = recorder(tmp_path)
    sink.write(*look(0))
    sink.close()
    assert version_of(tmp_path) == SCHEMA_VERSION
    with RecordStore(tmp_path) as store:
        assert [verdict.id for verdict in store.verdicts("ORDER BY id DESC LIMIT 10", ())] == [2, 1]
        assert store.run(1).interrupted


def test_an_upgraded_store_has_the_schema_of_a_fresh_one(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    version_1_store(old)
    recorder(old).close()
    recorder(new).close()
    schemas = []
    for directory in (old, new):
        with RecordStore(directory) as store:
            schemas.append(store.query("SELECT type, name, sql FROM sqlite_master ORDER BY name"))
    assert schemas[0] == schemas[1]


def test_a_newer_version_is_refused_with_what_to_do(tmp_path):
    version_1_store(tmp_path)
    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(RecordError, match="schema version 99, this software knows versions up to 10") as refusal:
        RecordStore(tmp_path)
    assert "newer" in refusal.value.fix


def test_a_missing_store_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"no records at .*verdicts\.sqlite"):
        RecordStore(tmp_path)


def test_a_place_that_cannot_be_looked_at_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"verdicts\.sqlite cannot be used: .*File name too long"):
        RecordStore(tmp_path / ("n" * 300))


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / DATABASE_NAME).write_text("hello " * 1000)
    with pytest.raises(RecordError, match="not a database"):
        RecordStore(tmp_path)


def test_an_unknown_id_is_answered_with_those_that_exist(tmp_path):
    sink = recorder(tmp_path)
    for i in range(3):
        sink.write(*look(i))
    sink.close()
    with RecordStore(tmp_path) as store, pytest.raises(RecordError, match="the store holds ids 1 to 3"):
        store.verdict(4)


def test_verdicts_can_be_listed_and_ng_ones_have_an_index(tmp_path):
    sink = recorder(tmp_path)
    for i in range(6):
        sink.write(*look(i, Decision.NG if i % 2 else Decision.OK))
    sink.close()
    with RecordStore(tmp_path) as store:
        assert [v.id for v in store.verdicts("ORDER BY id DESC LIMIT 2", ())] == [6, 5]
        plan = store.query("EXPLAIN QUERY PLAN SELECT id FROM verdicts WHERE decision <> 'OK' AND decision = 'NG'")
    assert "verdicts_not_ok" in plan[0][3]


def test_a_store_can_be_read_while_it_is_written(tmp_path):
    sink = recorder(tmp_path)
    sink.write(*look(0))
    sink.close()
    sink = recorder(tmp_path)
    with RecordStore(tmp_path) as store:
        assert store.verdict(1).frame_index == 0
        sink.write(*look(1))
        sink.close()
        assert store.verdict(2).frame_index == 1


def test_a_store_that_version_0_1_wrote_is_read_and_continued(tmp_path):
    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    connection.executescript((Path(__file__).parent / "version_0_1.sql").read_text())
    connection.close()
    sink = recorder(tmp_path)
    sink.write(*look(2))
    sink.close()
    with RecordStore(tmp_path) as store:
        verdicts = store.verdicts("ORDER BY id DESC LIMIT 10", ())
        assert [run.info.model_sha256 for run in store.runs()] == ["e" * 64] * 2
    assert [(each.run_id, each.frame_index, str(each.decision)) for each in verdicts] == [
        (2, 2, "OK"), (1, 1, "NG"), (1, 0, "OK"),
    ]  # fmt: skip
    assert {each.model_sha256 for each in verdicts} == {"e" * 64}
    # what was called seeded then
    (challenge,) = latest_challenges(tmp_path, 5)
    assert challenge.passed and [part.kind for part in challenge.parts] == ["golden", "synthetic"]
    assert challenge.model_sha256 == "e" * 64


def test_a_line_of_version_0_1_goes_on_recording_after_a_command_of_today_opened_its_store(tmp_path):
    # it may run on while the software is replaced; it would take a renamed column for damage
    sink = recorder(tmp_path)
    sink.write(*look(0))
    sink.close()
    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    connection.execute(
        "INSERT INTO verdicts (run_id, frame_index, utc, captured_ns, decision, reason, detail, score, threshold, "
        "review, wait_ms, preprocess_ms, infer_ms, residual_ms, decide_ms, total_ms, regions, bundle_sha256, "
        "engine_sha256, image_state, image, image_sha256, image_bytes, overlay) VALUES (1, 1, ?, 9, 'OK', "
        "'below_threshold', 'd', 0.5, 2.0, 0, 1, 1, 1, 1, 1, 5, '[]', 'bb', 'ee', 'none', NULL, NULL, 0, NULL)",
        (START.isoformat(timespec="microseconds"),),
    )
    connection.commit()
    connection.close()
    with RecordStore(tmp_path) as store:
        assert store.verdicts("ORDER BY id DESC LIMIT 1", ())[0].model_sha256 == "ee"
