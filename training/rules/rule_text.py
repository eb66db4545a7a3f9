"""One line of an expert → a rule: `if grey is very low and elongation is high then anomalous with 0.9`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from training.rules.expression import AllOf, AnyOf, Expression, Is, Not, Span, gist
from training.rules.membership import HEDGES

Conclusion = Literal["anomalous", "normal"]

RULE_SYNTAX = "if FEATURE is WORD and FEATURE is WORD then anomalous with 0.9"
KEYWORDS = {"if", "is", "and", "or", "not", "then", "with", *HEDGES}
_TOKEN = re.compile(r"[^\W\d]\w*|[-+]?[\d.][\w.%+-]*|\S")
# nobody means more than this; reading goes one call deeper with each
_DEEPEST = 50


@dataclass(frozen=True)
class Rule:
    """What an expert knows about a region. certainty: how much a region that fits is worth, above 0 up to 1."""

    name: str
    expression: Expression
    conclusion: Conclusion
    certainty: float
    text: str
    line: int = 0

    @property
    def gist(self) -> str:
        return gist(self.expression)


class RuleTextError(ValueError):
    """A rule that cannot be read: what is wrong, where in its text, and what is allowed there."""

    def __init__(self, message: str, span: Span, fix: str) -> None:
        super().__init__(message)
        self.message, self.span, self.fix = message, span, fix


def rule_from_text(name: str, text: str, line: int = 0) -> Rule:
    """Read one rule; names of features and words are not looked up here. Raises RuleTextError."""
    reader = _Reader(text)
    reader.expect("if", f"a rule reads `{RULE_SYNTAX}`")
    expression = reader.alternatives()
    reader.expect("then", "after the conditions write `then anomalous` or `then normal`")
    conclusion = _conclusion(reader)
    reader.expect("with", "end the rule with its certainty, such as `with 0.9`")
    certainty = _certainty(reader)
    if reader.word:
        raise reader.error(f"`{reader.word}` comes after the end of the rule", "end the rule with its certainty")
    return Rule(name, expression, conclusion, certainty, text, line)


def _conclusion(reader: _Reader) -> Conclusion:
    word = reader.word.lower()
    if word == "anomalous" or word == "normal":
        reader.next()
        return "anomalous" if word == "anomalous" else "normal"
    raise reader.error(
        f"{reader.here} is no conclusion", "a region is `anomalous` or `normal`; the kind of defect is the rule's name"
    )


def _certainty(reader: _Reader) -> float:
    span, word = reader.span, reader.word
    try:
        value = float(word)
    except ValueError:
        raise reader.error(
            f"{reader.here} is no certainty", "write a number above 0 and up to 1, such as 0.9"
        ) from None
    if not 0 < value <= 1:
        raise RuleTextError(
            f"the certainty {word} is outside of what is allowed",
            span,
            "write a number above 0 and up to 1; a rule that is never right needs no line",
        )
    reader.next()
    return value


class _Reader:
    """Words of a rule, one after the other; `and` binds closer than `or`, `not` closer than both."""

    def __init__(self, text: str) -> None:
        self._tokens = [(match.group(), match.span()) for match in _TOKEN.finditer(text)]
        # an error at the end of the rule points at the place behind its last word
        self._end = (len(text.rstrip()), len(text.rstrip()) + 1)
        self._index = 0
        self._depth = 0

    @property
    def word(self) -> str:
        return self._tokens[self._index][0] if self._index < len(self._tokens) else ""

    @property
    def span(self) -> Span:
        return self._tokens[self._index][1] if self._index < len(self._tokens) else self._end

    @property
    def here(self) -> str:
        return f"`{self.word}`" if self.word else "the end of the rule"

    def next(self) -> None:
        self._index += 1

    def error(self, message: str, fix: str) -> RuleTextError:
        return RuleTextError(message, self.span, fix)

    def takes(self, word: str) -> bool:
        found = self.word.lower() == word
        self._index += found
        return found

    def expect(self, word: str, fix: str) -> None:
        if not self.takes(word):
            raise self.error(f"expected `{word}`, found {self.here}", fix)

    def alternatives(self) -> Expression:
        parts = [self._conditions()]
        while self.takes("or"):
            parts.append(self._conditions())
        return parts[0] if len(parts) == 1 else AnyOf(_flat(parts, AnyOf))

    def _conditions(self) -> Expression:
        parts = [self._condition()]
        while self.takes("and"):
            parts.append(self._condition())
        return parts[0] if len(parts) == 1 else AllOf(_flat(parts, AllOf))

    def _condition(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self.error(f"more than {_DEEPEST} conditions inside each other", "split the rule into several")
        if self.takes("not"):
            found: Expression = Not(self._condition())
        elif self.takes("("):
            found = self.alternatives()
            self.expect(")", "close the parenthesis, or write `and` or `or` to go on")
        else:
            found = self._leaf()
        self._depth -= 1
        return found

    def _leaf(self) -> Expression:
        feature, feature_span = self._name("a feature such as `grey`")
        self.expect("is", "a condition reads `FEATURE is WORD`, such as `grey is low`")
        negated = self.takes("not")
        hedges = []
        while self.word.lower() in HEDGES:
            hedges.append(self.word.lower())
            self.next()
        word, word_span = self._name("a word such as `low`")
        leaf = Is(feature, word, tuple(hedges), feature_span, word_span)
        return Not(leaf) if negated else leaf

    def _name(self, wanted: str) -> tuple[str, Span]:
        word, span = self.word, self.span
        if not word.isidentifier() or word.lower() in KEYWORDS:
            raise self.error(f"expected {wanted}, found {self.here}", f"a rule reads `{RULE_SYNTAX}`")
        self.next()
        return word.lower(), span


def _flat(parts: list[Expression], kind: type[AllOf] | type[AnyOf]) -> tuple[Expression, ...]:
    """`a and (b and c)` is `a and b and c`."""
    return tuple(inner for part in parts for inner in (part.parts if isinstance(part, kind) else (part,)))
