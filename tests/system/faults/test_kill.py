"""kill -9 in the middle of writing: what was recorded stays whole, and the next run goes on in the same store."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.core.datatypes import Decision
from edge.records.schema import DATABASE_NAME
from edge.records.store import RecordStore
from tests.edge.records.records_fakes import look, recorder
from tests.paths import ROOT

CHILD = """
import sys, time
from pathlib import Path
from edge.core.datatypes import Decision
from tests.edge.records.records_fakes import look, recorder

sink = recorder(Path(sys.argv[1]), commit_every_ms=200)
kinds = (Decision.NG, Decision.OK, Decision.OK, Decision.INVALID)
for index in range(100000):
    sink.write(*look(index, kinds[index % 4], size=(120, 160)))
    print(index, time.monotonic(), flush=True)
    time.sleep(0.008)
"""


def killed_after(directory: Path, seconds: float) -> list[tuple[int, float]]:
    """Run the child for about `seconds` of writing; (frame index, monotonic time) of all it handed to the recorder."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(directory)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        first = child.stdout.readline()
        time.sleep(seconds)
    finally:
        child.kill()
    rest, _ = child.communicate()
    # the last line may be cut
    lines = (first + rest).rsplit("\n", 1)[0].splitlines()
    return [(int(index), float(moment)) for index, moment in (line.split() for line in lines)]


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_run_loses_at_most_its_last_second_and_leaves_nothing_torn(tmp_path, seed):
    written = killed_after(tmp_path, random.Random(seed).uniform(0.7, 1.6))

    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    with RecordStore(tmp_path) as store:
        rows = store.verdicts("ORDER BY id", ())
    assert [row.frame_index for row in rows] == list(range(len(rows)))
    lost = [moment for index, moment in written if index >= len(rows)]
    assert written[-1][1] - lost[0] <= 1.0 if lost else True
    assert pictures_of(tmp_path, rows) > 0

    sink = recorder(tmp_path)
    sink.write(*look(0, Decision.NG))
    time.sleep(0.3)
    sink.close()
    with RecordStore(tmp_path) as store:
        rows = store.verdicts("ORDER BY id", ())
        runs = store.runs()
    assert [run.interrupted for run in runs] == [True, False]
    assert (rows[-1].run_id, rows[-1].image_state) == (2, "stored")
    assert all(row.image_state != "waiting" for row in rows)
    named = {name for row in rows if row.image for name in (row.image, row.overlay)}
    found = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "images").rglob("*") if path.is_file()}
    assert found == named


def pictures_of(directory: Path, rows) -> int:
    """How many rows have a picture; each must be there, whole."""
    with_picture = [row for row in rows if row.image is not None]
    for row in with_picture:
        assert hashlib.sha256((directory / row.image).read_bytes()).hexdigest() == row.image_sha256
        assert (directory / row.overlay).stat().st_size > 0
    return len(with_picture)
