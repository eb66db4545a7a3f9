"""Recorded pictures are judged again: once, the same whoever does it, and whatever happens meanwhile."""

import errno
import os
import shutil
import sqlite3
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from edge.core.datatypes import Reason
from edge.core.errors import BundleError, RecordError, UsageError
from edge.core.files.file_lock import file_lock
from edge.fleet.archive.judge import Judge, Judging
from edge.fleet.archive.names import file_name
from edge.fleet.archive.recorded import Outcome, Skipped
from edge.records.schema import DATABASE_NAME
from edge.records.store import RecordStore
from edge.review.database import REVIEW_NAME
from edge.review.labels import Answer
from tests.edge.fleet.archive.archives import (
    START,
    command,
    files,
    judged,
    parts,
    prune,
    record,
    recording,
    results,
    set_threshold,
    settings_for,
    summary,
    write,
)
from tests.edge.review.review_fakes import say

pytest.importorskip("pyarrow", reason="pyarrow is not installed (the extra parquet)")


def test_the_bundle_that_recorded_gives_the_recorded_verdicts(archive, bundle_path, tmp_path):
    made = judged(archive, bundle_path, tmp_path / "out")
    assert [(each.decision, each.score) for each in results(made)] == [
        (each.recorded.decision, each.recorded.score) for each in results(made)
    ]
    assert Counter(each.decision for each in results(made)) == {"OK": 12, "NG": 3}
    assert not any(each.flip for each in results(made))


def test_another_bundle_flips_verdicts(archive, strict, tmp_path):
    made = judged(archive, strict, tmp_path / "out")
    assert Counter(each.flip for each in results(made)) == {"OK to NG": 12, "": 3}
    assert summary(made).lines()[:2] == [
        "15 pictures judged again; 12 verdicts changed (80.00%)",
        "12 were OK: 12 became NG (100.00%)",
    ]


def test_any_number_of_workers_gives_the_same_bytes(archive, strict, tmp_path):
    judged(archive, strict, tmp_path / "one", workers=1)
    judged(archive, strict, tmp_path / "three", workers=3)
    assert len(files(tmp_path / "one")) == 3
    assert files(tmp_path / "one") == files(tmp_path / "three")


def test_a_second_run_judges_nothing_and_writes_nothing(archive, strict, tmp_path):
    judged(archive, strict, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    made = judged(archive, strict, tmp_path / "out")
    assert (made.judged, made.kept) == (0, 15)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")} == before


def test_a_run_that_is_stopped_loses_no_more_than_the_shard_in_work(archive, strict, tmp_path, monkeypatch):
    whole = judged(archive, strict, tmp_path / "whole")
    judge, count = Judge.judge, iter(range(100))

    def stopped_at_the_eighth(self, shard, recorded):
        if next(count) == 7:
            raise KeyboardInterrupt
        return judge(self, shard, recorded)

    with monkeypatch.context() as patch:
        patch.setattr(Judge, "judge", stopped_at_the_eighth)
        with pytest.raises(KeyboardInterrupt):
            judged(archive, strict, tmp_path / "out")
    assert len(files(tmp_path / "out")) == 1
    made = judged(archive, strict, tmp_path / "out")
    assert (made.judged, made.kept) == (10, 5)
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert whole.judged == 15


def test_what_is_wrong_with_a_picture_is_a_row_with_the_reason(archive, strict, tmp_path):
    with RecordStore(archive) as store:
        gone, cut, other = [archive / each.image for each in store.verdicts("ORDER BY id LIMIT 3", ())]
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:100])
    other.write_bytes(b"")
    made = judged(archive, strict, tmp_path / "out")
    assert [each.outcome for each in results(made)][:4] == [
        Outcome.MISSING, Outcome.DAMAGED, Outcome.DAMAGED, Outcome.JUDGED
    ]  # fmt: skip
    assert "100 bytes with sha256" in results(made)[1].detail
    lines = summary(made).lines()
    assert "3 pictures could not be judged: 2 damaged, 1 missing" in lines


