"""The study of many boxes, with a few: it must see what is lost or doubled."""

import numpy as np
import pytest

from benchmarks.studies.fleet import records
from benchmarks.studies.fleet.kills import killed_before

pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
pytest.importorskip("duckdb", reason="duckdb is not installed")


def test_every_row_is_there_once_whatever_happens_to_the_boxes(tmp_path, monkeypatch):
    # with few boxes, more often
    monkeypatch.setattr(records, "_ODD_SHARE", 0.3)
    made = records.simulate(tmp_path, boxes=4, rounds=3, rows=5, seed=1)
    assert made["rows"] > 50
    assert (made["rows_lost"], made["rows_doubled"], made["rows_unknown"]) == (0, 0, 0)
    assert all(made["happened"].values())


def test_rows_that_are_missing_or_twice_are_seen(tmp_path, monkeypatch):
    export = records.export_records

    def careless(settings, folder):
        made = export(settings, folder)
        for path in list(folder.rglob("verdicts/*/line=line-0/*/*.parquet"))[:1]:
            path.unlink()
        for path in list(folder.rglob("verdicts/*/line=line-1/*/*.parquet"))[:1]:
            path.with_name("again.parquet").write_bytes(path.read_bytes())
        return made

    monkeypatch.setattr(records, "export_records", careless)
    monkeypatch.setattr(records, "_ODD_SHARE", 0.0)
    monkeypatch.setattr(records, "_KILL_SHARE", 0.0)
    made = records.simulate(tmp_path, boxes=3, rounds=1, rows=5, seed=1)
    assert made["rows_lost"] > 0
    assert made["rows_doubled"] > 0


def test_work_that_fails_is_no_kill():
    with pytest.raises(RuntimeError, match="ended with status"):
        killed_before(10**6, lambda: np.zeros(1)[2])
