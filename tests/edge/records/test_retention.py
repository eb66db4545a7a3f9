"""What is too old, too much, or left behind by a crash goes, and nothing else does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from edge.core.counters import RunCounters
from edge.core.datatypes import Decision
from edge.records.store import RecordStore
from tests.edge.records.records_fakes import START, image_files, look, recorder, stored, wait_for

NG, OK = Decision.NG, Decision.OK


def test_pictures_go_from_the_oldest_when_their_bytes_exceed_the_limit(tmp_path):
    counters = RunCounters()
    sink = recorder(tmp_path, counters, max_image_mb=0.3)
    for i in range(20):
        sink.write(*look(i, NG, size=(40, 60)))
    wait_for(lambda: counters.images_stored == 20)

    def kept_bytes():
        with RecordStore(tmp_path) as store:
            return store.query("SELECT total(image_bytes) FROM verdicts")[0][0]

    wait_for(lambda: kept_bytes() <= 300_000)
    sink.close()
    states = [row.image_state for row in stored(tmp_path)]
    gone = states.count("expired")
    assert 0 < gone < 20
    assert states == ["expired"] * gone + ["stored"] * (20 - gone)
    assert len(image_files(tmp_path)) == 2 * (20 - gone)


def test_pictures_older_than_the_limit_go_and_their_verdicts_stay(tmp_path):
    counters = RunCounters()
    sink = recorder(tmp_path, counters, max_image_age_days=2, utc_now=lambda: START + timedelta(days=3))
    sink.write(*look(0, NG, utc=START))
    sink.write(*look(1, NG, utc=START + timedelta(days=2)))
    wait_for(lambda: counters.images_stored == 2)
    wait_for(lambda: len(image_files(tmp_path)) == 2)
    sink.close()
    assert [(row.image_state, row.image is None) for row in stored(tmp_path)] == [("expired", True), ("stored", False)]


def test_verdicts_older_than_the_limit_go_with_their_pictures_and_ids_are_never_reused(tmp_path):
    counters = RunCounters()
    limits = {"max_image_age_days": None, "max_image_mb": None, "max_verdict_age_days": 10}
    sink = recorder(tmp_path, counters, utc_now=lambda: START + timedelta(days=30), **limits)
    for i in range(5):
        sink.write(*look(i, NG if i % 2 else OK, utc=START))
    wait_for(lambda: counters.recorded == 5)
    wait_for(lambda: not stored(tmp_path))
    sink.write(*look(5, OK, utc=START + timedelta(days=30)))
    sink.close()
    assert [row.id for row in stored(tmp_path)] == [6]
    assert image_files(tmp_path) == []


def test_files_without_a_row_and_half_files_are_swept_at_start_but_foreign_ones_stay(tmp_path):
    sink = recorder(tmp_path)
    sink.write(*look(0, NG))
    sink.close()
    row = stored(tmp_path)[0]
    real, overlay = tmp_path / row.image, tmp_path / row.overlay
    with RecordStore(tmp_path) as store:
        key = store.run(1).key
    orphan = real.with_name("1-000001-080001+0000-NG.png")
    # names of earlier versions
    earlier = real.with_name(f"080001-{key}-000000001-NG.png")
    for path in (orphan, earlier, earlier.with_name(f"{earlier.stem}.overlay.jpg"), Path(f"{real}.part")):
        path.write_bytes(b"left behind")
    foreign = [real.with_name("holiday.png"), real.with_name("080001-ffffffff-000000001-NG.png")]
    foreign.append(real.with_name("7-000001-080001+0000-NG.png"))
    for path in foreign:
        path.write_bytes(b"not ours")
    sink = recorder(tmp_path)
    wait_for(lambda: not orphan.exists() and not earlier.exists() and not Path(f"{real}.part").exists())
    sink.close()
    assert sorted(real.parent.iterdir()) == sorted([real, overlay, *foreign])