def test_a_picture_that_is_brought_back_is_judged_by_the_next_run(archive, strict, tmp_path):
    with RecordStore(archive) as store:
        (first,) = store.verdicts("ORDER BY id LIMIT 1", ())
    data = (archive / first.image).read_bytes()
    (archive / first.image).unlink()
    judged(archive, strict, tmp_path / "out")
    (archive / first.image).write_bytes(data)
    made = judged(archive, strict, tmp_path / "out")
    assert (made.judged, made.kept) == (1, 14)
    assert results(made)[0].outcome is Outcome.JUDGED


def test_looks_without_a_part_are_skipped_and_counted(bundle_path, strict, tmp_path):
    record(tmp_path / "records", bundle_path, [*parts(1, 0), Reason.NO_FRAME, Reason.MISSED_FRAME])
    record(tmp_path / "records", bundle_path, parts(2, 0), keep_ok_share=0.0)
    made = judged(tmp_path / "records", strict, tmp_path / "out")
    assert made.skipped == {Skipped.NO_PART: 2, Skipped.NOT_KEPT: 2}
    assert len(results(made)) == 1


def test_the_rejects_among_parts_without_a_picture_are_estimated(bundle_path, strict, tmp_path):
    # of 40 OK parts some pictures are kept at random, and the strict bundle rejects every part
    record(tmp_path / "records", bundle_path, parts(40, 0), keep_ok_share=0.4)
    made = judged(tmp_path / "records", strict, tmp_path / "out")
    rejects = summary(made).new_rejects()
    assert 0 < rejects.looked_at < 40
    assert (rejects.wrong, rejects.parts, rejects.value) == (rejects.looked_at, 40, 1.0)
    (line,) = [
        line for line in summary(made).lines() if line.startswith("of all 40 OK parts about 100.00% would be NG")
    ]
    assert line.endswith(f"as the {rejects.looked_at} with a picture say")


def test_without_any_picture_of_ok_parts_nothing_is_said_of_their_rejects(bundle_path, strict, tmp_path):
    record(tmp_path / "records", bundle_path, parts(4, 1), keep_ok_share=0.0)
    lines = summary(judged(tmp_path / "records", strict, tmp_path / "out")).lines()
    assert "what it would reject of 4 OK parts is not known: none of their pictures is there" in lines


def test_pictures_of_several_cameras_are_left_out(archive, strict, tmp_path):
    # as a line with a group of cameras records them
    connection = sqlite3.connect(archive / DATABASE_NAME)
    with connection:
        if "cameras" not in {row[1] for row in connection.execute("PRAGMA table_info(verdicts)")}:
            connection.execute("ALTER TABLE verdicts ADD COLUMN cameras TEXT")
        connection.execute("UPDATE verdicts SET cameras = '[]' WHERE id <= 2")
    connection.close()
    made = judged(archive, strict, tmp_path / "out")
    assert made.skipped == {Skipped.SEVERAL_CAMERAS: 2}
    assert len(results(made)) == 13


def test_an_archive_cannot_lead_out_of_its_folder(archive, strict, tmp_path):
    shutil.copytree(archive / "images", tmp_path / "images")
    connection = sqlite3.connect(archive / DATABASE_NAME)
    with connection:
        connection.execute("UPDATE verdicts SET image = '../' || image WHERE id = 1")
        connection.execute("UPDATE runs SET key = '../../images' WHERE id = 1")
    connection.close()
    made = judged(archive, strict, tmp_path / "out")
    assert results(made)[0].outcome is Outcome.MISSING


def test_the_database_itself_may_be_named(archive, strict, tmp_path):
    assert judged(archive / DATABASE_NAME, strict, tmp_path / "out").judged == 15


def test_a_labelled_picture_is_found_after_the_records_dropped_it(archive, bundle_path, strict, tmp_path):
    say(archive, 1, Answer.DEFECT)
    prune(archive, bundle_path)
    made = judged(archive, strict, tmp_path / "out")
    by_id = {each.recorded.verdict_id: each.outcome for each in results(made)}
    assert by_id[1] is Outcome.JUDGED
    assert {by_id[number] for number in range(2, 16)} == {Outcome.PRUNED}


