"""What makes a line ready, how it is kept, and what the trend of golden scores says."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from edge.core.datatypes import Decision, Fault, Frame, Reason
from edge.core.errors import RecordError
from edge.core.local_time import local_text
from edge.inspection.challenges.challenge import Challenge, JudgedPart, challenged
from edge.inspection.challenges.records import latest_challenges, not_ready, save_challenge, trend_lines
from tests.edge.records.records_fakes import inspector, look, recorder, stored
from tests.fakes import frame, picture

NOW = datetime(2026, 3, 14, 6, 0, tzinfo=timezone.utc)
GOLDEN = JudgedPart("golden", "a", Decision.OK, 0.2, "fine")
FOUND = JudgedPart("synthetic", "spot", Decision.NG, 0.9, "found")
BUNDLE, ENGINE = "b" * 64, "e" * 64


def challenge(*looks, utc=NOW, source="camera 0", bundle=BUNDLE):
    return Challenge(utc, source, bundle, ENGINE, 0.5, looks or (GOLDEN, FOUND))


def golden(score):
    return replace(GOLDEN, score=score)


def test_a_line_is_ready_when_golden_parts_are_ok_and_every_defect_is_found():
    assert challenge().passed
    assert challenge().summary() == "READY: 1 of 1 golden parts OK, 1 of 1 defects found"


def test_anything_else_is_not_ready_and_says_why():
    for looks, words in [
        ((GOLDEN, replace(FOUND, decision=Decision.OK)), "0 of 1 defects found"),
        ((replace(GOLDEN, decision=Decision.NG), FOUND), "0 of 1 golden parts OK"),
        ((replace(GOLDEN, decision=Decision.INVALID, score=None), FOUND), "0 of 1 golden parts OK"),
        # a picture that was not judged shows nothing of what the line would find
        ((GOLDEN, replace(FOUND, decision=Decision.INVALID, score=None)), "0 of 1 defects found"),
        ((GOLDEN,), "no defect was shown"),
        ((FOUND,), "no golden part was shown"),
        ((replace(FOUND, kind="defective", decision=Decision.OK), GOLDEN), "0 of 1 defects found"),
    ]:
        made = challenge(*looks)
        assert not made.passed, looks
        assert made.summary().startswith("NOT READY"), looks
        assert words in made.summary(), looks


def test_defects_are_drawn_on_golden_parts_that_could_be_judged_and_on_no_others():
    black = Frame(0, 0, NOW, "camera", picture(0), Fault(Reason.BLACK, "nothing to see"))
    parts = [("golden", "one", frame(1)), ("defective", "two", frame(2)), ("golden", "three", black)]
    looks = [shown.part for shown in challenged(inspector(), parts, defects=3, area=0.02)]
    assert [(each.kind, each.name.split(" ")[-1]) for each in looks] == [
        ("golden", "one"), ("synthetic", "one"), ("synthetic", "one"), ("synthetic", "one"), ("defective", "two"),
        ("golden", "three"),
    ]  # fmt: skip
    assert looks[-1].decision is Decision.INVALID
    assert looks[-1].detail == "black: nothing to see"


def test_a_challenge_is_read_back_as_it_was_saved(tmp_path):
    made = [challenge(utc=NOW + timedelta(hours=hour)) for hour in range(3)]
    for each in made:
        save_challenge(tmp_path / "new", each)
    assert latest_challenges(tmp_path / "new", 2) == made[1:]
    assert latest_challenges(tmp_path / "nowhere", 2) == []


def test_a_challenge_is_saved_while_an_inspection_records(tmp_path):
    sink = recorder(tmp_path)
    sink.write(*look(0))
    save_challenge(tmp_path, challenge())
    sink.write(*look(1))
    sink.close()
    assert len(latest_challenges(tmp_path, 9)) == 1
    assert len(stored(tmp_path)) == 2


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RecordError, match="file"):
        save_challenge(tmp_path / "file", challenge())


def why(*challenges, now=NOW + timedelta(hours=1), bundle=BUNDLE, engine=ENGINE):
    return not_ready(challenges, bundle, engine, 12, now)


def test_only_a_passed_recent_challenge_of_this_bundle_and_model_lets_a_line_start():
    failed = challenge(GOLDEN, replace(FOUND, decision=Decision.OK))
    assert why(challenge()) is None
    assert why() == "no challenge is on record"
    assert "NOT READY: 1 of 1 golden parts OK, 0 of 1 defects found" in why(failed)
    assert "NOT READY" in why(challenge(), failed)
    assert why(failed, challenge()) is None
    assert f"of {local_text(NOW)}, is out of date: 12 hours are allowed" in why(
        challenge(), now=NOW + timedelta(hours=13)
    )
    assert "was of bundle version bbbb" in why(challenge(), bundle="c" * 64)
    assert "model eeee" in why(challenge(), engine="f" * 64)
    assert "the clock was set back" in why(challenge(), now=NOW - timedelta(hours=1))


def test_the_trend_tells_a_golden_score_that_is_above_all_before_it_and_how_likely_that_is():
    before = [challenge(golden(0.2 + 0.01 * hour), FOUND, utc=NOW + timedelta(hours=hour)) for hour in range(5)]
    lines = trend_lines([*before, challenge(golden(0.31), FOUND)])
    assert len(lines) == 1 + 6 + 1
    assert "0.3100        62%" in lines[-2]
    assert "above all of the 5 before it with this version and source: 0.2000 to 0.2400" in lines[-1]
    assert "1 of 6 challenges" in lines[-1]
    assert "is among the 5 before it" in trend_lines([*before, challenge(golden(0.22), FOUND)])[-1]


def test_scores_of_another_version_or_source_are_no_trend():
    others = [challenge(golden(0.1), FOUND, bundle="c" * 64)] * 5 + [
        challenge(golden(0.1), FOUND, source="pictures")
    ] * 5
    assert "above" not in trend_lines([*others, challenge()])[-1]


def test_the_golden_score_is_the_median_of_what_was_scored():
    unscored = JudgedPart("golden", "b", Decision.INVALID, None, "black")
    assert challenge(golden(0.1), golden(0.4), golden(0.2), unscored).golden_score == pytest.approx(0.2)
    assert challenge(unscored).golden_score is None
    assert np.isfinite(challenge().golden_score)
