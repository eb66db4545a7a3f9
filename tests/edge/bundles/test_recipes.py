"""recipes.yaml is refused with line, value and nearest name before a line starts; what is sound gives settings."""

import pytest

from edge.bundles.recipes import read_recipes, recipe_book
from edge.core.config import Settings
from edge.core.errors import ConfigError, UsageError

GOOD = """\
2:
  name: gear
  bundle: bundles/gear
1:
  name: plate-40
  bundle: bundles/plate
  roi: {rectangle: [10, 20, 300, 200]}
  trigger:
    max_moving_ms: 3000
    settle_ms: 40
  threshold: 0.41
  review: false
  challenge_pictures: shift/plate
"""


def written(tmp_path, text):
    path = tmp_path / "recipes.yaml"
    path.write_text(text)
    return path


def test_recipes_are_found_by_name_and_by_number(tmp_path):
    book = read_recipes(written(tmp_path, GOOD), Settings())
    assert [recipe.name for recipe in book.recipes] == ["plate-40", "gear"]
    assert book.start.name == "plate-40" and book.line(book.find("plate-40")) == 4
    assert book.find(2) is book.find("gear") is book.find("2")


def test_a_recipe_changes_the_settings_that_it_names_and_no_others(tmp_path):
    settings = Settings.model_validate(
        {"trigger": {"mode": "part", "settle_ms": 5}, "challenge": {"pictures": "shift/all"}, "camera": {"fps": 5}}
    )
    book = read_recipes(written(tmp_path, GOOD), settings)
    plate, gear = (book.find(name).applied_to(settings) for name in ("plate-40", "gear"))
    assert (plate.inspection.bundle, gear.inspection.bundle) == ("bundles/plate", "bundles/gear")
    assert plate.roi.rectangle == [10, 20, 300, 200] and gear.roi.rectangle is None
    assert (plate.trigger.max_moving_ms, plate.trigger.settle_ms, plate.trigger.mode) == (3000, 40, "part")
    assert (gear.trigger.settle_ms, gear.trigger) == (5, settings.trigger)
    assert (plate.challenge.pictures, gear.challenge.pictures) == ("shift/plate", "shift/all")
    assert plate.camera == settings.camera


BROKEN = {
    "": ("expected recipes", ""),
    "- name: a\n": ("expected recipes", ""),
    "1:\n": ("line 1: recipe 1: expected keys below it, got None", "give name and bundle"),
    "1:\n  name: a\n  bundle: ''\n": ("line 3: 1.bundle: ", ""),
    "1:\n  name: '2'\n  bundle: b\n2:\n  name: c\n  bundle: b\n": (
        "line 2: recipe 1 is called '2'",
        "no recipe's number",
    ),
    "0:\n  name: a\n  bundle: b\n": ("line 1: `0` is no number", "1 to 65535"),
    "65536:\n  name: a\n  bundle: b\n": ("line 1: `65536` is no number", ""),
    "one:\n  name: a\n  bundle: b\n": ("line 1: `one` is no number", ""),
    "01:\n  name: a\n  bundle: b\n": ("line 1: `01` is not clear", ""),
    "1:\n  name: a\n  bundle: b\n1:\n  name: c\n  bundle: b\n": ("line 4: 1 is already given in line 1", ""),
    "1:\n  name: a\n  bundle: b\n2:\n  name: A\n  bundle: b\n": ("line 5: A is the name of recipe 1 already", ""),
    "1:\n  name: a\n": ("line 1: recipe 1 has no bundle", "name and bundle"),
    "1: plate\n": ("line 1: recipe 1: expected keys", ""),
    "1:\n  name: a/b\n  bundle: b\n": ("line 2: 1.name", "topics"),
    "1:\n  name: a\n  bundel: b\n": ("line 3: 1.bundel: unknown key", "did you mean `bundle`"),
    "1:\n  name: a\n  bundle: b\n  bundle: c\n": ("line 4: bundle is already given in line 3", ""),
    "1:\n  name: a\n  bundle: b\n  index: 4\n": ("line 4: recipe 1: its number", "leave `index` out"),
    "1:\n  name: a\n  bundle: b\n  threshold: 1.5\n": ("line 4: 1.threshold", ""),
    "1:\n  name: a\n  bundle: b\n  roi:\n    rectangel: [1, 2, 3, 4]\n": ("line 5: 1.roi.rectangel", "`rectangle`"),
    "1:\n  name: a\n  bundle: b\n  roi:\n    rectangle: [1, 2, 3]\n": ("line 4: 1.roi", ""),
    "1:\n  name: a\n  bundle: b\n  trigger:\n    setle_ms: 4\n": ("line 5: 1.trigger.setle_ms", "`settle_ms`"),
    "1:\n  name: a\n  bundle: b\n  trigger:\n    mode: part\n": ("line 5: 1.trigger.mode", "allowed here"),
    "1:\n  name: a\n  bundle: b\n  trigger:\n    settle_ms: -4\n": ("line 5: 1.trigger.settle_ms", ""),
    "1:\n  name: a\n  bundle: b\n  trigger:\n    settle_ms: 4\n    settle_ms: 5\n": (
        "line 6: settle_ms is already",
        "",
    ),
    "1:\n  name: a\n  bundle: [b\n": ("not valid YAML", ""),
}


@pytest.mark.parametrize("text", BROKEN)
def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path, text):
    what, fix = BROKEN[text]
    with pytest.raises(ConfigError) as refusal:
        read_recipes(written(tmp_path, text), Settings())
    assert what in refusal.value.message and fix in refusal.value.fix, refusal.value


def test_an_unknown_recipe_is_named_with_the_nearest(tmp_path):
    book = read_recipes(written(tmp_path, GOOD), Settings())
    with pytest.raises(UsageError, match="no recipe 'plate40'") as refusal:
        book.find("plate40")
    assert "`plate-40`" in refusal.value.fix
    with pytest.raises(UsageError, match="no recipe 3") as refusal:
        book.find(3)
    assert "1 plate-40, 2 gear" in refusal.value.fix


def test_the_start_is_a_recipe_and_no_bundle_stands_beside(tmp_path):
    path = str(written(tmp_path, GOOD))
    assert recipe_book(Settings()) is None
    start = Settings.model_validate({"recipes": {"file": path, "start": "gear"}})
    assert recipe_book(start).start.index == 2
    with pytest.raises(ConfigError, match="has no recipe 'geer'") as refusal:
        recipe_book(Settings.model_validate({"recipes": {"file": path, "start": "geer"}}))
    assert "`gear`" in refusal.value.fix
    with pytest.raises(ConfigError, match="both say what judges"):
        recipe_book(Settings.model_validate({"recipes": {"file": path}, "inspection": {"bundle": "b"}}))