def test_what_a_line_adds_or_drops_meanwhile_changes_no_other_result(archive, bundle_path, strict, tmp_path):
    judged(archive, strict, tmp_path / "out")
    record(archive, bundle_path, parts(2, 0, seed=90), START + timedelta(days=2, hours=3))
    grown = judged(archive, strict, tmp_path / "out")
    assert (grown.judged, grown.kept) == (2, 15)
    prune(archive, bundle_path)
    pruned = judged(archive, strict, tmp_path / "out")
    assert {(each.outcome, each.recorded.picture) for each in results(pruned)} == {(Outcome.JUDGED, None)}
    assert (pruned.judged, pruned.kept) == (0, 17)


def _states(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*") if path.is_file()}


def test_an_archive_is_only_read(archive, strict, tmp_path):
    before = _states(archive)
    judged(archive, strict, tmp_path / "out")
    after = _states(archive)
    assert {path: after[path] for path in before} == before
    assert {path.name for path in set(after) - set(before)} <= {f"{DATABASE_NAME}-wal", f"{DATABASE_NAME}-shm"}


def test_a_line_goes_on_recording_into_the_archive(archive, bundle_path, strict, tmp_path):
    with recording(archive, bundle_path, START + timedelta(days=5)) as (recorder, inspector):
        write(recorder, inspector, parts(3, 0), START + timedelta(days=5))
        made = judged(archive, strict, tmp_path / "out")
        write(recorder, inspector, parts(3, 0, seed=50), START + timedelta(days=5, hours=1))
        recorder.drain(threading.Event(), lambda left: None)
    assert {each.outcome for each in results(made)} <= {Outcome.JUDGED, Outcome.WAITING}
    with RecordStore(archive) as store:
        assert store.query("SELECT count(*), sum(image_state = 'stored') FROM verdicts") == [(21, 21)]
    made = judged(archive, strict, tmp_path / "out")
    assert Counter(each.outcome for each in results(made)) == {Outcome.JUDGED: 21}


def test_an_archive_on_a_disk_that_cannot_be_written_to_is_read(archive, strict, tmp_path):
    archive.chmod(0o555)
    try:
        if os.access(archive, os.W_OK):
            pytest.skip("this user may write everywhere")
        assert judged(archive, strict, tmp_path / "out").judged == 15
    finally:
        archive.chmod(0o755)


def test_records_of_the_first_version_are_judged_as_they_are(bundle_path, tmp_path):
    script = Path(__file__).parents[2] / "records" / "version_0_1.sql"
    (tmp_path / "old").mkdir()
    connection = sqlite3.connect(tmp_path / "old" / DATABASE_NAME)
    connection.executescript(script.read_text())
    version = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    made = judged(tmp_path / "old", bundle_path, tmp_path / "out")
    assert {each.outcome for each in results(made)} <= {Outcome.MISSING, Outcome.PRUNED}
    assert len(results(made)) + made.skipped.total() == 2
    connection = sqlite3.connect(tmp_path / "old" / DATABASE_NAME)
    assert connection.execute("PRAGMA user_version").fetchone() == version
    connection.close()


def test_several_lines_are_told_apart_and_a_broken_one_is_left_out(bundle_path, strict, tmp_path, capsys):
    plant = tmp_path / "plant"
    record(plant / "left" / "records", bundle_path, parts(1, 0), line="left")
    record(plant / "größe=ü 1" / "records", bundle_path, parts(2, 0))
    (plant / "broken").mkdir()
    (plant / "broken" / DATABASE_NAME).write_bytes(b"no database at all" * 100)
    record(plant / "labels" / "records", bundle_path, parts(1, 0))
    (plant / "labels" / "records" / REVIEW_NAME).write_bytes(b"no labels at all" * 100)
    made = judged(plant, strict, tmp_path / "out")
    assert Counter(each.recorded.line for each in results(made)) == {"left": 1, "größe=ü 1": 2}
    assert [text.split(" cannot")[0] for text in made.archive.unusable] == [
        str(plant / "broken" / DATABASE_NAME), str(plant / "labels" / "records" / REVIEW_NAME)
    ]  # fmt: skip
    assert "left out: " in capsys.readouterr().err


def test_another_bundle_gets_another_folder(archive, strict, bundle_path, tmp_path):
    first = judged(archive, strict, tmp_path / "out")
    second = judged(archive, bundle_path, tmp_path / "out")
    assert first.wanted.results.folder != second.wanted.results.folder
    assert len(files(tmp_path / "out")) == 6
    assert not any(each.flip for each in results(second))


def test_other_settings_judge_anew_in_the_same_folder(archive, strict, tmp_path):
    judged(archive, strict, tmp_path / "out")
    dark = settings_for(strict, freshness={"black_level": 249, "black_share": 0.99})
    made = judged(archive, strict, tmp_path / "out", dark)
    assert made.judged == 15
    assert {each.reason for each in results(made)} == {"black"}


def test_a_bundle_that_changes_meanwhile_judges_by_the_version_it_began_with(archive, strict, tmp_path):
    judging, begun = Judging.by(settings_for(strict))
    set_threshold(strict, 0.9)
    (judge,) = judging.open_judges(1)
    assert judge._inspector.bundle_sha256 == begun.sha256
    judge.close()


def test_a_bundle_must_be_signed_where_the_settings_want_that(archive, strict, tmp_path):
    key = tmp_path / "key.pem"
    assert command("bundle", "keygen", "--key", key) == 0
    settings = settings_for(strict)
    signed_by = settings.inspection.model_copy(update={"signed_by": f"{key}.pub"})
    with pytest.raises(BundleError, match="not signed"):
        judged(archive, strict, tmp_path / "out", settings.model_copy(update={"inspection": signed_by}))
    assert not (tmp_path / "out").exists()


def test_pictures_of_another_size_are_rows_and_are_said_once(archive, tmp_path):
    from edge.core.manifest import PreprocessSpec
    from tests.small_bundle import SIZE, make_bundle

    # a region that lies in frames of 96x96 px, and not in those of the archive
    spec = PreprocessSpec(rectangle=(40, 30, SIZE, SIZE))
    bundle = make_bundle_for_large_frames(tmp_path / "large", make_bundle, spec)
    made = judged(archive, bundle, tmp_path / "out")
    assert {(each.decision, each.reason) for each in results(made)} == {("INVALID", "wrong_size")}
    lines = summary(made).lines()
    assert next(line for line in lines if "do not fit the bundle" in line).startswith("15 pictures do not fit")


def make_bundle_for_large_frames(path, make_bundle, spec):
    import tests.small_bundle as small

    small_part = small.good_part
    try:
        small.good_part = lambda seed: small_part(seed, 96, 96)
        return make_bundle(path, preprocess=spec).path
    finally:
        small.good_part = small_part


def test_a_damaged_result_is_judged_again(archive, strict, tmp_path):
    judged(archive, strict, tmp_path / "out")
    whole = files(tmp_path / "out")
    name, data = next(iter(whole.items()))
    assert b"plate" in data
    # cut off, and with other letters in a place where every table can still be read
    for damaged in (data[: len(data) // 2], data.replace(b"plate", b"slate", 1)):
        (tmp_path / "out" / name).write_bytes(damaged)
        made = judged(archive, strict, tmp_path / "out")
        assert (made.judged, made.kept) == (5, 10)
        assert files(tmp_path / "out") == whole


def test_what_a_killed_run_left_half_written_is_removed(archive, strict, tmp_path):
    folder = judged(archive, strict, tmp_path / "out").wanted.results.folder
    left = folder / "2026-03-14" / "0000000.parquet.box-1-abcdef.part.part"
    left.write_bytes(b"half")
    judged(archive, strict, tmp_path / "out")
    assert not left.exists()


def test_a_full_disk_is_told_and_the_rest_goes_on_later(archive, strict, tmp_path, monkeypatch):
    def full(path, data, *others, **more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr("edge.fleet.archive.results.write_atomic", full)
        with pytest.raises(RecordError, match="No space left") as refused:
            judged(archive, strict, tmp_path / "out")
    assert "same command again" in refused.value.fix
    assert judged(archive, strict, tmp_path / "out").judged == 15


def test_a_second_run_into_the_same_folder_waits_for_the_first(archive, strict, tmp_path, capsys):
    folder = judged(archive, strict, tmp_path / "out").wanted.results.folder
    made = []
    with file_lock(folder / "lock"):
        thread = threading.Thread(target=lambda: made.append(judged(archive, strict, tmp_path / "out")))
        thread.start()
        thread.join(1.0)
        assert not made
    thread.join()
    assert made[0].kept == 15
    assert "another reinspect works in" in capsys.readouterr().err


def test_two_runs_at_once_judge_each_picture_once_and_both_report(archive, strict, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(judged, archive, strict, tmp_path / "out") for _ in range(2)]
        made = [run.result() for run in runs]
    assert sorted((each.judged, each.kept) for each in made) == [(0, 15), (15, 0)]
    assert (made[0].wanted.results.folder / "report.html").is_file()
    assert not list((tmp_path / "out").rglob("*.part"))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda place: None, "no such archive"),
        (lambda place: place.mkdir(), "neither records nor Parquet"),
        (lambda place: (place.mkdir(), (place / DATABASE_NAME).write_bytes(b"")), "holds no verdicts"),
    ],
)
def test_what_is_no_archive_is_refused_in_words(made, words, strict, tmp_path):
    made(tmp_path / "plant")
    with pytest.raises((UsageError, RecordError), match=words):
        judged(tmp_path / "plant", strict, tmp_path / "out")


def test_results_do_not_go_into_the_archive(archive, strict):
    for named in (archive, archive / DATABASE_NAME):
        with pytest.raises(UsageError, match="lies in the archive"):
            judged(named, strict, archive / "out")
    assert not (archive / "out").exists()


def test_a_folder_that_cannot_be_looked_into_is_named(archive, strict, tmp_path, capsys):
    plant = tmp_path / "plant"
    shutil.copytree(archive, plant / "left")
    (plant / "right").mkdir()
    # of the disk: the same verdicts once more
    shutil.copytree(archive, plant / ".snapshot" / "left")
    listed = os.scandir

    def closed(place):
        if Path(place).name == "right":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        return listed(place)

    with pytest.MonkeyPatch.context() as patch:
        # root may look into every folder
        patch.setattr(os, "scandir", closed)
        made = judged(plant, strict, tmp_path / "out")
    assert made.judged == 15
    assert f"left out: {plant / 'right'}: Permission denied" in capsys.readouterr().err


def test_only_the_wanted_product_and_days_are_judged(archive, strict, tmp_path):
    judged(archive, strict, tmp_path / "out")
    whole = files(tmp_path / "out")
    made = judged(archive, strict, tmp_path / "out", product="another part")
    assert made.skipped == {Skipped.OTHER_PRODUCT: 15}
    assert whole.items() <= files(tmp_path / "out").items(), "what was judged before is still there"
    made = judged(archive, strict, tmp_path / "out", since="2026-03-15", until="2026-03-15", product="plate")
    assert {each.recorded.day for each in results(made)} == {"2026-03-15"}


def test_names_of_anything_become_names_of_files():
    names = [".", "..", "", "a/b", "a%2Fb", "x" * 500, "x" * 501, "größe", "\udcff", ".hidden", "2026-03-14"]
    made = [file_name(name) for name in names]
    assert len(set(made)) == len(names)
    assert all("/" not in name and not name.startswith(".") and len(name) < 200 for name in made)
    assert made[-1] == "2026-03-14"
