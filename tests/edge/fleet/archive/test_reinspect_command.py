"""`edge-inspect reinspect`, as a person calls it: words, the page, the table of flips, JSON, refusals."""

import csv
import json
from pathlib import Path

import pytest

from edge.review.labels import Answer
from tests.edge.review.review_fakes import say
from tests.system.command_line import assert_refused, edge_here


def words(result):
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_the_command_says_how_many_flip_and_where_everything_is(archive, strict, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = words(edge_here(capsys, "reinspect", archive, "--bundle", strict, "--out", "out", "--workers", 2))
    assert lines[:3] == [
        "15 pictures judged again; 12 verdicts changed (80.00%)",
        "12 were OK: 12 became NG (100.00%)",
        "3 were NG: all stay so",
    ]
    places = {line.split()[0]: line.split()[1] for line in lines[-3:]}
    page = (tmp_path / places["page"]).read_text()
    assert page.count("data:image/jpeg;base64,") == 12
    assert "OK to NG: 12" in page
    with Path(places["flips"]).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {(row["line"], row["product"], row["flip"]) for row in rows} == {(tmp_path.name, "plate", "OK to NG")}
    assert (tmp_path / places["results"]).is_dir()


def test_labels_say_whether_the_new_bundle_is_right(archive, strict, tmp_path, capsys):
    # 1 and 2 are OK, 5 is NG; the strict bundle rejects all
    say(archive, 1, Answer.DEFECT)
    say(archive, 2, Answer.GOOD)
    say(archive, 5, Answer.DEFECT)
    lines = words(edge_here(capsys, "reinspect", archive, "--bundle", strict, "--out", tmp_path / "out"))
    defective, good = (next(line for line in lines if f"labelled {kind}" in line) for kind in ("defective", "good"))
    assert defective.startswith(
        "of 2 parts labelled defective the recorded verdict was right on 1, the new one is on 2"
    )
    assert defective.endswith("1 newly right, 0 newly wrong")
    assert good.endswith("0 newly right, 1 newly wrong")
    page = next((tmp_path / "out").glob("*/report.html")).read_text()
    assert page.count("labelled defective</span>") == 1
    assert page.count("labelled good</span>") == 1


def test_json_says_the_same(archive, strict, tmp_path, capsys):
    result = edge_here(capsys, "reinspect", archive, "--bundle", strict, "--out", tmp_path / "out", "--json")
    told = json.loads(result.stdout)
    assert (told["judged_now"], told["left_out"]) == (15, [])
    assert sum(each["verdicts"] for each in told["counts"] if each["recorded"] == "OK" and each["now"] == "NG") == 12
    assert {each["day"] for each in told["counts"]} == {"2026-03-14", "2026-03-15", "2026-03-16"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--since", "yesterday"], "is not a day such as"),
        (["--since", "2026-13-01"], "is not a day such as"),
        (["--workers", "0"], "is not above zero"),
        (["--pictures", "records"], "--pictures is for archives of Parquet"),
    ],
)
def test_a_wrong_option_is_refused_in_words(more, said, archive, strict, tmp_path, capsys):
    result = edge_here(capsys, "reinspect", archive, "--bundle", strict, "--out", tmp_path / "out", *more)
    assert_refused(result, 2, said)


def test_a_bundle_that_is_none_is_refused_in_words(archive, tmp_path, capsys):
    result = edge_here(capsys, "reinspect", archive, "--bundle", tmp_path / "none", "--out", tmp_path / "out")
    assert_refused(result, 4, "none")


def test_an_out_folder_that_cannot_be_is_refused_in_words(archive, strict, tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    result = edge_here(capsys, "reinspect", archive, "--bundle", strict, "--out", tmp_path / "out")
    assert_refused(result, 2, "cannot be written to")
