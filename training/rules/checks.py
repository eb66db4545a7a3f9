"""What makes a rule book impossible although every line can be read: unknown names, contradictions, dead rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from edge.core.files.yaml_file import nearest
from training.rules.expression import AllOf, Expression, Is, Logic, Not, Span, canonical, leaves, strength, words
from training.rules.features import FEATURES
from training.rules.membership import F64
from training.rules.problems import Problem
from training.rules.rule_text import Rule
from training.rules.rulebook import RuleBook

# two rules that both claim this much, and opposite things of the same region, cannot both be meant
CONTRADICTION_FROM = 0.8
# a condition that never holds more than this is a mistake
_NEVER = 0.01
_GRID = np.linspace(0, 1, 401)


def problems_of(book: RuleBook) -> Iterator[Problem]:
    """Everything wrong with the rules of a book whose lines could all be read."""
    known = []
    for rule in book.rules:
        unknown = list(_unknown_names(book, rule))
        yield from unknown
        if not unknown:
            known.append(rule)
            yield from _never_holds(book, rule)
    yield from _contradictions(known)


def _problem(rule: Rule, message: str, fix: str, span: Span | None = None) -> Problem:
    return Problem(rule.line, f"rules.{rule.name}", message, fix, rule.text, span)


def _unknown_names(book: RuleBook, rule: Rule) -> Iterator[Problem]:
    for leaf in leaves(rule.expression):
        if leaf.feature not in FEATURES:
            yield _problem(
                rule, f"unknown feature `{leaf.feature}`", nearest(leaf.feature, FEATURES), leaf.feature_span
            )
        elif leaf.word not in book.words_of(leaf.feature):
            yield _problem(
                rule,
                f"`{leaf.feature}` knows no word `{leaf.word}`",
                f"{nearest(leaf.word, book.words_of(leaf.feature))} (or define it in `sets`, under `{leaf.feature}`)",
                leaf.word_span,
            )


def _contradictions(rules: list[Rule]) -> Iterator[Problem]:
    first: dict[str, Rule] = {}
    for rule in rules:
        condition = canonical(rule.expression)
        other = first.setdefault(condition, rule)
        if other is rule:
            continue
        if other.conclusion == rule.conclusion:
            yield _problem(
                rule,
                f"the same condition as rule `{other.name}` in line {other.line}, with the same conclusion: "
                "it would count twice",
                "keep one of the two",
            )
        elif min(other.certainty, rule.certainty) >= CONTRADICTION_FROM:
            yield _problem(
                rule,
                f"contradicts rule `{other.name}` in line {other.line}: the same condition is {other.conclusion} with "
                f"{other.certainty:g} there and {rule.conclusion} with {rule.certainty:g} here",
                f"remove one, or lower a certainty below {CONTRADICTION_FROM:g}",
            )


def _never_holds(book: RuleBook, rule: Rule) -> Iterator[Problem]:
    """Conditions on one feature that exclude each other, such as `grey is low and grey is high`."""
    for joint in _conjunctions(rule.expression):
        by_feature: dict[str, list[Expression]] = {}
        for part in joint.parts:
            named = {leaf.feature for leaf in leaves(part)}
            if len(named) == 1:
                by_feature.setdefault(named.pop(), []).append(part)
        for parts in by_feature.values():
            known = all(book.words_of(leaf.feature)[leaf.word].absolute for part in parts for leaf in leaves(part))
            if len(parts) < 2 or not known:
                continue
            together = AllOf(tuple(parts))
            if float(strength(together, _membership_on_grid(book), Logic()).max()) <= _NEVER:
                yield _problem(
                    rule,
                    f"`{words(together)}` can never hold: the words exclude each other",
                    "write `or` between them, or remove one",
                )


def _membership_on_grid(book: RuleBook) -> Callable[[Is], F64]:
    def membership(leaf: Is) -> F64:
        return book.words_of(leaf.feature)[leaf.word].bound(FEATURES[leaf.feature].circular)(_GRID)

    return membership


def _conjunctions(expression: Expression) -> Iterator[AllOf]:
    if isinstance(expression, AllOf):
        yield expression
    if isinstance(expression, Not):
        yield from _conjunctions(expression.inner)
    elif not isinstance(expression, Is):
        for part in expression.parts:
            yield from _conjunctions(part)
