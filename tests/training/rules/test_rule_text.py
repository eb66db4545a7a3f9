"""A line that an expert writes: how it is read, how strongly it holds, and what is said when it cannot be read."""

import numpy as np
import pytest

from training.rules.expression import AllOf, AnyOf, Is, Logic, Not, canonical, strength, words
from training.rules.rule_text import RuleTextError, rule_from_text


def read(text):
    return rule_from_text("r", text)


def expression(text):
    return read(f"if {text} then anomalous with 1").expression


def holds(text, logic=Logic(), **memberships):  # noqa: B008 - frozen
    values = {name: np.array([float(value)]) for name, value in memberships.items()}
    return float(strength(expression(text), lambda leaf: values[leaf.feature], logic)[0])


def test_a_rule_is_read_as_it_stands():
    rule = read("if grey is very low and elongation is high then anomalous with 0.9")
    assert rule.expression == AllOf((Is("grey", "low", ("very",)), Is("elongation", "high")))
    assert (rule.conclusion, rule.certainty) == ("anomalous", 0.9)
    assert rule.gist == "grey very low, elongation high"


def test_upper_and_lower_case_are_the_same():
    assert read("IF Grey IS Low THEN Normal WITH 0.5").expression == Is("grey", "low")


def test_words_may_have_any_letters():
    assert expression("grey is äußerst_dünn") == Is("grey", "äußerst_dünn")


def test_and_binds_closer_than_or_and_not_closer_than_both():
    a, b, c = Is("a", "low"), Is("b", "low"), Is("c", "low")
    assert expression("a is low or b is low and c is low") == AnyOf((a, AllOf((b, c))))
    assert expression("(a is low or b is low) and c is low") == AllOf((AnyOf((a, b)), c))
    assert expression("not a is low and b is not low") == AllOf((Not(a), Not(b)))
    assert expression("not (a is low and b is low)") == Not(AllOf((a, b)))


def test_spans_point_at_the_names_in_the_text():
    text = "if grey is very low then anomalous with 0.9"
    leaf = read(text).expression
    assert text[slice(*leaf.feature_span)] == "grey"
    assert text[slice(*leaf.word_span)] == "low"


def test_written_out_again_a_rule_means_the_same():
    for text in (
        "a is low or b is not very high and c is low",
        "not (a is low or b is low) and c is somewhat very low",
        "not not a is low",
    ):
        assert expression(words(expression(text))) == expression(text)


def test_min_and_max_are_the_default_logic():
    assert holds("a is low and b is low", a=0.4, b=0.7) == 0.4
    assert holds("a is low or b is low", a=0.4, b=0.7) == 0.7
    assert holds("a is not low", a=0.4) == pytest.approx(0.6)
    assert holds("not (a is low and b is low)", a=0.4, b=0.7) == pytest.approx(0.6)


def test_product_and_probabilistic_sum():
    logic = Logic("product", "sum")
    assert holds("a is low and b is low", logic, a=0.4, b=0.7) == pytest.approx(0.28)
    assert holds("a is low or b is low", logic, a=0.4, b=0.7) == pytest.approx(1 - 0.6 * 0.3)


def test_hedges_work_inside_a_condition():
    assert holds("a is very low", a=0.5) == 0.25
    assert holds("a is somewhat low", a=0.25) == 0.5
    # not (very low), as one speaks
    assert holds("a is not very low", a=0.5) == 0.75


def test_the_order_of_conditions_does_not_make_another_condition():
    first, second = "a is low and (b is low or c is low)", "(c is low or b is low) and a is low"
    assert canonical(expression(first)) == canonical(expression(second))
    assert canonical(expression("not not a is low")) == canonical(expression("a is low"))
    assert canonical(expression("a is low and b is low")) != canonical(expression("a is low or b is low"))


def test_a_rule_that_cannot_be_read_is_explained_at_its_word(subtests):
    for text, says, at, fix in [
        ("grey is low then anomalous with 1", "expected `if`, found `grey`", "grey", "if FEATURE is WORD"),
        ("if grey low then anomalous with 1", "expected `is`, found `low`", "low", "`grey is low`"),
        ("if grey is then anomalous with 1", "expected a word such as `low`, found `then`", "then", "FEATURE is WORD"),
        ("if grey is low and then normal with 1", "expected a feature such as `grey`, found `then`", "then", "FEATURE"),
        ("if grey is low anomalous with 1", "expected `then`, found `anomalous`", "anomalous", "`then normal`"),
        ("if grey is low then scratch with 1", "`scratch` is no conclusion", "scratch", "the rule's name"),
        ("if grey is low then anomalous", "expected `with`, found the end of the rule", "", "`with 0.9`"),
        ("if grey is low then anomalous with", "the end of the rule is no certainty", "", "such as 0.9"),
        ("if grey is low then anomalous with 0", "the certainty 0 is outside", "0", "above 0 and up to 1"),
        ("if grey is low then anomalous with 1.5", "the certainty 1.5 is outside", "1.5", "above 0 and up to 1"),
        ("if grey is low then anomalous with -0.5", "the certainty -0.5 is outside", "-0.5", "above 0 and up to 1"),
        ("if grey is low then anomalous with nan", "the certainty nan is outside", "nan", "above 0 and up to 1"),
        ("if grey is low then anomalous with 90%", "`90%` is no certainty", "90%", "such as 0.9"),
        ("if (grey is low then anomalous with 1", "expected `)`, found `then`", "then", "close the parenthesis"),
        ("if grey is low then normal with 1 please", "`please` comes after the end", "please", "certainty"),
        ("if very grey is low then normal with 1", "expected a feature such as `grey`, found `very`", "very", "if"),
        ("if grey is <0.3 then normal with 1", "expected a word such as `low`, found `<`", "<", "FEATURE is WORD"),
        ("if " + "(" * 60 + "x is low", "more than 50 conditions inside each other", "(", "split the rule"),
        ("if", "expected a feature such as `grey`, found the end of the rule", "", "FEATURE is WORD"),
    ]:
        with subtests.test(text=text):
            with pytest.raises(RuleTextError) as caught:
                read(text)
            assert says in caught.value.message
            assert fix in caught.value.fix
            start, end = caught.value.span
            assert text[start:end] == at
