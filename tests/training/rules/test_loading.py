"""rules.yaml, read strictly: every problem at once, with its line, in the words of its author."""

import re

import pytest

from edge.core.errors import ConfigError, RuleError
from training.labelling import RuleBook, load_rules
from training.rules.expression import Logic
from training.rules.features import FEATURES, Scaling
from training.rules.membership import set_from_text
from training.rules.rulebook import PictureRules

WHOLE = """\
product: plate
logic: {and: product, or: sum}
roi: [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]
picture: {area: [0.001, 0.2], count: [1, 3], inside_roi: 0.8}
features:
  grey: normal
  area: log 0.001 0.5
sets:
  grey:
    low: trapezoid 0 0 q0.05 q0.25
    inky: auto low
rules:
  crack: if grey is inky and elongation is
    very high then anomalous with 0.9
  grain: if area is low then normal with 0.5
"""


def load(tmp_path, text):
    path = tmp_path / "rules.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_rules(path)


def refused(tmp_path, text):
    with pytest.raises(RuleError) as caught:
        load(tmp_path, text)
    assert isinstance(caught.value, ConfigError)
    assert caught.value.exit_code == 2
    return caught.value


def test_a_whole_book_is_read(tmp_path):
    book = load(tmp_path, WHOLE)
    assert book.product == "plate"
    assert book.logic == Logic("product", "sum")
    assert book.roi == ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9))
    assert book.picture == PictureRules((0.001, 0.2), (1, 3), 0.8)
    assert book.scaling_of("grey").kind == "normal"
    assert book.scaling_of("area") == Scaling("log", 0.001, 0.5)
    assert book.scaling_of("x") == FEATURES["x"].scaling
    assert book.words_of("grey")["low"] == set_from_text("trapezoid 0 0 q0.05 q0.25")
    assert book.words_of("grey")["high"] == FEATURES["grey"].words["high"]
    assert [(rule.name, rule.line, rule.conclusion, rule.certainty) for rule in book.rules] == [
        ("crack", 13, "anomalous", 0.9),
        ("grain", 15, "normal", 0.5),
    ]
    assert book.rules[0].text == "if grey is inky and elongation is very high then anomalous with 0.9"
    assert list(book.used) == [("grey", "inky"), ("elongation", "high"), ("area", "low")]


def test_no_rules_are_legal(tmp_path):
    for text in ["", "# nothing yet\n", "rules:\n", "rules: {}\n", "roi: null\n"]:
        assert load(tmp_path, text) == RuleBook(), text


