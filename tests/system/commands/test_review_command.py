"""Labelling at a terminal, from the list of what to look at to the report."""

from __future__ import annotations

import json

import pytest

from tests.edge.review.review_fakes import INVALID, NG, OK, record
from tests.system.command_line import edge_here


@pytest.fixture
def edge(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "records", [OK, OK, NG, INVALID], keep_ok_share=1.0)
    return lambda *arguments: edge_here(capsys, *arguments)


# of pictures of March, whenever this runs
ALL = ("--since", "2026-03-01")


def test_what_to_look_at_is_listed_and_labelled_until_nothing_is_left(edge, tmp_path):
    listed = json.loads(edge("review", *ALL, "--json").stdout)
    assert sorted(each["id"] for each in listed["next"]) == ["1-000000", "1-000001", "1-000002"]
    assert (listed["escape"]["value"], listed["wanted"]) == (None, {"ok": 300, "band": 100, "ng": 100})
    for each in listed["next"]:
        answer = "defect" if each["id"] == "1-000002" else "good"
        assert edge("review", each["id"], answer, *ALL, "--who", "anna").returncode == 0
    shown = edge("review", *ALL).stdout
    assert "there is nothing to look at: every picture that was drawn has a label" in shown
    assert "looked at   ok 2 of 300, band 0 of 100, ng 1 of 100" in shown
    assert "escapes     at most 78 % (95 % confidence) of accepted parts are defective; 0 of 2 looked at" in shown
    report = edge("report")
    assert "0 of 1 rejects looked at are good" in report.stdout
    assert json.loads(edge("report", "--json").stdout)["quality"]["looked_at"] == {"ok": 2, "band": 0, "ng": 1}
    assert edge("labels").stdout.split() == ["confirm", "1", "ok_confirmed", "2"]


def test_a_label_is_told_and_can_be_taken_back(edge, tmp_path):
    told = json.loads(edge("review", "1-000002", "good", *ALL, "--json").stdout)
    assert (told["id"], told["label"], told["asked"]) == ("1-000002", "false_reject", True)
    assert told["picture"].startswith(str(tmp_path / "records" / "labelled")) or "labelled" in told["picture"]
    assert "the verdict was NG, the label is withdrawn" in edge("review", "1-000002", "undo").stdout
    assert edge("labels").stdout == "no labels\n"


def test_what_cannot_be_labelled_is_refused_in_words(edge):
    for arguments, said in [
        (("1-000003", "good"), "the verdict is INVALID: the part was not judged"),
        (("1-000009", "good"), "no verdict 1-000009"),
        (("1-000000",), "a label is a verdict and what the part is"),
        (("1-000000", "undo"), "verdict 1-000000 has no label"),
    ]:
        result = edge("review", *arguments)
        assert result.returncode == 2 and said in result.stderr, result.stderr
        assert "fix:" in result.stderr


def test_a_report_of_records_that_nobody_looked_at_is_as_before(edge, tmp_path):
    assert "escapes" not in edge("report").stdout
    assert json.loads(edge("report", "--json").stdout)["quality"] is None
    assert not (tmp_path / "records" / "review.sqlite").exists()


def test_labelled_defects_are_copied_to_where_they_are_of_use(edge, tmp_path):
    (tmp_path / "bracket" / "train" / "good").mkdir(parents=True)
    edge("review", "1-000002", "defect", *ALL)
    # these records are of another bundle than the shipped one
    result = edge("labels", "--data", "bracket")
    assert result.stdout == "bracket/train/weak/reviewed: 0 pictures, 0 of them new, 0 removed\n"
