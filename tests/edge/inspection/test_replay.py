"""A recorded verdict comes out again, or the reason why not is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.core.datatypes import Decision, Fault, Reason
from edge.core.errors import BundleError, CalibrationMismatch, RecordError
from edge.inspection.replay import Outcome, replay
from edge.records.store import RecordStore
from tests.edge.records.records_fakes import inspector, look, recorder


@pytest.fixture
def store(tmp_path):
    """1: OK without picture, 2: NG, 3: black, 4: frozen."""
    sink = recorder(tmp_path)
    sink.write(*look(0, Decision.OK))
    sink.write(*look(1, Decision.NG))
    sink.write(*look(2, Decision.INVALID, reason=Reason.BLACK))
    sink.write(*look(3, Decision.INVALID, reason=Reason.FROZEN))
    sink.close()
    with RecordStore(tmp_path) as opened:
        yield opened


def same_inspector(run, recorded):
    return inspector()


def test_a_verdict_comes_out_again_with_the_same_score(store):
    result = replay(store, 2, same_inspector)
    assert result.outcome is Outcome.SAME
    assert result.verdict.score == result.recorded.score
    assert result.verdict.regions == result.recorded.regions


def test_another_score_is_reported_as_different(store):
    def brighter(run, recorded):
        judge = inspector()
        judge.backend.score = lambda image, clock: replace(type(judge.backend)().score(image, clock), score=2.75)
        return judge

    result = replay(store, 2, brighter)
    assert result.outcome is Outcome.DIFFERENT
    assert "score 2.5 then, 2.75 now" in result.explanation


def test_the_same_score_under_another_threshold_is_told_apart(store):
    result = replay(store, 2, lambda run, recorded: inspector(threshold=2.6))
    assert result.outcome is Outcome.DIFFERENT
    assert "the same score" in result.explanation
    assert "threshold 2.0 then, 2.6 now" in result.explanation


def test_a_verdict_of_its_moment_is_not_faked(store):
    result = replay(store, 4, same_inspector)
    assert (result.outcome, result.verdict) == (Outcome.NOT_REPEATABLE, None)
    assert "frozen depends on when the picture came" in result.explanation


def test_a_black_picture_is_checked_again_where_the_check_is_given(store):
    assert replay(store, 3, same_inspector).outcome is Outcome.NOT_REPEATABLE
    assert replay(store, 3, same_inspector, lambda image: Fault(Reason.BLACK, "dark")).outcome is Outcome.SAME
    assert replay(store, 3, same_inspector, lambda image: None).outcome is Outcome.DIFFERENT


def test_a_picture_that_was_not_kept_is_an_error(store):
    with pytest.raises(RecordError, match="verdict 1-000000 cannot be replayed: its picture was not kept"):
        replay(store, 1, same_inspector)


def test_an_unknown_id_is_an_error(store):
    with pytest.raises(RecordError, match="no verdict 99"):
        replay(store, 99, same_inspector)


def test_a_changed_picture_is_an_error(store):
    path = store.directory / store.verdict(2).image
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(RecordError, match="is damaged or was changed"):
        replay(store, 2, same_inspector)


def test_a_deleted_picture_is_an_error(store):
    (store.directory / store.verdict(2).image).unlink()
    with pytest.raises(RecordError, match="cannot be read: No such file"):
        replay(store, 2, same_inspector)


def test_another_bundle_is_refused(store):
    with pytest.raises(BundleError, match="made by bundle bbbbbbbbbbbb, this bundle is cccccccccccc"):
        replay(store, 2, lambda run, recorded: inspector(bundle_sha256="c" * 64))


def test_another_model_is_refused_with_the_options_of_that_time(store):
    def other(run, recorded):
        judge = inspector()
        judge.backend.model_sha256 = "f" * 64
        return judge

    with pytest.raises(CalibrationMismatch, match="made by model eeeeeeeeeeee") as refusal:
        replay(store, 2, other)
    assert refusal.value.fix == "replay with --backend fake --precision int8"


def test_another_region_of_interest_is_refused(store):
    def other(run, recorded):
        judge = inspector()
        judge.preprocess = replace(judge.preprocess, rectangle=(0, 0, 8, 8))
        return judge

    with pytest.raises(CalibrationMismatch, match="another region of interest"):
        replay(store, 2, other)
