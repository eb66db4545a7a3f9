"""Scores of regions: how strongly rules fire, what the rules say together, what the residual says. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from training.labelling.normal_levels import NormalReference
from training.labelling.region_features import RawFeatures
from training.rules.expression import strength
from training.rules.membership import F64
from training.rules.rule_text import Conclusion
from training.rules.rulebook import RuleBook

# model evidence: a region whose mean z is this is as likely a defect as not
EVIDENCE_CENTRE, EVIDENCE_WIDTH = 3.0, 1.0
# a rule that fires less than this on a region has nothing to say about it
_FIRES_FROM = 0.05


@dataclass(frozen=True)
class Firing:
    """How strongly one rule spoke about a region, 0..1, before its certainty."""

    rule: str
    gist: str
    conclusion: Conclusion
    strength: float
    certainty: float


class RuleScore(NamedTuple):
    """Scores that the rules give n regions: strengths (rules, n); s+, s- and the knowledge degree kappa, each (n,)."""

    strengths: F64
    anomalous: F64
    normal: F64
    kappa: F64


def score_by_rules(book: RuleBook, reference: NormalReference, scaled: RawFeatures) -> RuleScore:
    """How strongly every rule fires on every region, and the scores that all rules give together.

    s = 1 - prod(1 - certainty · strength) over the rules of one conclusion; kappa = s+ (1 - s-). A book whose rules
    all say what is normal claims nothing about defects: s+ is 1 then.
    """
    regions = len(scaled["grey"])

    def certainly(conclusion: Conclusion) -> F64:
        doubt = np.ones(regions)
        for rule, fired in zip(book.rules, strengths, strict=True):
            if rule.conclusion == conclusion:
                doubt *= 1 - rule.certainty * fired
        return 1 - doubt

    strengths = np.zeros((len(book.rules), regions))
    for row, rule in zip(strengths, book.rules, strict=True):
        row[:] = strength(
            rule.expression, lambda leaf: reference.membership(book, leaf)(scaled[leaf.feature]), book.logic
        )
    names_defects = any(rule.conclusion == "anomalous" for rule in book.rules)
    anomalous = certainly("anomalous") if names_defects else np.ones(regions)
    normal = certainly("normal")
    return RuleScore(strengths, anomalous, normal, anomalous * (1 - normal))


def model_evidence(mean_z: F64 | float) -> F64:
    """sigmoid((mean z - 3) / 1): what the residual alone says about a region."""
    return np.asarray(1 / (1 + np.exp(-(np.asarray(mean_z, np.float64) - EVIDENCE_CENTRE) / EVIDENCE_WIDTH)))


def firings(book: RuleBook, strengths: F64) -> tuple[Firing, ...]:
    """The rules that fire on one region, the one that counts most first."""
    found = [
        Firing(rule.name, rule.gist, rule.conclusion, float(fired), rule.certainty)
        for rule, fired in zip(book.rules, strengths, strict=True)
        if fired >= _FIRES_FROM
    ]
    return tuple(sorted(found, key=lambda firing: -firing.strength * firing.certainty))