def test_what_cannot_be_meant_is_refused_with_its_line_and_a_way_out(tmp_path, subtests):
    for text, where, says, fix in [
        ("rule:\n  a: b\n", "line 1, rule", "unknown key", "did you mean `rules`?"),
        ("zzz: 1\n", "line 1, zzz", "unknown key", "allowed here: product, logic, roi"),
        ("logic: {und: min}\n", "line 1, logic.und", "unknown key", "did you mean `and`?"),
        ("logic: {and: mean}\n", "line 1, logic.and", "`mean` is not known", "min"),
        ("logic: min\n", "line 1, logic", "expected names with a colon", "and: ..."),
        ("features:\n  gray: normal\n", "line 2, features.gray", "unknown feature", "did you mean `grey`?"),
        ("features:\n  grey: ranks\n", "line 2, features.grey", "`ranks` is no scale", "`normal`, `range LOW HIGH`"),
        ("features:\n  grey: range 2 1\n", "line 2, features.grey", "needs LOW < HIGH", "range LOW HIGH"),
        ("features:\n  area: log 0 1\n", "line 2, features.area", "needs 0 < LOW < HIGH", "log LOW HIGH"),
        ("features:\n  area: [1, 2]\n", "line 2, features.area", "expected text", "in one line"),
        ("sets:\n  gray:\n    low: auto low\n", "line 2, sets.gray", "unknown feature", "did you mean `grey`?"),
        ("sets:\n  grey: low\n", "line 2, sets.grey", "expected names with a colon", "name: ..."),
        ("sets:\n  grey:\n    low: 0.5\n", "line 3, sets.grey.low", "`0.5` is no shape", "trapezoid a b c d"),
        ("sets:\n  grey:\n    low: trapezoid 2 2 3 3\n", "line 3, sets.grey.low", "is empty", "scaled to 0 to 1"),
        ("sets:\n  hue:\n    red: auto low\n", "line 3, sets.hue.red", "goes round in a circle", "plain numbers"),
        ("sets:\n  grey:\n    very: auto low\n", "line 3, sets.grey.very", "cannot name a set", "letters"),
        ("sets:\n  grey:\n    then: auto low\n", "line 3, sets.grey.then", "cannot name a set", "letters"),
        ("sets:\n  grey:\n    a-b: auto low\n", "line 3, sets.grey.a-b", "cannot name a set", "letters"),
        ("picture:\n  area: [0.2, 0.1]\n", "line 2, picture.area", "0.2 is above the upper bound 0.1", "[0.1, 0.2]"),
        ("picture:\n  area: [0, 2]\n", "line 2, picture.area", "[0, 2] are no shares", "0 to 1"),
        ("picture:\n  area: 0.1\n", "line 2, picture.area", "expected 2 numbers", "[0.001, 0.2]"),
        ("picture:\n  area: ['0.1', 0.2]\n", "line 2, picture.area", "expected a number, got '0.1'", "plain number"),
        ("picture:\n  area: [a, 0.2]\n", "line 2, picture.area", "expected a number, got 'a'", "plain number"),
        ("picture:\n  count: [0, 0]\n", "line 2, picture.count", "no numbers of defects", "at least 1"),
        ("picture:\n  count: [1, 2.5]\n", "line 2, picture.count", "no numbers of defects", "whole numbers"),
        ("picture:\n  inside_roi: 3\n", "line 2, picture.inside_roi", "3 is no share", "0 to 1"),
        ("roi: [[0, 0], [1, 1]]\n", "line 1, roi", "three or more corners", "[0.9, 0.9]"),
        ("roi: [[0, 0], [9, 0], [1, 1]]\n", "line 1, roi", "[9, 0] lies outside the picture", "shares"),
        ("roi: [[0, 0], [0.5, 0.5], [1, 1]]\n", "line 1, roi", "encloses nothing", "around the part"),
        ("product: [a]\n", "line 1, product", "expected text", "one line"),
        ("rules:\n  a: 5\n", "line 2, rules.a", "expected `if`, found `5`", "if FEATURE is WORD"),
        ("rules:\n- if grey is low then normal with 1\n", "line 2, rules", "expected names with a colon", "name: ..."),
        ("rules:\n  a:\n", "line 2, rules.a", "expected text", "behind the colon"),
        ("rules:\n  a: x\n  a: y\n", "line 3, rules.a", "already given in line 2", "keep one"),
        ("- a\n", "line 1", "expected names with a colon", "product: ..."),
    ]:
        with subtests.test(where=where, says=says):
            error = refused(tmp_path, text)
            assert where in error.message
            assert says in error.message
            assert fix in str(error)


def test_the_rule_is_quoted_and_the_word_pointed_at(tmp_path):
    error = refused(tmp_path, "rules:\n  crack: if gray is low then anomalous with 0.9\n")
    head, quote, marks = error.message.splitlines()
    assert head.endswith("line 2, rules.crack: unknown feature `gray`")
    assert quote == "    if gray is low then anomalous with 0.9"
    assert quote[marks.index("^") : marks.rindex("^") + 1] == "gray"
    assert error.fix == "did you mean `grey`?"


def test_an_unknown_word_names_those_of_its_feature(tmp_path):
    error = refused(tmp_path, "rules:\n  crack: if area is tiny then anomalous with 0.9\n")
    assert "`area` knows no word `tiny`" in error.message
    assert "small, large, low, medium, high" in error.fix
    assert "under `area`" in error.fix


