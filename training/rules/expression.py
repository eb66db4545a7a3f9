"""The left side of a rule as a tree, and how strongly it holds: AND, OR, NOT and hedges on memberships."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from training.rules.membership import F64, hedged

Span = tuple[int, int]


@dataclass(frozen=True)
class Is:
    """`feature is [very|somewhat] word`. Spans: where both names stand in the rule's text."""

    feature: str
    word: str
    hedges: tuple[str, ...] = ()
    feature_span: Span = field(default=(0, 0), compare=False)
    word_span: Span = field(default=(0, 0), compare=False)


@dataclass(frozen=True)
class Not:
    inner: Expression


@dataclass(frozen=True)
class AllOf:
    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class AnyOf:
    parts: tuple[Expression, ...]


Expression = Is | Not | AllOf | AnyOf


@dataclass(frozen=True)
class Logic:
    """How memberships combine. min does not shrink with the number of conditions; product does."""

    conjunction: Literal["min", "product"] = "min"
    disjunction: Literal["max", "sum"] = "max"


def strength(expression: Expression, membership: Callable[[Is], F64], logic: Logic) -> F64:
    """How strongly the expression holds, 0..1, for every region; `membership` gives a leaf's, before its hedges.

    NOT is 1 - m; OR `sum` is the probabilistic sum 1 - (1 - m)(1 - n)...
    """
    if isinstance(expression, Is):
        return hedged(membership(expression), expression.hedges)
    if isinstance(expression, Not):
        return 1 - strength(expression.inner, membership, logic)
    parts = [strength(part, membership, logic) for part in expression.parts]
    if isinstance(expression, AllOf):
        return np.asarray(np.minimum.reduce(parts) if logic.conjunction == "min" else np.multiply.reduce(parts))
    if logic.disjunction == "max":
        return np.asarray(np.maximum.reduce(parts))
    return np.asarray(1 - np.multiply.reduce([1 - part for part in parts]))


def leaves(expression: Expression) -> Iterator[Is]:
    """Every `feature is word` of the expression, from left to right."""
    if isinstance(expression, Is):
        yield expression
    elif isinstance(expression, Not):
        yield from leaves(expression.inner)
    else:
        for part in expression.parts:
            yield from leaves(part)


def words(expression: Expression, inside: bool = False) -> str:
    """The expression written out again, with parentheses where the reading would change without them."""
    if isinstance(expression, Is):
        return " ".join((expression.feature, "is", *expression.hedges, expression.word))
    if isinstance(expression, Not):
        if isinstance(expression.inner, Is):
            leaf = expression.inner
            return " ".join((leaf.feature, "is not", *leaf.hedges, leaf.word))
        return f"not {words(expression.inner, inside=True)}"
    word = " and " if isinstance(expression, AllOf) else " or "
    text = word.join(words(part, inside=True) for part in expression.parts)
    return f"({text})" if inside else text


def gist(expression: Expression) -> str:
    """What the expression looks for in a few words, such as `grey very low, not elongated`; for captions.

    A word of its own feature speaks for itself; `low`, `medium` and `high` need theirs.
    """
    if isinstance(expression, Not) and isinstance(expression.inner, Is):
        return f"not {gist(expression.inner)}"
    if isinstance(expression, Is):
        named = (expression.feature,) if expression.word in ("low", "medium", "high") else ()
        return " ".join((*named, *expression.hedges, expression.word))
    if isinstance(expression, AllOf):
        return ", ".join(gist(part) for part in expression.parts)
    if isinstance(expression, AnyOf):
        return " or ".join(gist(part) for part in expression.parts)
    return f"not ({gist(expression.inner)})"


def canonical(expression: Expression) -> str:
    """The same text for the same condition, in whatever order its parts are written."""
    if isinstance(expression, Is):
        return words(expression)
    if isinstance(expression, Not):
        inner = expression.inner
        return canonical(inner.inner) if isinstance(inner, Not) else f"not ({canonical(inner)})"
    word = " and " if isinstance(expression, AllOf) else " or "
    return f"({word.join(sorted({canonical(part) for part in expression.parts}))})"
