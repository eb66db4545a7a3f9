"""edge-inspect rules: what an engineer sees of his rules before anything is trained."""

import pytest

from tests.fakes import write_picture
from tests.small_bundle import bad_part, good_part
from tests.system.command_line import assert_refused, edge

RULES = """\
product: plate
rules:
  scratch: if darker is high and elongation is elongated then anomalous with 0.9
  "[/b] anything": if max_z is not low then anomalous with 0.9
"""


@pytest.fixture
def data(tmp_path):
    for kind, part, count in (("good", good_part, 16), ("weak/scratch", bad_part, 2)):
        folder = tmp_path / "data" / "train" / kind
        folder.mkdir(parents=True)
        for seed in range(count):
            write_picture(folder / f"{seed}.png", part(seed))
    return tmp_path / "data"


def test_the_starters_are_listed_and_each_can_be_shown_changed_and_checked(tmp_path):
    listed = edge("rules", "list", cwd=tmp_path)
    assert listed.returncode == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()][-1] == "magnetic_tile"
    shown = edge("rules", "show", "magnetic_tile", cwd=tmp_path)
    (tmp_path / "mine.yaml").write_text(shown.stdout)
    checked = edge("rules", "check", "mine.yaml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "crack           0.90  if darker is clearly and elongation is elongated" in checked.stdout


def test_rules_are_tried_on_good_and_on_defective_parts(data, tmp_path):
    (tmp_path / "rules.yaml").write_text(RULES)
    result = edge("rules", "check", "rules.yaml", "--data", data, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "tried on 16 good parts" in result.stdout
    assert "fires on defective" in result.stdout
    (scratch,) = [line for line in result.stdout.splitlines() if "│ scratch" in line]
    (anything,) = [line for line in result.stdout.splitlines() if "│ [/b] anything" in line]
    assert "100%" in scratch and "suspicious" not in scratch
    assert "suspicious: it labels good parts" in anything


def test_wrong_rules_are_code_2_with_every_problem(tmp_path):
    (tmp_path / "rules.yaml").write_text(
        "rules:\n  a: if gray is low then anomalous with 0.9\n  b: if grey is low then anomalous with 2\n"
    )
    result = edge("rules", "check", "rules.yaml", cwd=tmp_path)
    assert_refused(result, 2, "rules.yaml: 2 problems", "line 2", "did you mean `grey`?", "line 3", "up to 1")


def test_what_cannot_be_checked_is_explained(tmp_path, subtests):
    for arguments, words in [
        (["check"], ["needs a rules file or the name of a starter", "rules list"]),
        (["show", "elvp"], ["no rules named `elvp`", "did you mean `elpv`?"]),
        (["check", "absent.yaml"], ["absent.yaml: no such file", "generic"]),
        (["chekc"], ["chekc", "--help"]),
        (["check", "elpv", "--data", "nowhere"], ["nowhere: no such folder"]),
    ]:
        with subtests.test(arguments=arguments):
            assert_refused(edge("rules", *arguments, cwd=tmp_path), 2, *words)