def test_all_problems_are_told_at_once_in_the_order_of_the_file(tmp_path):
    text = """\
picture: {area: [0.2, 0.1]}
sets:
  grey:
    inky: trapezoid 0 0
rules:
  a: if gray is low then anomalous with 0.9
  b: if grey is inky then anomalous with 2
  c: if area is low and x is lefty then normal with 1
"""
    error = refused(tmp_path, text)
    assert "5 problems" in error.message
    assert re.findall(r"^  line (\d+)", error.message, re.MULTILINE) == ["1", "4", "6", "7", "8"]
    # a word whose set cannot be read is not unknown on top
    assert "knows no word `inky`" not in error.message


def test_hundreds_of_problems_do_not_fill_the_terminal(tmp_path):
    lines = "".join(f"  r{index}: if gray is low then normal with 1\n" for index in range(200))
    error = refused(tmp_path, f"rules:\n{lines}")
    assert "200 problems" in error.message
    assert "and 180 more" in error.message


def test_opposite_conclusions_from_one_condition_are_refused_when_both_are_sure(tmp_path):
    rules = "rules:\n  a: if x is left and grey is low then anomalous with {}\n" + (
        "  b: if grey is low and x is left then normal with {}\n"
    )
    error = refused(tmp_path, rules.format(0.9, 0.95))
    assert "line 3, rules.b: contradicts rule `a` in line 2" in error.message
    assert "anomalous with 0.9 there and normal with 0.95 here" in error.message
    assert len(load(tmp_path, rules.format(0.9, 0.3)).rules) == 2


def test_the_same_rule_twice_is_refused(tmp_path):
    error = refused(
        tmp_path, "rules:\n  a: if x is left then normal with 0.1\n  b: if x is left then normal with 0.2\n"
    )
    assert "would count twice" in error.message


def test_a_condition_that_never_holds_is_refused(tmp_path):
    for condition in ["grey is low and grey is high", "x is left and (area is low and x is right)"]:
        error = refused(tmp_path, f"rules:\n  a: if {condition} then normal with 0.1\n")
        assert "can never hold: the words exclude each other" in error.message, condition


def test_a_condition_that_seldom_holds_is_not(tmp_path):
    for condition in ["grey is low and grey is not very low", "x is left or x is right"]:
        assert load(tmp_path, f"rules:\n  a: if {condition} then normal with 0.1\n").rules, condition


def test_sets_that_depend_on_parts_are_not_called_impossible(tmp_path):
    sets = "sets:\n  grey:\n    low: trapezoid 0 0 q0.05 q0.1\n"
    assert load(tmp_path, f"{sets}rules:\n  a: if grey is low and grey is high then normal with 0.1\n").rules


def test_what_is_not_yaml_is_refused_with_its_line(tmp_path):
    for text in ["rules: [\n", "rules:\n\ta: b\n", "a: b: c\n", "a: 1\n---\nb: 2\n"]:
        error = refused(tmp_path, text)
        assert "line " in error.message, text
        assert "not valid YAML" in error.message, text


def test_endless_nesting_is_refused(tmp_path):
    assert "not valid YAML" in refused(tmp_path, "[" * 5000).message


def test_a_missing_file_a_directory_and_other_encodings_are_refused_by_name(tmp_path):
    with pytest.raises(RuleError, match=r"absent\.yaml: No such file"):
        load_rules(tmp_path / "absent.yaml")
    with pytest.raises(RuleError, match="directory"):
        load_rules(tmp_path)
    assert "not UTF-8" in refused(tmp_path, b"product: \xff\n").message


def test_numbers_that_are_not_clear_and_references_are_refused_as_in_the_settings(tmp_path):
    assert "line 2: `010` is not clear" in refused(tmp_path, "picture:\n  area: [010, 20]\n").message
    assert "refers to another place" in refused(tmp_path, "rules: &a\n  x: *a\n").message
