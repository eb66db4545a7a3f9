"""The rule books that come with the program."""

from pathlib import Path

import pytest

from edge.core.errors import UsageError
from training.labelling import load_rules
from training.labelling.describe import description
from training.rules.starters import rules_path, starter_names, starter_path

EXPECTED = {"generic", "aws_aliens", "aws_cookies", "deeppcb", "elpv", "juice_bottle", "magnetic_tile"}


def test_there_is_a_starter_for_every_product_we_know():
    assert set(starter_names()) == EXPECTED


def test_a_starter_loads_names_its_product_knows_both_sides_and_uses_every_word_it_defines():
    for name in sorted(EXPECTED):
        book = load_rules(starter_path(name))
        assert book.product, name
        assert book.picture.area is not None, name
        assert {rule.conclusion for rule in book.rules} == {"anomalous", "normal"}, name
        # without pictures of defects at hand a starter must work too
        assert not [found for found in book.used.values() if found.shape == "auto"], name
        assert {(feature, word) for feature, words in book.sets.items() for word in words} <= set(book.used), name


def test_a_file_comes_before_a_starter_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rules_path("generic") == starter_path("generic")
    Path("elpv").mkdir()
    assert rules_path("elpv") == starter_path("elpv")
    Path("generic").write_text("")
    assert rules_path("generic") == Path("generic")


def test_what_is_neither_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(UsageError) as caught:
        rules_path("magnetic_tiles")
    assert caught.value.fix == "did you mean `magnetic_tile`?"
    with pytest.raises(UsageError, match="no such file") as caught:
        rules_path(str(tmp_path / "rules.yaml"))
    assert "generic" in caught.value.fix


def test_a_description_tells_every_rule_and_draws_every_word():
    book = load_rules(starter_path("elpv"))
    text = description(book)
    for rule in book.rules:
        assert rule.name in text
    assert "if grey is inactive and area is not small" in text
    assert "0.2 % to 70 %" in text
    drawn = {line.split("  ")[1]: line for line in text.splitlines() if "█" in line}
    assert set(drawn) == {" ".join(pair) for pair, found in book.used.items() if found.absolute}
    assert "known when parts have been seen" in text
