"""A rule book as it was understood, in words and small drawings, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from training.labelling.normal_levels import NormalReference
from training.rules.expression import Is, words
from training.rules.features import FEATURES
from training.rules.membership import FuzzySet, Membership
from training.rules.rule_text import Rule
from training.rules.rulebook import RuleBook

_BLOCKS = " ▁▂▃▄▅▆▇█"
_COLUMNS = 32


def description(book: RuleBook, reference: NormalReference | None = None) -> str:
    """The rules, the picture as a whole, and every word they use. reference: draws words that depend on good parts."""
    return "\n".join([*_head(book), *_rules(book.rules), *_words(book, reference)])


def _head(book: RuleBook) -> Iterator[str]:
    count = len(book.rules)
    yield f"{book.product or 'no product named'}: {count} rule{'s' * (count != 1)}"
    if not count:
        yield "  without rules the residual alone labels defective parts (plain self-training)"
    yield f"  and: {book.logic.conjunction}   or: {book.logic.disjunction}"
    if book.roi is not None:
        inside = f"a region counts when {book.picture.inside_roi:.0%} of it lie inside"
        yield f"  inspected: a polygon of {len(book.roi)} corners; {inside}"
    if book.picture.area is not None:
        low, high = book.picture.area
        yield f"  defects of one part cover {100 * low:g} % to {100 * high:g} % of the picture"
    if book.picture.count is not None:
        low, high = book.picture.count
        yield f"  a defective part has {low} to {high} defects"


def _rules(rules: tuple[Rule, ...]) -> Iterator[str]:
    width = max((len(rule.name) for rule in rules), default=0)
    for conclusion in ("anomalous", "normal"):
        chosen = [rule for rule in rules if rule.conclusion == conclusion]
        if chosen:
            yield f"\na region is {conclusion}"
        for rule in chosen:
            yield f"  {rule.name:{width}}  {rule.certainty:4.2f}  if {words(rule.expression)}"


def _words(book: RuleBook, reference: NormalReference | None) -> Iterator[str]:
    used = book.used
    width = max((len(f"{feature} {word}") for feature, word in used), default=0)
    scale = f"0{'0.5':^{_COLUMNS - 2}}1"
    if used:
        yield f"\n{'words that the rules use':{width + 2}}  {scale}"
    for (feature, word), found in used.items():
        drawn = _drawing(book, reference, feature, word, found)
        yield f"  {f'{feature} {word}':{width}}  {drawn:{_COLUMNS}}  {found}"
    names = list(dict.fromkeys(feature for feature, _ in used))
    width = max(map(len, names), default=0)
    if used:
        yield "\nfeatures, and what becomes 0 to 1"
    for name in names:
        yield f"  {name:{width}}  {FEATURES[name].meaning} ({book.scaling_of(name)})"


def _drawing(book: RuleBook, reference: NormalReference | None, feature: str, word: str, found: FuzzySet) -> str:
    if found.absolute:
        return _bars(found.bound(FEATURES[feature].circular))
    if reference is None or (found.shape == "auto" and feature not in reference.quartiles):
        return "known when parts have been seen"
    return _bars(reference.membership(book, Is(feature, word)))


def _bars(membership: Membership) -> str:
    values = membership(np.linspace(0, 1, _COLUMNS))
    return "".join(_BLOCKS[round(float(value) * (len(_BLOCKS) - 1))] for value in values)
